# The front door. `make` alone lists what there is.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Where cargo puts what it builds; absolute, or below this folder.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
DEMO_BINS := ftgo bff-web bff-mobile bff-public

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The recipe's shell becomes the demo, so that signals reach it and its exit code is make's. TLS=1 lets bff-web speak TLS, for
# browsers that keep no Secure cookie without.
.PHONY: demo
demo: ## build everything, start FTGO and its three BFFs, until Ctrl-C
	@scripts/setup.sh build
	@cargo build --profile demo $(addprefix --bin ,$(DEMO_BINS))
	@exec $(TARGET_DIR)/demo/ftgo demo --bin-dir $(TARGET_DIR)/demo $(if $(filter 1,$(TLS)),--tls)

.PHONY: clean-demo
clean-demo: ## drop the demo's data, logs and keys
	@scripts/clean-demo.sh

.PHONY: test
test: ## run the whole test suite; installs what it needs on Debian and Ubuntu
	@scripts/setup.sh test
	cargo build --workspace --all-targets
	cargo test --workspace

.PHONY: schema
schema: ## write config/schema.json from the types; a test checks that it is current
	@touch config/schema.json
	@cargo build --quiet --bin bff-mobile
	@$(TARGET_DIR)/debug/bff-mobile --config-schema > config/schema.json

.PHONY: assets
assets: ## build the pages of bff-web from bff-web/web into bff-web/assets; a test checks that they are current (needs Node 20)
	@scripts/setup.sh assets
	@node bff-web/web/build.mjs

.PHONY: lint
lint: ## formatting, clippy, licences, bans and sources of dependencies, documentation
	@scripts/setup.sh lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo deny --workspace check licenses bans sources
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace

# ROWS="1 2" picks rows of the table, QUICK=1 only shows that everything works; see bench/README.md.
.PHONY: bench
bench: ## measure the gateways beside what users would pick instead; writes bench/results/ (half an hour)
	@scripts/setup.sh bench
	cargo build --release --bin bff-web --bin bff-mobile --bin bench-load
	@python3 bench/run.py $(if $(QUICK),--quick) $(ROWS)

.PHONY: round-trips
round-trips: ## measure one screen over a slow network: five services asked directly, and bff-mobile (needs Node 20)
	cargo build --profile demo --bin ftgo --bin bff-mobile
	@BIN_DIR=$(abspath $(TARGET_DIR))/demo node bench/round-trips.mjs

.PHONY: hostile
hostile: ## measure what GraphQL documents cost that are made to keep bff-web busy; fails above 10 ms of CPU time each
	@scripts/setup.sh build
	cargo build --release --bin bff-web
	@python3 bench/hostile.py $(TARGET_DIR)/release/bff-web

.PHONY: image
image: ## build one container image: make image BIN=bff-mobile (or all four without BIN)
	@scripts/setup.sh image
	for bin in $(or $(BIN),$(DEMO_BINS)); do docker build --build-arg "BIN=$$bin" --tag "$$bin" .; done
