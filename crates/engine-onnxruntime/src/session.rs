//! Sessions: a graph, optimised and placed on a device.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ptr::null;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use ort::ep::cuda::AttentionBackend;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider as _, ArenaExtendStrategy};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, RunOptions, Session};
use ort::{AsPointer, ortsys};
use protocol::{Device, LoadRequest};

use crate::cuda::Stream;
use crate::library::OnnxRuntimeLibrary;

/// How a session computes.
#[derive(Clone)]
pub(crate) struct SessionSettings {
    /// Where.
    pub(crate) device: Device,
    /// Threads of a node's work, the calling one among them.
    pub(crate) threads: usize,
    /// Repack weights at load for the processor's kernels.
    pub(crate) prepacking: bool,
    /// The most memory that a session may hold on a GPU, in bytes: what its arena gives for weights, KV cache and activations.
    pub(crate) device_memory_limit_bytes: Option<u64>,
    /// The stream of a GPU that it works in: its own, or this.
    pub(crate) stream: Option<Rc<Stream>>,
    /// Whether runs may be captured in CUDA graphs.
    pub(crate) cuda_graph: bool,
}

impl SessionSettings {
    /// The settings of a session on the processor.
    pub(crate) fn on_cpu(threads: usize, prepacking: bool) -> Self {
        let (device_memory_limit_bytes, stream) = (None, None);
        Self {
            device: Device::Cpu,
            threads,
            prepacking,
            device_memory_limit_bytes,
            stream,
            cuda_graph: false,
        }
    }

    /// The settings that `request` asks for; on a GPU, with a stream of ours.
    pub(crate) fn new(request: &LoadRequest, prepacking: bool, cuda_graph: bool) -> Result<Self> {
        let one_a_core = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let stream = match request.device {
            Device::Cpu => None,
            Device::Cuda(index) => Some(Rc::new(Stream::new(index)?)),
        };
        Ok(Self {
            device: request.device,
            threads: request.threads.map_or_else(one_a_core, |threads| threads as usize),
            prepacking,
            device_memory_limit_bytes: request.device_memory_limit_bytes,
            stream,
            cuda_graph,
        })
    }

    /// Options of a session. A node that the device has no kernel for runs on the processor if it `may_fall_back`; else
    /// the session can't be made.
    pub(crate) fn builder(
        &self,
        library: &OnnxRuntimeLibrary,
        may_fall_back: bool,
    ) -> Result<SessionBuilder> {
        if let Device::Cuda(_) = self.device {
            library.preload_cuda()?;
        }
        self.options(library, may_fall_back).with_context(|| format!("{}: cannot be used", self.device))
    }

    fn options(&self, library: &OnnxRuntimeLibrary, may_fall_back: bool) -> ort::Result<SessionBuilder> {
        let builder = Session::builder(&library.environment)?
            .with_intra_threads(self.threads)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_prepacking(self.prepacking)?
            .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
        let Device::Cuda(index) = self.device else { return Ok(builder) };

        let cuda = self
            .cuda_options(index)
            .into_iter()
            .fold(ep::CUDA::default(), |cuda, (key, value)| cuda.with_arbitrary_config(key, value));
        // Otherwise a provider that can't be registered is left out silently.
        let builder = builder.with_execution_providers([cuda.build().error_on_failure()])?;
        Ok(if may_fall_back { builder } else { builder.with_disable_cpu_fallback()? })
    }

    /// What the CUDA provider is asked for on GPU `index`: the keys are ONNX Runtime's (`OrtCUDAProviderOptionsV2`).
    fn cuda_options(&self, index: u32) -> Vec<(&'static str, String)> {
        let flag = |flag: bool| String::from(if flag { "1" } else { "0" });
        let attention = AttentionBackend::FLASH_ATTENTION | AttentionBackend::EFFICIENT_ATTENTION;
        let mut options = vec![
            ("device_id", index.to_string()),
            ("arena_extend_strategy", ArenaExtendStrategy::SameAsRequested.to_string()),
            ("sdpa_kernel", attention.to_string()),
            ("enable_cuda_graph", flag(self.cuda_graph)),
            // Or FP32 would not be: TF32 has 10 bits of mantissa. libtorch does not use it either.
            ("use_tf32", flag(false)),
        ];
        if let Some(stream) = &self.stream {
            // A stream stays for as long as the process.
            options.push(("has_user_compute_stream", flag(true)));
            options.push(("user_compute_stream", (stream.pointer() as usize).to_string()));
        }
        if let Some(limit) = self.device_memory_limit_bytes {
            options.push(("gpu_mem_limit", limit.to_string()));
        }
        options
    }
}

/// Options of runs that do not wait for the GPU: callers that need the results wait for the stream.
pub(crate) fn unsynchronized() -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    options.disable_device_sync()?;
    Ok(options)
}

/// The run option that says which captured graph a run is of; [`NO_GRAPH`] for none.
const GRAPH: &str = "gpu_graph_id";
const NO_GRAPH: &str = "-1";

/// Options of a run that is captured as graph `id`, or launches it.
pub(crate) fn in_graph(id: u32) -> ort::Result<RunOptions> {
    let mut options = unsynchronized()?;
    options.set(GRAPH, id.to_string())?;
    Ok(options)
}

/// Options of a run that is captured in no graph.
pub(crate) fn without_graph() -> ort::Result<RunOptions> {
    let mut options = unsynchronized()?;
    options.set(GRAPH, NO_GRAPH)?;
    Ok(options)
}

