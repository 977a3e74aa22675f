# `make bench` and `make test` are all that a fresh clone needs: Rust, a C++ compiler, Python 3 with pip; for several ranks
# (world_size) MPI and libclang, too.

# .cargo/config.toml names .runtime/torch; another folder for the runtimes is another one to build against.
ifdef LLAMA2_BENCH_RUNTIME
export LIBTORCH := $(abspath $(LLAMA2_BENCH_RUNTIME))/torch
endif

# scripts/gpu-bundle builds with PROFILE=bundle.
PROFILE := release

.PHONY: setup build release bench peers test lint deny coverage doc docs docs-check clean

setup:
	@python3 scripts/setup.py

build: setup
	cargo build --profile $(PROFILE) --workspace --lib --bins
	@scripts/build_mpi.sh --profile $(PROFILE)

# What is given to others: also writes plots as .png, for which a renderer of SVG and of fonts is built.
release: setup
	cargo build --release --workspace --lib --bins --features llama2-bench/png
	@scripts/build_mpi.sh --profile release

bench: build
	./target/release/llama2-bench run

# The engines that people would otherwise use, for configs/peers.toml: 5.2 GB, some minutes.
peers: build
	@python3 scripts/peers.py

test: setup lint doc
	@scripts/test.sh

lint: setup
	@python3 scripts/lint.py
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@scripts/build_mpi.sh --lint

# Licences, duplicates and known vulnerabilities of the crates, by deny.toml. It fetches the advisory database from GitHub;
# DENY="bans licenses sources" goes without.
DENY := all
deny:
	@cargo deny --version >/dev/null 2>&1 || { echo "deny: no cargo-deny: cargo install cargo-deny --locked" >&2; exit 2; }
	cargo deny check $(DENY)

# Which lines the tests run. TESTS chooses them, e.g. TESTS="-p stats -p compare"; without it, every test.
coverage: setup
	@scripts/coverage.sh $(TESTS)

doc: setup
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# The documentation site of docs/, into target/site.
docs:
	@python3 scripts/docs.py

docs-check: docs
	@python3 scripts/check_docs.py

clean:
	cargo clean
