# SPDX-License-Identifier: Apache-2.0
# The front door. Each goal installs what it needs (Debian 12, as root), says what it does, and leaves
# the real work to Meson and the scripts in tools/.

BUILD  ?= build
PREFIX ?= /usr/local

.PHONY: all demo demo-vsphere check bench install format clean help

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

help:
	@echo "make          build kedge and kedged in $(BUILD)/"
	@echo "make demo     replicate, test-migrate and migrate a running QEMU guest (about 2 minutes)"
	@echo "make demo-vsphere  the same off a simulated vCenter, through NFC (about 3 minutes)"
	@echo "make check    every test; ends with 'N passed, N failed'"
	@echo "make bench    measure against the peers (see bench/README.md; hours on a slow disk)"
	@echo "make install  install to PREFIX=$(PREFIX)"
	@echo "make format   clang-format all sources"

$(BUILD)/build.ninja:
	@tools/deps.sh build
	@meson setup $(BUILD) --prefix=$(PREFIX) >/dev/null

demo:
	@tools/deps.sh build demo
	@$(MAKE) --no-print-directory all
	@tools/demo.sh $(BUILD)

demo-vsphere:
	@tools/deps.sh build demo
	@$(MAKE) --no-print-directory all
	@tools/demo-vsphere.sh $(BUILD)

check:
	@tools/deps.sh build test
	@tools/check.py

bench:
	@tools/deps.sh build
	@bench/deps.sh
	@bench/all.sh

install: $(BUILD)/build.ninja
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install -C $(BUILD)

format:
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

clean:
	@rm -rf $(BUILD) build-*
