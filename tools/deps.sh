#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that a goal needs and that are missing. `tools/deps.sh build test demo`
set -eu

build="gcc meson ninja-build pkg-config libssl-dev libzstd-dev liblz4-dev libxxhash-dev libnbd-dev
liburing-dev zlib1g-dev libjansson-dev libcurl4-openssl-dev libsqlite3-dev libmicrohttpd-dev libcmocka-dev libxml2-dev libc-ares-dev"
run="qemu-system-x86 qemu-utils"
demo="e2fsprogs fdisk zstd xz-utils perl-base jq procps python3 openssl curl
ovmf mtools systemd-boot-efi binutils"
test="clang clang-format libclang-rt-14-dev libnbd-bin jq curl openssl sqlite3 ovmf python3-pyvmomi python3-cryptography libxml2-utils
golang-go golang-github-vmware-govmomi-dev dnsmasq-base squid bind9-dnsutils nftables iproute2"

# Test tools that Debian has not: emulators of services.
npm="azurite@3.35.0 oidc-provider@9.13.3 oav@4.0.3 @stoplight/prism-cli@5.14.2
@typespec/spector@0.1.0-alpha.24 @azure-tools/azure-http-specs@0.1.0-alpha.38
@azure/storage-blob@12.26.0
@azure/arm-compute@22.1.0 @azure/arm-network@33.3.0 @azure/arm-storage@18.3.0 @azure/arm-resources@5.2.0
@azure/arm-authorization@9.0.0
@azure/keyvault-secrets@4.10.0 @azure/keyvault-keys@4.10.2"
npm_dir=$(dirname "$0")/../build-npm

want="$build $run"
want_npm=""
for goal in "$@"; do
    case $goal in
    build) ;;
    demo) want="$want $demo" ;;
    test) want="$want $demo $test"; want_npm=$npm ;;
    *) echo "deps.sh: unknown goal '$goal'; use build, demo or test" >&2; exit 2 ;;
    esac
done
if [ -n "$want_npm" ] && ! command -v npm >/dev/null; then
    want="$want npm"
fi

install_packages() {
    missing=""
    for package in $want; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "deps.sh: these packages are missing; install them as root: apt-get install$missing" >&2
        exit 1
    fi
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q -o Acquire::Retries=3 >/dev/null
    # shellcheck disable=SC2086 # a list of words
    apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 $missing >/dev/null
}

# Without them their tests are skipped, which tools/check.py does not take for passed.
install_npm() {
    [ -n "$want_npm" ] && [ "$(cat "$npm_dir/done" 2>/dev/null)" != "$want_npm" ] || return 0
    echo "installing into build-npm: $want_npm"
    mkdir -p "$npm_dir"
    # shellcheck disable=SC2086 # a list of words
    if npm install --no-save --no-audit --no-fund --loglevel=error --fetch-retries=5 --prefix "$npm_dir" $want_npm >/dev/null; then
        echo "$want_npm" >"$npm_dir/done"
    else
        echo "deps.sh: npm could not install $want_npm; the tests that need them cannot run" >&2
    fi
}

install_packages
install_npm
