# The front door. Each target does its own set-up, on a machine that has git, make and Node 20 with npm.
.DEFAULT_GOAL := help
.PHONY: help build test test-unit test-integration test-cluster fuzz lint format generate bench soak demo cluster cluster-down demo-cluster pack clean setup
.DELETE_ON_ERROR:
SHELL := /bin/sh

# Node and the tools are those of package-lock.json, whatever else the machine has.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
# Tests start hundreds of processes: what Node has compiled of a file once, it does not compile again. Keyed by content, never stale.
export NODE_COMPILE_CACHE := $(CURDIR)/.cache/node
NODE := node_modules/node/bin/node
TSC := $(NODE) node_modules/typescript/bin/tsc
VITEST := $(NODE) node_modules/vitest/vitest.mjs run
SOURCES := $(wildcard api policy approval record delivery certificate kube operator proxy archive cli scripts test bench demo)
# Each writes files that are checked in, and with --check fails when they differ.
GENERATED := $(wildcard scripts/generate-types.ts scripts/generate-wire-coverage.ts scripts/generate-chart.ts)
READY := node_modules/.installed

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Install the npm packages and the Node that they bring

$(READY): package.json package-lock.json scripts/setup.sh
	@scripts/setup.sh packages

.PHONY: debian-tests debian-bench debian-demo debian-cluster scale soak
debian-tests:
	@scripts/setup.sh debian postgresql openssl python3-venv golang-go:go bzip2 openssh-server openssh-client procps rsync dropbear-bin git openssh-tests nginx

debian-cluster: debian-tests
	@scripts/setup.sh debian containerd runc containernetworking-plugins nftables iproute2 conntrack buildah mmdebstrap unzip

debian-demo:
	@scripts/setup.sh debian postgresql-client

debian-bench: debian-tests
	@scripts/setup.sh debian pgbouncer

build: $(READY) ## Compile to dist/
	@rm -rf dist && $(TSC) -p tsconfig.build.json

# What the last tests need takes minutes to build the first time: it is built while the first ones run. Whoever needs it earlier
# waits for it or builds it, and tells why it failed.
test: build debian-cluster ## Run every test; the last line is "N passed, N failed, N skipped"
	@mkdir -p .cache; nice -n 5 $(NODE) test/cluster/main.ts prepare >.cache/prepare.log 2>&1 & \
	preparing=$$!; $(VITEST); status=$$?; kill $$preparing 2>/dev/null; exit $$status

test-unit: $(READY) ## Run the tests that stand beside their files and need nothing
	@$(VITEST) --project unit

test-integration: build debian-tests ## Run the tests against real servers and programs
	@$(VITEST) test/integration test/support

test-cluster: build debian-cluster ## Run the tests on a real Kubernetes cluster, which they bring along
	@$(VITEST) test/cluster test/e2e

fuzz: $(READY) debian-tests ## Fuzz every decoder and the statement guard, FUZZ_SECONDS each (default 60)
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(VITEST) test/fuzz

lint: $(READY) ## Formatting, types, import rules, dead links, generated files
	@$(NODE) node_modules/@biomejs/biome/bin/biome ci --error-on-warnings .
	@$(TSC) -p .
	@$(NODE) --import ./scripts/typescript-api.mjs node_modules/dependency-cruiser/bin/dependency-cruise.mjs $(SOURCES)
	@$(NODE) scripts/check-sources.ts
	@$(NODE) scripts/check-lockfile.ts
	@$(NODE) scripts/check-links.ts
	@$(foreach script,$(GENERATED),$(NODE) $(script) --check &&) true

format: $(READY) ## Format the sources in place
	@$(NODE) node_modules/@biomejs/biome/bin/biome check --write .

generate: $(READY) ## Write the generated files again
	@$(foreach script,$(GENERATED),$(NODE) $(script) &&) true

bench: build debian-bench ## Compare with PostgreSQL, pgbouncer, sshd and nginx side by side (BENCH_FLAGS=--quick for a short run)
	@$(NODE) bench/main.ts $(BENCH_FLAGS)
	@$(foreach part,record sessions approvals ssh http kubernetes kubernetes-exec,echo && echo '## $(part)' && echo && $(NODE) bench/$(part).ts &&) true

soak: $(READY) debian-tests ## Follow 5,000 changing objects for SOAK_SECONDS (default 180): memory must not grow
	@$(NODE) bench/soak.ts

scale: $(READY) debian-tests ## Measure the operator with many objects, and a proxy with many sessions (SCALE_FLAGS, SCALE_PROXY_FLAGS)
	@$(NODE) bench/scale.ts $(SCALE_FLAGS)
	@$(NODE) bench/scale-proxy.ts $(SCALE_PROXY_FLAGS)

demo: build debian-demo ## Walk through Sallyport on a small shop database
	@$(NODE) demo/main.ts

cluster: build debian-cluster ## Leave a Kubernetes cluster running, with the images of this working tree; again to load them anew
	@$(NODE) test/cluster/main.ts up

cluster-down: $(READY) ## End that cluster
	@$(NODE) test/cluster/main.ts down

demo-cluster: build debian-cluster ## Walk through Sallyport on that cluster, or on the one of KUBECONFIG
	@$(NODE) demo/cluster/main.ts

pack: $(READY) ## Make the npm package
	@npm pack --silent

clean: ## Remove what was built; installed packages stay
	@rm -rf dist coverage bench/results .cache *.tgz
