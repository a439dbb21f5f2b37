#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kedge against a daemon with a fake vault: exit codes, texts, init, generated files.
# usage: test_kedge.sh KEDGE KEDGED_FAKE SOURCE_ROOT
set -u
kedge=$(realpath "$1") kedged=$(realpath "$2") root=$(realpath "$3")
dir=$(mktemp -d /tmp/kedge-cli-XXXXXX)
pid= failed=0 passed=0
unset KEDGE_CONFIG NO_COLOR
export LC_ALL=C.UTF-8 FAKE_JOB_MS=300

finish() {
    [ -n "$pid" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    rm -rf "$dir"
}
trap finish EXIT

# expect CODE PATTERN COMMAND...: exit code, and a part of what is printed
expect() {
    local code=$1 pattern=$2 rc
    shift 2
    out=$(timeout 20 "$@" 2>&1 </dev/null)
    rc=$?
    if [ $rc -ne "$code" ] || [[ $out != *"$pattern"* ]]; then
        echo "FAILED: $* -> $rc (wanted $code, '$pattern'):"
        echo "$out" | head -5
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

one_line() {
    if [ "$(echo "$out" | wc -l)" -ne 1 ]; then
        echo "FAILED: more than one line: $out"
        failed=$((failed + 1))
    fi
}

cd "$dir" || exit 1
expect 3 "start it with 'kedged'" "$kedge" --socket "$dir/none" list
one_line
expect 5 "kedge init" "$kedged" --config "$dir/none.conf"
expect 0 "configuration" "$kedged" --init="$dir"
expect 6 "is not overwritten" "$kedged" --init="$dir"
one_line
[ "$(stat -c %a data/master.key data/api.token kedge.conf | sort -u)" = 600 ] ||
    { echo "FAILED: modes of the files"; failed=$((failed + 1)); }

expect 0 "ok" "$kedged" --check-config
expect 0 "data_dir = $dir/data" "$kedged" --print-config
expect 0 "segment_size" "$kedged" --help
expect 2 "kedged --help" "$kedged" --frob
expect 0 '12076:5160' "$kedged" --plan-network=usgovtexas,usgovvirginia,usgov
expect 2 "is not two regions" "$kedged" --plan-network=eastus
expect 0 '"endpoints": []' "$kedged" -c kedge.conf --check-network
expect 2 "'lsa'" "$kedged" -c kedge.conf --check-network=lsa
expect 2 "is not an option" "$kedged" frob
sed 's/^throttle = .*/throttle = quick/' kedge.conf >bad.conf
expect 2 "bad.conf:" "$kedged" -c "$dir/bad.conf" --check-config
one_line
chmod 640 data/master.key
expect 4 "run chmod 600" "$kedged" -c kedge.conf
one_line
chmod 600 data/master.key

sed -i 's/^listen = .*/listen = 127.0.0.1:0/' kedge.conf
chmod 644 data/api.token
expect 4 "run chmod 600" "$kedged" -c kedge.conf
chmod 600 data/api.token
"$kedged" -c kedge.conf 2>log &
pid=$!
for _ in $(seq 100); do grep -q event=ready log && break; sleep 0.05; done
port=$(grep -o 'port=[0-9]*' log | cut -d= -f2)
if grep -q "$(cat data/api.token)" log; then
    echo "FAILED: the token is in the log"
    failed=$((failed + 1))
fi
expect 6 "process $pid" "$kedged" -c kedge.conf
one_line

expect 0 "Delta sync" "$kedge" list
expect 0 '"machines"' "$kedge" list --json
expect 0 "recovery point" "$kedge" status web1
expect 0 "repair" "$kedge" status --json
expect 5 "there is no machine 'nope'" "$kedge" status nope
expect 2 "leave 'web1' out" "$kedge" status web1 --watch
expect 0 "Test migration pending" timeout --preserve-status -s KILL 20 \
    bash -c "'$kedge' status --watch | head -4"
expect 0 "uefi" "$kedge" discover
expect 5 "there is no source" "$kedge" discover --source nope
expect 0 "kvm" "$kedge" source list
expect 6 "1 blocker" "$kedge" source check kvm
expect 5 "there is no source" "$kedge" source check nope
expect 2 "'qmp' is missing" "$kedge" source add n qemu
expect 2 "is not a known field" "$kedge" source add n qemu --qmp q --cpus 2
expect 2 "it must be one of " "$kedge" source add n vax
expect 0 "source 'n' added" "$kedge" source add n qemu --qmp q
expect 6 "exists already" "$kedge" source add kvm qemu --qmp q
expect 0 "removed" "$kedge" source remove kvm
expect 0 "target 't' added" "$kedge" target add t local --dir d
expect 0 "here" "$kedge" target list
expect 5 "there is no target" "$kedge" target remove nope
expect 6 "1 blocker" "$kedge" target check here
expect 5 "there is no target" "$kedge" target check nope
expect 0 "orphan" "$kedge" target inventory here
expect 0 '"known"' "$kedge" target inventory here --json
expect 0 "replicate db2: done" "$kedge" replicate kvm db2
expect 5 "there is no target" "$kedge" replicate kvm db2 --target nope
for op in sync pause resume repair stop test-migrate test-cleanup migrate complete verify; do
    expect 0 "$op web1: done" "$kedge" $op web1
done
expect 11 "input/output error" "$kedge" resync web1
expect 6 "needs a recovery point" "$kedge" migrate app1
expect 0 "job " "$kedge" sync web1 --no-wait
expect 0 '"state": "succeeded"' "$kedge" sync web1 --json
expect 0 "succeeded" "$kedge" jobs --machine web1 --limit 3
expect 0 "sync" "$kedge" job 2
expect 5 "there is no job" "$kedge" job 999
expect 2 "is not a job" "$kedge" job x
expect 10 "was canceled" "$kedge" job 3 --cancel --follow
expect 0 "vault opened" "$kedge" events
expect 0 '"event"' "$kedge" events --json
expect 0 "20.0 MiB/s" "$kedge" throttle 20M
expect 0 '20971520' "$kedge" throttle --json
expect 2 "is not a rate" "$kedge" throttle fast
expect 0 "10.0 MiB/s" "$kedge" throttle set 10MB/s
expect 0 "9.5 MiB/s" "$kedge" throttle set 80Mbit/s
expect 2 "needs RATE" "$kedge" throttle set
expect 0 "off" "$kedge" throttle set off
expect 0 "throttle:" "$kedge" throttle calendar 'Mon-Fri 08:00-18:00 10MB/s; * 0'
expect 2 "rule 1, character 1" "$kedge" throttle calendar never
expect 0 "off" "$kedge" throttle 0
expect 0 "next:    'Monday;7:00;7h'" "$kedge" blackout show
expect 0 "Europe/Berlin" "$kedge" blackout set 'Monday;7:00;7h'
expect 2 "window 1, character 1" "$kedge" blackout set Mondy
expect 0 '"windows"' "$kedge" blackout clear --json
expect 2 "needs one more word" "$kedge" blackout
expect 6 "'connect' failed; see above" "$kedge" network check
expect 6 "10.1.0.5 is silent; check the circuit" "$kedge" network check log-store
expect 6 '"verdict": "failed"' "$kedge" network check --json
expect 2 "'lsa'" "$kedge" network check lsa
one_line
expect 0 "http://192.0.2.10:3128" "$kedge" network status
expect 0 '"last_check"' "$kedge" network status --json
expect 0 "12076:51004" "$kedge" network plan --source-region eastus --target-region "West US"
expect 0 "lsasite1.blob.core.windows.net" "$kedge" network plan --source-region eastus --target-region westus
expect 2 "both regions are needed" "$kedge" network plan --source-region eastus
expect 2 "near names are eastus, eastus2" "$kedge" network plan --source-region eastus9 --target-region westus
expect 0 "log objects" "$kedge" orphans list
expect 0 '"ours": true' "$kedge" orphans clean --json
expect 0 "vault-key:0f" "$kedge" keys status
expect 0 "kedge keys rewrap" "$kedge" keys status
expect 0 "3 of 4" "$kedge" keys rotate
expect 0 '"made": false' "$kedge" keys rewrap --json
expect 0 "(uid:" "$kedge" events --last 5
expect 0 '"who": "uid:' "$kedge" job 2 --json
expect 0 '"3.1.0"' "$kedge" openapi
expect 0 "kedge 0" "$kedge" version
expect 0 "Usage" bash -c "'$kedge' help | sed s/usage/Usage/"
expect 0 "did you mean" bash -c "'$kedge' help syn 2>&1 | cat"
expect 2 "no command given" "$kedge"
expect 2 "there is bash and zsh" "$kedge" completion fish

url="http://127.0.0.1:$port"
expect 0 "Delta sync" "$kedge" --url "$url" --token-file data/api.token list
expect 2 "needs --token-file" "$kedge" --url "$url" list
expect 0 '"who": "api-token"' "$kedge" --url "$url" --token-file data/api.token sync web1 --json
echo wrong >wrong.token && chmod 600 wrong.token
expect 4 "the token is wrong" "$kedge" --url "$url" --token-file wrong.token list
expect 2 "is not the address of a server" "$kedge" --url "ftp://x" --token-file data/api.token list
expect 2 "contradict" "$kedge" --url "$url" --socket /s --token-file data/api.token list

sed -i 's/^throttle = .*/throttle = 5M/; s/^job_threads = .*/job_threads = 9/' kedge.conf
kill -HUP $pid
for _ in $(seq 100); do grep -q event=config_reloaded log && break; sleep 0.05; done
expect 0 "need_restart=job_threads" cat log
expect 0 "5.0 MiB/s" "$kedge" throttle
echo nonsense >>kedge.conf
kill -HUP $pid
for _ in $(seq 100); do grep -q event=config_not_reloaded log && break; sleep 0.05; done
expect 0 "has no '='" cat log
expect 0 "5.0 MiB/s" "$kedge" throttle
kill -TERM $pid
wait $pid || { echo "FAILED: the daemon ended with $?"; failed=$((failed + 1)); }
pid=
expect 0 "event=stopped" cat log
[ -e run/kedged.sock ] && { echo "FAILED: the socket is left"; failed=$((failed + 1)); }

same() {
    if "${@:2}" | cmp -s - "$root/$1"; then
        passed=$((passed + 1))
    else
        echo "FAILED: $1 is not current; make it with: ${*:2}"
        failed=$((failed + 1))
    fi
}
same doc/man/kedge.1 "$kedge" help --man
same doc/man/kedged.8 "$kedged" --print-man=kedged
same doc/man/kedged.conf.5 "$kedged" --print-man=kedged.conf
same doc/api.md "$kedged" --print-man=api.md
same doc/states.md "$kedged" --print-man=states.md
same completion/kedge.bash "$kedge" completion bash
same completion/_kedge "$kedge" completion zsh
expect 0 "" bash -n "$root/completion/kedge.bash"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
