use super::*;

#[test]
fn every_end_has_its_outcome() {
    use FailureKind::{Crashed, Failed, OutOfMemory, TimedOut};
    let reported = |text: &str| WorkerEnd::Reported(text.into());
    let exited = |code| WorkerEnd::Exited { code: Some(code), signal: None };
    let signal = |signal| WorkerEnd::Exited { code: None, signal: Some(signal) };
    let cases = [
        (reported("std::bad_alloc"), "", OutOfMemory, "std::bad_alloc"),
        (
            reported("Failed to allocate memory for requested buffer of size 8589934592\n at bfc_arena.cc"),
            "",
            OutOfMemory,
            "Failed to allocate memory for requested buffer of size 8589934592",
        ),
        (
            reported(
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.",
            ),
            "",
            OutOfMemory,
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.",
        ),
        (
            reported("forward: CUDA out of memory. Tried to allocate 2.00 GiB"),
            "",
            OutOfMemory,
            "forward: CUDA out of memory. Tried to allocate 2.00 GiB",
        ),
        (reported("unknown option x\n  at a\n  at b"), "", Failed, "unknown option x"),
        (reported(""), "", Failed, "an error without a message"),
        (
            signal(libc::SIGABRT),
            "memory allocation of 1073741824 bytes failed\n",
            OutOfMemory,
            "memory allocation of 1073741824 bytes failed",
        ),
        (
            signal(libc::SIGABRT),
            "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
            OutOfMemory,
            "terminate called after throwing an instance of 'std::bad_alloc'",
        ),
        (
            WorkerEnd::Exited { code: Some(1), signal: None },
            "\nlibgomp: Thread creation failed: Resource temporarily unavailable\n",
            OutOfMemory,
            "libgomp: Thread creation failed: Resource temporarily unavailable",
        ),
        (signal(libc::SIGSEGV), "", Crashed, "ended by SIGSEGV"),
        (signal(libc::SIGTERM), "last words\n\n", Crashed, "ended by SIGTERM: last words"),
        (reported("CUDA error: out of memory"), "", OutOfMemory, "CUDA error: out of memory"),
        (
            reported("CUDA failure 2: out of memory ; GPU=0"),
            "",
            OutOfMemory,
            "CUDA failure 2: out of memory ; GPU=0",
        ),
        (
            reported("out of memory: 100 bytes of weights are made, then copied"),
            "",
            OutOfMemory,
            "out of memory: 100 bytes of weights are made, then copied",
        ),
        (
            exited(127),
            "x: error while loading shared libraries: libc.so.6: failed to map segment from shared object",
            OutOfMemory,
            "x: error while loading shared libraries: libc.so.6: failed to map segment from shared object",
        ),
        (signal(63), "", Crashed, "ended by signal 63"),
        (
            WorkerEnd::NotStarted("x: Cannot allocate memory (os error 12)".into()),
            "",
            OutOfMemory,
            "x: Cannot allocate memory (os error 12)",
        ),
        (exited(3), "", Failed, "the worker exited with code 3 without an answer"),
        (exited(2), "first\nlast\n", Failed, "last"),
        (
            exited(101),
            "\nthread 'main' (7) panicked at src/main.rs:3:5:\nno such thing\nstack backtrace:\n   0: main\nnote: run with\n",
            Failed,
            "no such thing",
        ),
        (
            exited(1),
            "Traceback (most recent call last):\n  File \"x.py\", line 1\nValueError: bad\n    hint\n",
            Failed,
            "ValueError: bad",
        ),
        (exited(1), "   only indented\n", Failed, "the worker exited with code 1 without an answer"),
        (exited(0), "", Failed, "the worker exited with code 0 without an answer"),
        (
            exited(127),
            "llama2-bench-torch: error while loading shared libraries: libtorch_cpu.so: cannot open shared object file: No such file or directory\n",
            Failed,
            "libtorch_cpu.so is not there: run `make setup`",
        ),
        (
            exited(127),
            "bin/llama2-bench-torch: symbol lookup error: bin/llama2-bench-torch: undefined symbol: _ZTVN5torch3jit6MethodE\n",
            Failed,
            "the libraries are of another version than this program needs (_ZTVN5torch3jit6MethodE is not in them): run `make setup`",
        ),
        (
            WorkerEnd::TimedOut(Deadline::Request, Duration::from_millis(1500)),
            "",
            TimedOut,
            "no answer within 1.5 s",
        ),
        (WorkerEnd::Garbage("not a reply".into()), "", Failed, "not a reply"),
        (
            WorkerEnd::NotStarted("no program x: run `make build`".into()),
            "",
            Failed,
            "no program x: run `make build`",
        ),
    ];
    for (end, stderr, kind, error) in cases {
        let evidence = Evidence { stderr: stderr.into(), ..Evidence::new(Phase::Decode, end) };
        let expected = CellFailure::new(kind, Phase::Decode, error.into());
        assert_eq!(classify(&evidence), expected);
    }
}

