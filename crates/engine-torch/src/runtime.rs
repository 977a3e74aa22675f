//! The libtorch that this process runs: its versions, devices and threads.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread::Builder;

use anyhow::{Context, Result, anyhow, ensure};
use protocol::{Device, Library, UsableDevice};
use worker::nvidia;

use crate::error::TorchError;
use crate::shim;
use crate::tensor::{set_num_interop_threads, set_num_threads};

/// libtorch and the libraries that it reports.
pub(crate) fn libraries() -> Vec<Library> {
    let config = config();
    let parts = [
        ("libtorch", "TORCH_VERSION=", Some("libtorch_cpu.so")),
        ("MKL", "Math Kernel Library Version ", None),
        ("oneDNN", "MKL-DNN v", None),
        ("CUDA runtime", "CUDA Runtime ", Some("libtorch_cuda.so")),
        ("cuDNN", "CuDNN ", None),
    ];
    let library = |(name, key, file): (&str, &str, Option<&str>)| {
        let version = word_after(&config, key)?;
        let version = if name == "cuDNN" { cudnn_version(version) } else { version.to_owned() };
        Some(Library { name: name.into(), version, path: file.and_then(loaded_from) })
    };
    parts.into_iter().filter_map(library).collect()
}

/// libtorch takes cuDNN 9's number, such as 91002, apart as those before it were made: it says 91.0.2 for 9.10.2.
fn cudnn_version(said: &str) -> String {
    let parts: Vec<u32> = said.split('.').map_while(|part| part.parse().ok()).collect();
    let &[thousands, hundreds, ref patch @ ..] = &parts[..] else { return said.to_owned() };
    if thousands < 90 {
        return said.to_owned();
    }
    let number = 1000 * thousands + 100 * hundreds;
    let patch: String = patch.iter().map(|patch| format!(".{patch}")).collect();
    format!("{}.{}{patch}", number / 10_000, number % 10_000 / 100)
}

/// libtorch's version.
pub(crate) fn version() -> String {
    shim::version().unwrap_or_else(|_| "unknown".into())
}

/// Checks that the libtorch that was loaded is the one that this program was compiled for: its C++ interface changes with every
/// version.
///
/// # Errors
/// Where it is not; the error is one line that says what to install.
pub fn check_version() -> Result<()> {
    check_found(
        &shim::version()?,
        env!("LIBTORCH_VERSION"),
        &loaded_from("libtorch_cpu.so").unwrap_or_default(),
    )
}

fn check_found(found: &str, needed: &str, path: &Path) -> Result<()> {
    let command = machine::set_up_command();
    ensure!(
        found == needed,
        "{} is libtorch {found}, and {needed} is needed: run `{command}`",
        path.display()
    );
    Ok(())
}

/// The instruction set that libtorch chose its CPU kernels for.
pub(crate) fn cpu_capability() -> String {
    word_after(&config(), "CPU capability usage: ").unwrap_or("unknown").to_owned()
}

/// The CPU, and every GPU, or the reason why there is none.
pub(crate) fn devices() -> Vec<UsableDevice> {
    let mut devices = vec![UsableDevice { device: Device::Cpu.to_string(), unusable: None }];
    match cuda() {
        Ok(count) => devices.extend((0..*count).map(|index| {
            let device = Device::Cuda(index as u32).to_string();
            UsableDevice { device, unusable: None }
        })),
        Err(why) => devices.push(UsableDevice { device: "cuda".into(), unusable: Some(why.clone()) }),
    }
    devices
}

/// # Errors
/// Where libtorch can't use `device`.
pub(crate) fn ensure_usable(device: Device) -> Result<()> {
    let Device::Cuda(index) = device else { return Ok(()) };
    let count = *cuda().as_ref().map_err(|why| anyhow!("{device} can't be used: {why}"))?;
    ensure!((index as usize) < count, "{device} can't be used: the last GPU is cuda:{}", count - 1);
    Ok(())
}

/// Gives operators `threads` threads, or one a core; returns how many. Operators run one after the other.
///
/// # Errors
/// Where so many threads can't be created.
pub(crate) fn set_threads(threads: Option<u32>) -> Result<u32> {
    static INTER_OP: OnceLock<Result<(), TorchError>> = OnceLock::new();
    static IN_POOL: AtomicU32 = AtomicU32::new(1);
    // libtorch allows this once a process.
    INTER_OP.get_or_init(|| set_num_interop_threads(1)).as_ref().map_err(|error| anyhow!("{error}"))?;
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get) as u32;
    let threads = threads.unwrap_or_else(cores).max(1);
    if IN_POOL.load(Ordering::Relaxed) != threads {
        ensure_room_for(threads)?;
        IN_POOL.store(threads, Ordering::Relaxed);
    }
    set_num_threads(threads)?;
    Ok(threads)
}

