//! Finds and loads ONNX Runtime's shared library, and asks for its devices.

use std::ffi::CStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Error, Result, anyhow, bail};
use libloading::Symbol;
use ort::environment::Environment;
use ort::ep::cuda::{CUDA_DYLIBS, CUDNN_DYLIBS};
use ort::ep::{self, ExecutionProvider};
use protocol::UsableDevice;
use worker::nvidia;

/// The loaded library. There is one in a process.
pub(crate) struct OnnxRuntimeLibrary {
    /// What sessions are made in.
    pub(crate) environment: Environment,
    /// The file it was loaded from.
    pub(crate) path: PathBuf,
    /// Its version, as it says itself.
    pub(crate) version: String,
    /// The runtimes' folder that it is in.
    runtime: PathBuf,
}

static LIBRARY: OnceLock<Result<OnnxRuntimeLibrary, String>> = OnceLock::new();

impl OnnxRuntimeLibrary {
    /// Loads the library at the first call. The error is one line that says what to do.
    pub(crate) fn load() -> Result<&'static Self> {
        let loaded = LIBRARY.get_or_init(|| Self::open().map_err(|error| format!("{error:#}")));
        loaded.as_ref().map_err(|error| anyhow!(error.clone()))
    }

    fn open() -> Result<Self> {
        let runtime = machine::runtime_dir().ok_or_else(|| set_up("no folder of native runtimes"))?;
        let folder = runtime.join("onnxruntime/capi");
        let in_folder = |error: &dyn Display| set_up(format_args!("{}: {error}", folder.display()));
        let found = machine::onnxruntime(&runtime).ok_or_else(|| in_folder(&"no libonnxruntime.so there"))?;
        let path = found.path;
        let builder = ort::init_from(&path).map_err(set_up)?;
        let environment = builder.with_name("llama2-bench").with_telemetry(false).build()?;
        let version = version(&path).map_err(|error| in_folder(&error))?;
        Ok(Self { environment, path, version, runtime })
    }

    /// The devices that this build knows, and why some can't be used.
    pub(crate) fn devices(&self) -> Vec<UsableDevice> {
        let mut devices = vec![UsableDevice { device: "cpu".into(), unusable: None }];
        match self.cuda_devices() {
            Ok(count) => devices.extend(
                (0..count).map(|index| UsableDevice { device: format!("cuda:{index}"), unusable: None }),
            ),
            Err(why) => {
                devices.push(UsableDevice { device: "cuda".into(), unusable: Some(format!("{why:#}")) });
            }
        }
        devices
    }

    /// NVIDIA GPUs that can be used.
    pub(crate) fn cuda_devices(&self) -> Result<usize> {
        let count = nvidia::usable_gpus()?;
        if !ep::CUDA::is_available()? {
            bail!(
                "this build of ONNX Runtime {} has no CUDAExecutionProvider: {} fetches one that has",
                self.version,
                machine::set_up_cuda_command()
            );
        }
        self.preload_cuda()?;
        Ok(count)
    }

    /// Loads the CUDA libraries that the CUDA provider is linked with from the runtimes' folder, where it would not
    /// look for them.
    pub(crate) fn preload_cuda(&self) -> Result<()> {
        let folder =
            |name: &str| Some(self.runtime.join("nvidia").join(name).join("lib")).filter(|dir| dir.is_dir());
        let (cuda, cudnn) = (folder("cu13"), folder("cudnn"));
        for (folder, libraries) in [(&cuda, CUDA_DYLIBS), (&cudnn, CUDNN_DYLIBS)] {
            let is_missing = |library: &&&str| folder.as_ref().is_some_and(|dir| !dir.join(library).exists());
            if let Some(library) = libraries.iter().find(is_missing) {
                bail!(nvidia::missing(library));
            }
        }
        ep::cuda::preload_dylibs(cuda.as_deref(), cudnn.as_deref()).context("loading CUDA's libraries")
    }
}

fn set_up(error: impl Display) -> Error {
    anyhow!("{error}: run `{}`", machine::set_up_command())
}

/// `OrtGetApiBase()->GetVersionString()`, which `ort` keeps to itself.
fn version(path: &Path) -> Result<String> {
    // SAFETY: `ort` has loaded this very library and keeps it loaded: nothing is initialised by opening it again. The
    // symbol has the signature of ONNX Runtime's C API, and the string that it leads to lives as long as the library.
    unsafe {
        let library = libloading::Library::new(path)?;
        let base: Symbol<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase> =
            library.get(b"OrtGetApiBase")?;
        let version = ((*base()).GetVersionString)();
        Ok(CStr::from_ptr(version).to_string_lossy().into_owned())
    }
}
