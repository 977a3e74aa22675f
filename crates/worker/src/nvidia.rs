//! Checks whether libraries of CUDA 13 can use NVIDIA's GPUs, and if not, says why and what to do.

use std::ffi::{c_int, c_uint};

use anyhow::{Result, bail};
use machine::gpu::{CudaDriver, check_cuda};

/// Drivers say which CUDA they are for as 1000 · major + 10 · minor; from this one on CUDA 13's libraries run.
const OLDEST_DRIVER: c_int = 13_000;
/// The oldest GPUs that CUDA 13 has code for: Turing (CUDA Toolkit 13.0 Release Notes, "Deprecated architectures").
const OLDEST_CAPABILITY: (c_int, c_int) = (7, 5);

/// The driver's facts about itself and its GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    /// The CUDA that it is for.
    cuda: c_int,
    /// The compute capability of each GPU.
    capabilities: Vec<(c_int, c_int)>,
}

/// How many GPUs CUDA 13 can be used on, at least 1.
///
/// # Errors
/// Says in one line that there is no driver, or that it does not work, is too old, or has no GPU that can be used.
pub fn usable_gpus() -> Result<usize> {
    match CudaDriver::open() {
        Ok(driver) => judge(&ask(&driver)?),
        Err(error) => bail!("{}", no_driver(&format!("{:#}", anyhow::Error::from(error)))),
    }
}

fn no_driver(error: &str) -> String {
    let why = if error.contains("No such file") { "libcuda.so.1 is not there" } else { error };
    format!(
        "no NVIDIA driver ({}): install one for CUDA 13, 580 or newer; in a container, start it with its GPUs (docker: --gpus all)",
        why.replace('\n', " ")
    )
}

fn judge(facts: &Facts) -> Result<usize> {
    let Facts { cuda, capabilities } = facts;
    if *cuda < OLDEST_DRIVER {
        let (major, minor) = (cuda / 1000, cuda % 1000 / 10);
        bail!(
            "the NVIDIA driver is too old: it supports CUDA {major}.{minor}, and CUDA 13.0 is needed: install driver 580 or newer"
        );
    }
    if capabilities.is_empty() {
        bail!("the NVIDIA driver reports no GPU: see `nvidia-smi -L` and CUDA_VISIBLE_DEVICES");
    }
    if let Some(index) = capabilities.iter().position(|capability| *capability < OLDEST_CAPABILITY) {
        let (major, minor) = capabilities[index];
        bail!(
            "cuda:{index} is too old: it is an sm_{major}{minor}, and CUDA 13 has code for sm_75 (Turing) and newer"
        );
    }
    Ok(capabilities.len())
}

/// Asks the driver.
fn ask(driver: &CudaDriver) -> Result<Facts> {
    type Write = unsafe extern "C" fn(*mut c_int) -> c_int;
    const CAPABILITY: [c_int; 2] = [75, 76];
    // SAFETY: the functions have these signatures in the CUDA Driver API; what is written to outlives each call.
    unsafe {
        let init: unsafe extern "C" fn(c_uint) -> c_int = driver.function("cuInit")?;
        let version: Write = driver.function("cuDriverGetVersion")?;
        let count: Write = driver.function("cuDeviceGetCount")?;
        let attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int =
            driver.function("cuDeviceGetAttribute")?;
        let error_string = driver.function("cuGetErrorString")?;
        let mut facts = Facts { cuda: 0, capabilities: Vec::new() };
        check_cuda(error_string, version(&raw mut facts.cuda))?;
        if facts.cuda < OLDEST_DRIVER {
            return Ok(facts);
        }
        const NO_DEVICE: c_int = 100;
        match init(0) {
            NO_DEVICE => return Ok(facts),
            code => check_cuda(error_string, code)?,
        }
        let mut gpus = 0;
        check_cuda(error_string, count(&raw mut gpus))?;
        for gpu in 0..gpus {
            let mut parts = [0; 2];
            for (part, number) in parts.iter_mut().zip(CAPABILITY) {
                check_cuda(error_string, attribute(&raw mut *part, number, gpu))?;
            }
            facts.capabilities.push((parts[0], parts[1]));
        }
        Ok(facts)
    }
}