#[test]
fn every_error_of_cuda_has_its_outcome() {
    use FailureKind::{Failed, OutOfMemory};
    let cases = [
        // ONNX Runtime: bfc_arena.cc, cuda_call.cc
        (
            OutOfMemory,
            "Non-zero status code returned while running FusedMatMul node. Name:'model.layers.0.mlp.up_proj' Status Message: /onnxruntime/core/framework/bfc_arena.cc:358 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 17179869184",
        ),
        (OutOfMemory, "Available memory of 1048576 is smaller than requested bytes of 4194304"),
        (
            OutOfMemory,
            "CUDA failure 2: out of memory ; GPU=0 ; file=cuda_allocator.cc ; line=32 ; expr=cudaMalloc((void**)&p, size);",
        ),
        (
            OutOfMemory,
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; file=cuda_execution_provider.cc ; expr=cublasCreate(&cublas_handle_);",
        ),
        (OutOfMemory, "CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0"),
        (Failed, "CUDA failure 700: an illegal memory access was encountered ; GPU=0"),
        (Failed, "CUDA failure 209: no kernel image is available for execution on the device ; GPU=0"),
        (Failed, "CUDA failure 214: uncorrectable ECC error encountered ; GPU=0"),
        (Failed, "CUDA failure 719: unspecified launch failure ; GPU=0"),
        (Failed, "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0"),
        // libtorch: CUDACachingAllocator.cpp, CUDAException.cpp, CublasHandlePool.cpp
        (
            OutOfMemory,
            "CUDA out of memory. Tried to allocate 32.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 12.35 GiB is free.",
        ),
        (
            OutOfMemory,
            "The following operation failed in the TorchScript interpreter. RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (OutOfMemory, "CUDA error: out of memory"),
        (OutOfMemory, "CUDA driver error: out of memory"),
        (OutOfMemory, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        (OutOfMemory, "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        (Failed, "CUDA error: device-side assert triggered"),
        (Failed, "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        (Failed, "CUDA error: invalid device ordinal"),
        (Failed, "CUDA error: operation not permitted when stream is capturing"),
        // NCCL: checks.h
        (OutOfMemory, "NCCL error: unhandled cuda error: Cuda failure 2 'out of memory'"),
        (Failed, "NCCL error: remote process exited or there was a network error"),
        // The driver
        (OutOfMemory, "the NVIDIA driver: out of memory (2)"),
        (Failed, "the NVIDIA driver: system has unsupported display driver / cuda driver combination (803)"),
    ];
    for (outcome, message) in cases {
        let end = WorkerEnd::Reported(message.into());
        let failure = classify(&Evidence::new(Phase::Prompt, end));
        // The message names the bytes that were asked for, where the library does.
        assert_eq!((failure.kind, failure.phase, &*failure.error), (outcome, Some(Phase::Prompt), message));
    }
}

#[test]
fn a_kill_is_out_of_memory_where_the_kernel_counted_one() {
    let end = WorkerEnd::Exited { code: None, signal: Some(libc::SIGKILL) };
    let end_of = |cgroup, machine| {
        let oom_kills = OomKills { cgroup, machine };
        let failure = classify(&Evidence { oom_kills, ..Evidence::new(Phase::Load, end.clone()) });
        (failure.kind, failure.error)
    };
    let by_kernel = "killed by the kernel: its cgroup, or the machine, was out of memory";
    let unknown = "ended by SIGKILL (no readable counter tells whether memory ran out)";
    let cases = [
        (Some(1), Some(1), FailureKind::OutOfMemory, by_kernel),
        (None, Some(1), FailureKind::OutOfMemory, by_kernel),
        // Somebody else's process was killed.
        (Some(0), Some(1), FailureKind::Crashed, "ended by SIGKILL"),
        (None, Some(0), FailureKind::Crashed, "ended by SIGKILL"),
        (None, None, FailureKind::Crashed, unknown),
    ];
    for (cgroup, machine, outcome, error) in cases {
        assert_eq!(end_of(cgroup, machine), (outcome, error.to_owned()));
    }
}

#[test]
fn a_launcher_passes_a_kill_on_and_a_warning_is_no_end() {
    let exit = |code, stderr: &str, kills| {
        let end = WorkerEnd::Exited { code: Some(code), signal: None };
        let oom_kills = OomKills { cgroup: Some(kills), machine: None };
        classify(&Evidence { stderr: stderr.into(), oom_kills, ..Evidence::new(Phase::Load, end) }).kind
    };
    assert_eq!(exit(137, "Killed\n", 1), FailureKind::OutOfMemory);
    assert_eq!(exit(137, "Killed\n", 0), FailureKind::Failed);
    assert_eq!(exit(3, "warning: out of memory was avoided\nno such layer\n", 0), FailureKind::Failed);
    assert_eq!(exit(1, "MemoryError\n", 0), FailureKind::OutOfMemory);
    let closed = |stderr: &str| {
        let stderr = stderr.into();
        classify(&Evidence { stderr, ..Evidence::new(Phase::Load, WorkerEnd::ClosedPipe) }).kind
    };
    assert_eq!((closed("std::bad_alloc\n"), closed("")), (FailureKind::OutOfMemory, FailureKind::Failed));
}

#[test]
fn a_line_that_was_cut_off_is_told() {
    let torn = |code, signal| {
        let end = WorkerEnd::Exited { code, signal };
        classify(&Evidence { torn_line: true, ..Evidence::new(Phase::Decode, end) })
    };
    assert_eq!(torn(Some(0), None).error, "the worker exited with code 0 inside a line of its answer");
    assert_eq!(torn(None, Some(libc::SIGSEGV)).kind, FailureKind::Crashed);
}

#[test]
fn every_deadline_has_its_words() {
    let error = |deadline| {
        let end = WorkerEnd::TimedOut(deadline, Duration::from_secs(3));
        classify(&Evidence::new(Phase::Decode, end)).error
    };
    assert_eq!(error(Deadline::Hello), "no hello within 3 s");
    assert_eq!(error(Deadline::Request), "no answer within 3 s");
    assert_eq!(error(Deadline::Phase), "decode did not end within 3 s");
    assert_eq!(error(Deadline::Shutdown), "did not exit within 3 s");
}

#[test]
fn an_error_is_one_line_of_bounded_length() {
    let long = "x".repeat(100_000);
    let exit = WorkerEnd::Exited { code: Some(1), signal: None };
    let evidence = Evidence { stderr: long.clone(), ..Evidence::new(Phase::Load, exit) };
    assert_eq!(classify(&evidence).error.len(), 1000);
    assert_eq!(classify(&Evidence::new(Phase::Load, WorkerEnd::Reported(long))).error.len(), 1000);
}
