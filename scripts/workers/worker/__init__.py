"""The worker's side of PROTOCOL.md, in Python's standard library alone: what crates/worker is to the engines in Rust."""