/// The Python package that contains a CUDA library.
fn package_of(library: &str) -> Option<&'static str> {
    const PACKAGES: [(&str, &str); 14] = [
        ("libcudart.so", "nvidia-cuda-runtime"),
        ("libcublas.so", "nvidia-cublas"),
        ("libcublasLt.so", "nvidia-cublas"),
        ("libnvrtc.so", "nvidia-cuda-nvrtc"),
        ("libcupti.so", "nvidia-cuda-cupti"),
        ("libcurand.so", "nvidia-curand"),
        ("libcufft.so", "nvidia-cufft"),
        ("libcufile.so", "nvidia-cufile"),
        ("libcusolver.so", "nvidia-cusolver"),
        ("libcusparse.so", "nvidia-cusparse"),
        ("libcusparseLt.so", "nvidia-cusparselt-cu13"),
        ("libnccl.so", "nvidia-nccl-cu13"),
        ("libnvshmem_host.so", "nvidia-nvshmem-cu13"),
        ("libnvJitLink.so", "nvidia-nvjitlink"),
    ];
    if library.starts_with("libcudnn") {
        return Some("nvidia-cudnn-cu13");
    }
    PACKAGES.iter().find(|(name, _)| library.starts_with(name)).map(|(_, package)| *package)
}

/// What to do about a missing CUDA library.
pub fn missing(library: &str) -> String {
    let package = package_of(library).map(|package| format!(", of the package {package},"));
    format!("{library}{} is not there: run {}", package.unwrap_or_default(), machine::set_up_cuda_command())
}

/// [`missing`] for the library that the dynamic loader did not find, if that is what `error` says.
pub fn explain_missing(error: &str) -> Option<String> {
    let library = error.split(['/', ' ', ':']).find(|word| package_of(word).is_some())?;
    error.contains("cannot open shared object file").then(|| missing(library))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(cuda: c_int, capabilities: &[(c_int, c_int)]) -> Result<usize, String> {
        judge(&Facts { cuda, capabilities: capabilities.into() }).map_err(|why| why.to_string())
    }

    #[test]
    fn a_gpu_is_usable_or_it_is_said_what_to_do() {
        assert_eq!(judged(13_000, &[(7, 5), (9, 0)]), Ok(2));
        assert_eq!(judged(13_010, &[(12, 0)]), Ok(1));
        assert_eq!(
            judged(12_040, &[(9, 0)]).unwrap_err(),
            "the NVIDIA driver is too old: it supports CUDA 12.4, and CUDA 13.0 is needed: install driver 580 or newer"
        );
        assert!(judged(13_000, &[]).unwrap_err().starts_with("the NVIDIA driver reports no GPU"));
        assert_eq!(
            judged(13_000, &[(8, 0), (7, 0)]).unwrap_err(),
            "cuda:1 is too old: it is an sm_70, and CUDA 13 has code for sm_75 (Turing) and newer"
        );
    }

    #[test]
    fn without_a_driver_it_is_said_in_one_line() {
        let why = no_driver("libcuda.so.1: cannot open shared object file: No such file or directory");
        assert!(
            why.starts_with("no NVIDIA driver (libcuda.so.1 is not there): install one for CUDA 13"),
            "{why}"
        );
        assert!(no_driver("libcuda.so.1: file too\nshort").contains("(libcuda.so.1: file too short)"));
        if let Err(why) = usable_gpus() {
            let why = why.to_string();
            assert!(why.contains("NVIDIA driver") && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn a_missing_library_is_named_with_its_package() {
        let cases = [
            (
                "libcudnn.so.9: cannot open shared object file: No such file or directory",
                "libcudnn.so.9, of the package nvidia-cudnn-cu13, is not there: run `make setup` on a machine with an NVIDIA driver",
            ),
            (
                "x/lib/libcublasLt.so.13: cannot open shared object file",
                "libcublasLt.so.13, of the package nvidia-cublas, is not there: run `make setup` on a machine with an NVIDIA driver",
            ),
            (
                "libcusparseLt.so.0: cannot open shared object file: No such file or directory",
                "libcusparseLt.so.0, of the package nvidia-cusparselt-cu13, is not there: run `make setup` on a machine with an NVIDIA driver",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(explain_missing(error).as_deref(), Some(expected));
        }
        assert_eq!(explain_missing("libm.so.6: cannot open shared object file"), None);
        assert_eq!(explain_missing("libcudnn.so.9: undefined symbol: x"), None);
    }
}
