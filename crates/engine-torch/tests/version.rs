//! libtorch's version is checked before its CUDA part is loaded.

use std::ffi::c_void;

/// Stands in for libtorch's `at::detail::getCUDAHooks()`, which looks for the CUDA part once in a process, and keeps what it found: asked
/// before that part is loaded, libtorch sees no GPU for good.
#[unsafe(export_name = "_ZN2at6detail12getCUDAHooksEv")]
extern "C" fn cuda_hooks() -> *const c_void {
    panic!("libtorch was asked for its CUDA part")
}

#[test]
fn a_check_of_the_version_does_not_look_for_the_cuda_part() {
    engine_torch::check_version().unwrap();
}
