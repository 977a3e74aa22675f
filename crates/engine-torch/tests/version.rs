//! libtorch's version is checked before its CUDA part is loaded.

use std::ffi::{CStr, c_void};

const SYMBOL: &CStr = c"_ZN2at6detail12getCUDAHooksEv";

/// Stands in for libtorch's `at::detail::getCUDAHooks()`, which looks for the CUDA part once in a process, and keeps what it found: asked
/// before that part is loaded, libtorch sees no GPU for good.
#[unsafe(export_name = "_ZN2at6detail12getCUDAHooksEv")]
extern "C" fn cuda_hooks() -> *const c_void {
    panic!("libtorch was asked for its CUDA part")
}

#[test]
fn a_check_of_the_version_does_not_look_for_the_cuda_part() {
    // libtorch has such a function, and would call this one.
    // SAFETY: the names are texts of C, and what is found is compared only.
    let (called, of_libtorch) = unsafe {
        let libtorch = libc::dlopen(c"libtorch_cpu.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD);
        (libc::dlsym(libc::RTLD_DEFAULT, SYMBOL.as_ptr()), libc::dlsym(libtorch, SYMBOL.as_ptr()))
    };
    assert_eq!(called.cast_const(), cuda_hooks as *const c_void);
    assert!(!of_libtorch.is_null() && of_libtorch != called);
    engine_torch::check_version().unwrap();
}
