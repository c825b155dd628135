# What people type. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# rustup's programs, also in a shell that was opened before it was installed.
export PATH := $(HOME)/.cargo/bin:$(PATH)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: install ## install what is missing, build, start the server with a demo project (PORT=8080)
	cargo build --release
	exec target/release/glassbox serve --demo

two: install ## two instances on one embedded database, ports 8080 and 8081 (PORT, PORT_TWO)
	cargo build --release
	scripts/two.sh

test: install check ## install what is missing, then every check and every test
	scripts/test.sh

check: ## format, lints, types, generated files, licences and banned crates
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo test --quiet -p glassbox-protocol --features schema
	scripts/client.sh check
	scripts/check-licences.py --self-test
	scripts/check-licences.py
	@if command -v cargo-deny >/dev/null; then cargo deny --all-features check licenses bans sources; fi

fmt: ## format the code
	cargo fmt --all

build: ## build the release program
	cargo build --release

client: install ## build the TypeScript client into client/dist
	scripts/client.sh build

load: install ## run the load tests, e.g. make load ARGS="--help"
	cargo run --release -p glassbox-load -- $(ARGS)

clean-data: ## stop the embedded PostgreSQL and remove its data
	scripts/database.sh clean

install:
	@scripts/install-missing.sh

.PHONY: help run two test check fmt build client load clean-data install
