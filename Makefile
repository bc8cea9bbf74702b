# One command for each habit. Everything that is needed is installed on the way: npm packages, the Python client of one
# test, and Debian's DPDK for another (as root; otherwise the command says what to install).
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
STAMPS := .stamps
SOURCES := $(shell find src -name '*.ts')

.PHONY: help run test testbed image bench fuzz build engine types lint format clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## replay recording 02-policy, show the picture, trace one allowed and one denied packet
	@scripts/demo

test: build types lint $(STAMPS)/test-tools ## every check and every test
	@$(MAKE) --no-print-directory -C native all asan
	npx prettier --check .
	npx jest
	@scripts/build-testbed --where >/dev/null || echo "skipped: test/e2e/testbed, the tests with real parts (Felix, kube-apiserver, etcd), which are not built: make testbed"

testbed: ## build the real parts that test/e2e/testbed needs, once, into a cache outside the tree (some 15 minutes of one processor)
	@scripts/build-testbed

image: ## follow the Dockerfile without a container engine, and try what it makes (root, some four minutes)
	@scripts/check-image

fuzz: $(STAMPS)/generated ## hostile input for CALICO_P4_FUZZ_SECONDS (20 minutes); seeds are printed, CALICO_P4_FUZZ_SEED repeats one
	CALICO_P4_FUZZ_SECONDS=$${CALICO_P4_FUZZ_SECONDS:-1200} npx jest --runInBand test/fuzz

bench: $(STAMPS)/generated ## measure: a table, and JSON in bench-results/ (BENCH=--quick to try, BENCH="snapshot churn" for some)
	npx tsc -p tsconfig.bench.json
	node dist/test/bench/run.js $(BENCH)

build: $(STAMPS)/build ## compile to dist/, for bin/calico-p4

engine: $(if $(shell command -v node),build) ## compile the native engine, with the pipeline as machine code, and the program for calico-node to native/build/ (the engine is skipped with a message where libdpdk-dev is not installed)
	@$(MAKE) --no-print-directory -C native

types: $(STAMPS)/generated ## type-check everything, tests included
	npx tsc --noEmit -p tsconfig.json

lint: $(STAMPS)/generated ## eslint, and the Dockerfile
	npx eslint .
	npx dockerfile-utils lint Dockerfile

format: $(STAMPS)/npm ## prettier
	npx prettier --write .

clean: ## remove what was built
	rm -rf dist native/build $(STAMPS) .venv .venv-shell p4runtime-js-bindings/src p4runtime-js-bindings/dist

$(STAMPS)/npm: package.json package-lock.json p4runtime-js-bindings/package.json
	@command -v node >/dev/null || { echo "calico-p4 needs Node 20 or newer (Debian: apt-get install nodejs npm, or your own)" >&2; exit 1; }
	npm install --no-save --no-audit --no-fund
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/generated: $(STAMPS)/npm $(wildcard p4runtime-js-bindings/proto/*/*/*.proto p4runtime-js-bindings/proto/*/*/*/*.proto) scripts/generate-bindings
	scripts/generate-bindings
	@touch $@

$(STAMPS)/build: $(STAMPS)/generated $(SOURCES) tsconfig.json tsconfig.build.json
	npx tsc -p tsconfig.build.json
	@touch $@

$(STAMPS)/test-tools: scripts/stock-client-venv scripts/build-swx-check scripts/linux-dataplane-tools $(wildcard test/e2e/stock-client/*requirements.txt) test/e2e/dpdk/swx-check.c
	scripts/stock-client-venv
	scripts/build-swx-check
	scripts/linux-dataplane-tools
	@mkdir -p $(STAMPS) && touch $@
