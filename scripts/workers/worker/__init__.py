"""What the peers share beside crates/worker-python: how they start, torch's devices, GGUF files."""
