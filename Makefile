# `make bench` and `make test` are all that a fresh clone needs: Rust, a C++ compiler, Python 3 with pip; for several ranks
# (world_size) MPI and libclang, too.

# .cargo/config.toml names .runtime/torch; another folder for the runtimes is another one to build against.
ifdef LLAMA2_BENCH_RUNTIME
export LIBTORCH := $(abspath $(LLAMA2_BENCH_RUNTIME))/torch
endif

# scripts/gpu-bundle builds with PROFILE=bundle.
PROFILE := release
# Which runtimes are fetched: cpu, cuda, or auto, which looks for an NVIDIA driver.
VARIANT := auto
# Plots as images, which only a release has: a renderer of SVG and of fonts. Tests have them, too.
RELEASE_FEATURES := --features llama2-bench/png
# The newest version of glibc that a packed program may need, such as 2.28. Empty: print what each program needs, refuse nothing.
GLIBC :=

.PHONY: setup build release tarball wheel bench peers test lint deny coverage fuzz doc docs docs-check container-check clean

setup:
	@python3 scripts/setup.py --variant $(VARIANT)

build: setup
	cargo build --profile $(PROFILE) --workspace --exclude testing --exclude fuzz --lib --bins
	@scripts/build_mpi.sh --profile $(PROFILE)

# What is given to others.
release: setup
	cargo build --release --locked --workspace --exclude testing --exclude fuzz --lib --bins $(RELEASE_FEATURES)
	@scripts/build_mpi.sh --profile release

# The programs of a release as target/dist/llama2-bench-*.tar.gz.
tarball: release
	@python3 scripts/tarball.py $(if $(GLIBC),--glibc $(GLIBC))

# The same as a wheel, target/wheels/llama2_bench-*.whl.
wheel: release
	@python3 scripts/wheel.py $(if $(GLIBC),--glibc $(GLIBC))

bench: setup
	@scripts/bench.sh

# The engines that people would otherwise use, for configs/peers.toml: 5.2 GB, some minutes.
peers: build
	@python3 scripts/peers.py

test: setup lint doc
	@scripts/test.sh $(RELEASE_FEATURES)

lint: setup
	@python3 scripts/lint.py
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(RELEASE_FEATURES) -- -D warnings
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

# Looks for inputs that break parsers: each target of crates/fuzz for SECONDS, or only TARGET. KEEP=1 then chooses what
# crates/fuzz/corpus keeps.
SECONDS := 60
fuzz:
	@python3 scripts/fuzz.py --seconds $(SECONDS) $(if $(KEEP),--keep) $(TARGET)

doc: setup
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items $(RELEASE_FEATURES)

# The documentation site of docs/, into target/site.
docs:
	@python3 scripts/docs.py

docs-check: docs
	@python3 scripts/check_docs.py

# The Dockerfile's steps in a chroot, without Docker: some minutes, as root on Debian.
container-check:
	@python3 scripts/test_container.py --build target/container

clean:
	cargo clean