/// Runs a session on what is bound. Outputs are where they were bound, once the device got there.
pub(crate) fn run(session: &mut Session, binding: &IoBinding, options: &RunOptions) -> ort::Result<()> {
    // `Session::run_binding` does the same, and then makes a value of every output, each layer's keys and values among
    // them: 25 µs where there are 32 layers.
    //
    // SAFETY: all are alive, and borrowed for this run alone; a binding keeps what is bound to it alive.
    ortsys![unsafe RunWithBinding(session.ptr_mut(), options.ptr(), binding.ptr())?];
    Ok(())
}

/// Options of a run after which the session gives back the memory that it keeps for activations of later runs.
pub(crate) fn giving_back(device: Device, cuda_graph: bool) -> ort::Result<RunOptions> {
    let arena = match device {
        Device::Cpu => "cpu:0".into(),
        Device::Cuda(index) => format!("gpu:{index}"),
    };
    let mut options = if cuda_graph { without_graph()? } else { RunOptions::new()? };
    options.set("memory.enable_memory_arena_shrinkage", arena)?;
    Ok(options)
}

/// How many nodes each provider runs, a line for each.
///
/// # Errors
/// Fails where the device is a GPU, and a node was given to the processor all the same.
pub(crate) fn placement(session: &Session, device: Device) -> Result<Vec<String>> {
    let nodes = nodes_by_provider(session)?;
    check_placement(&nodes, device)?;
    Ok(nodes.into_iter().map(|(provider, count)| format!("{count} nodes on {provider}")).collect())
}

fn check_placement(nodes: &BTreeMap<String, usize>, device: Device) -> Result<()> {
    let elsewhere = nodes.iter().find(|(provider, _)| *provider != "CUDAExecutionProvider");
    let Some((provider, count)) = elsewhere.filter(|_| device != Device::Cpu) else { return Ok(()) };
    ensure!(
        false,
        "{device}: {count} nodes of the graph run on {provider}, so this device would not be measured"
    );
    Ok(())
}

fn nodes_by_provider(session: &Session) -> ort::Result<BTreeMap<String, usize>> {
    let mut nodes = BTreeMap::<String, usize>::new();
    // SAFETY: what the session returns here are arrays and strings of its own, with the lengths that it returns beside
    // them; the session outlives the reading of them.
    unsafe {
        let (mut subgraphs, mut count) = (null(), 0);
        ortsys![unsafe Session_GetEpGraphAssignmentInfo(session.ptr(), &mut subgraphs, &mut count)?];
        for index in 0..count {
            let subgraph = *subgraphs.add(index);
            let (mut name, mut members, mut count) = (null(), null(), 0);
            ortsys![unsafe EpAssignedSubgraph_GetEpName(subgraph, &mut name)?];
            ortsys![unsafe EpAssignedSubgraph_GetNodes(subgraph, &mut members, &mut count)?];
            *nodes.entry(CStr::from_ptr(name).to_string_lossy().into_owned()).or_default() += count;
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_device_memory_is_the_arenas() {
        let settings = SessionSettings { device: Device::Cuda(1), ..SessionSettings::on_cpu(1, true) };
        let value = |settings: &SessionSettings, key: &str| {
            let options = settings.cuda_options(1);
            options.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        assert_eq!(value(&settings, "gpu_mem_limit"), None);
        let limited = SessionSettings { device_memory_limit_bytes: Some(80 << 30), ..settings.clone() };
        assert_eq!(value(&limited, "gpu_mem_limit").unwrap(), "85899345920");
        assert_eq!(value(&limited, "device_id").unwrap(), "1");
        assert_eq!(value(&limited, "arena_extend_strategy").unwrap(), "kSameAsRequested");
        assert_eq!(value(&limited, "sdpa_kernel").unwrap(), "3");
        assert_eq!(value(&limited, "use_tf32").unwrap(), "0");
        assert_eq!(value(&limited, "enable_cuda_graph").unwrap(), "0");
        let captured = SessionSettings { cuda_graph: true, ..settings };
        assert_eq!(value(&captured, "enable_cuda_graph").unwrap(), "1");
    }

    /// The system enforces the host's limit; it does not bound a GPU.
    #[test]
    fn the_limit_of_host_memory_is_not_the_devices() {
        let request = protocol::LoadRequest {
            model: protocol::ModelSource::Checkpoint { dir: "none".into() },
            device: Device::Cpu,
            precision: protocol::Precision::Fp16,
            threads: Some(1),
            memory_limit_bytes: Some(1),
            device_memory_limit_bytes: Some(2),
            one_rank_of: None,
            options: protocol::Options::new(),
        };
        let settings = SessionSettings::new(&request, true, false).unwrap();
        assert_eq!(settings.device_memory_limit_bytes, Some(2));
    }

    #[test]
    fn a_node_on_the_processor_is_no_measurement_of_a_gpu() {
        let nodes = |providers: &[(&str, usize)]| {
            providers.iter().map(|(provider, count)| ((*provider).to_owned(), *count)).collect()
        };
        let mixed = nodes(&[("CPUExecutionProvider", 2), ("CUDAExecutionProvider", 300)]);
        let error = check_placement(&mixed, Device::Cuda(1)).unwrap_err().to_string();
        assert!(error.starts_with("cuda:1: 2 nodes of the graph run on CPUExecutionProvider"), "{error}");
        assert!(check_placement(&nodes(&[("CUDAExecutionProvider", 300)]), Device::Cuda(0)).is_ok());
        assert!(check_placement(&mixed, Device::Cpu).is_ok());
    }
}