/// Creates as many threads as libtorch's pool will, and ends them. The pool (pthreadpool, `pthreads.c`) waits forever for a thread that
/// could not be created, as under a memory limit: the stack of each counts against it.
fn ensure_room_for(threads: u32) -> Result<()> {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let closed = gate.lock();
        let all = (1..threads).try_for_each(|_| {
            let thread = Builder::new().stack_size(stack_size_of_c());
            thread.spawn_scoped(scope, || drop(gate.lock())).map(drop)
        });
        drop(closed);
        all
    })
    .with_context(|| format!("failed to spawn thread: libtorch's pool of {threads} threads"))
}

/// The stack that a thread of C gets: `ulimit -s`, mostly.
fn stack_size_of_c() -> usize {
    const USUAL: usize = 8 << 20;
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut bytes = USUAL;
    // SAFETY: the attributes are initialised by the first call, and destroyed after their last use.
    unsafe {
        if libc::pthread_attr_init(attributes.as_mut_ptr()) == 0 {
            libc::pthread_attr_getstacksize(attributes.as_ptr(), &raw mut bytes);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
    }
    bytes
}

/// Loads libtorch's CUDA part where there is one; how many GPUs it sees, at least 1, or why there is none.
///
/// libtorch looks for its CUDA part once, in the first call that could need it: so this comes before any other.
pub(crate) fn cuda() -> &'static Result<usize, String> {
    static CUDA: OnceLock<Result<usize, String>> = OnceLock::new();
    CUDA.get_or_init(|| {
        nvidia::usable_gpus().map_err(|why| why.to_string())?;
        load_globally(c"libtorch_cuda.so").map_err(|why| {
            nvidia::explain_missing(&why).unwrap_or_else(|| {
                format!("no CUDA part of libtorch ({why}): run {}", machine::set_up_cuda_command())
            })
        })?;
        match shim::device_count() {
            0 => {
                Err("libtorch sees no GPU, though the NVIDIA driver does: check CUDA_VISIBLE_DEVICES".into())
            }
            count => Ok(count),
        }
    })
}

fn load_globally(library: &CStr) -> Result<(), String> {
    // SAFETY: the library's initialisers register operators with libtorch and may run at any time; the text of `dlerror`
    // is this thread's until its next call.
    unsafe {
        if !libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL).is_null() {
            return Ok(());
        }
        let why = libc::dlerror();
        if why.is_null() {
            Err("dlopen failed".into())
        } else {
            Err(CStr::from_ptr(why).to_string_lossy().into())
        }
    }
}

fn config() -> String {
    let _ = cuda();
    shim::config().unwrap_or_default()
}

fn word_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    rest.split([' ', ',', '-', '\n']).next()
}

/// The NVIDIA driver's library, `libcuda.so.1`, as the file that it is a link to, where it is loaded.
pub(crate) fn driver_library() -> Option<PathBuf> {
    loaded(|file| file.starts_with("libcuda.so."))
}

/// The file that the library `name` was loaded from.
fn loaded_from(name: &str) -> Option<PathBuf> {
    loaded(|file| file == name)
}

/// The first file in memory whose name is one of these.
fn loaded(is_wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut files = maps.lines().filter_map(|line| line.find('/').map(|start| PathBuf::from(&line[start..])));
    files.find(|path| path.file_name().and_then(|file| file.to_str()).is_some_and(&is_wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cudnn_is_of_the_version_that_it_is_of() {
        assert_eq!(cudnn_version("91.9"), "9.19");
        assert_eq!(cudnn_version("90.1"), "9.1");
        assert_eq!(cudnn_version("91.0.2"), "9.10.2");
        assert_eq!(cudnn_version("8.9"), "8.9");
    }

    #[test]
    fn another_version_is_one_line() {
        check_version().unwrap();
        let error = check_found("2.10.0", "2.11.0", Path::new("/x/libtorch_cpu.so")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/x/libtorch_cpu.so is libtorch 2.10.0, and 2.11.0 is needed: run `make setup`"
        );
    }

    #[test]
    fn versions_and_paths_are_those_of_the_loaded_libraries() {
        let libraries = libraries();
        let libtorch = &libraries[0];
        assert_eq!((libtorch.name.as_str(), libtorch.version.as_str()), ("libtorch", "2.11.0"));
        assert!(libtorch.path.as_ref().unwrap().is_file(), "{libtorch:?}");
        for library in &libraries {
            assert!(library.version.starts_with(|c: char| c.is_ascii_digit()), "{library:?}");
        }
        assert_ne!(cpu_capability(), "unknown");
    }

    #[test]
    fn a_device_is_usable_or_the_reason_is_one_line() {
        ensure_usable(Device::Cpu).unwrap();
        let error = ensure_usable(Device::Cuda(99)).unwrap_err().to_string();
        assert!(error.starts_with("cuda:99 can't be used: ") && !error.contains('\n'), "{error}");
        assert_eq!(devices()[0], UsableDevice { device: "cpu".into(), unusable: None });
        assert!(devices().len() > 1, "{:?}", devices());
    }
}
