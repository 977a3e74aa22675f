//! The all-reduce as an operator of ONNX Runtime: `llama2_bench.AllReduce`, one input, one output of its shape. It works
//! in place wherever nothing else needs the input, and on a GPU in the session's own stream.

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use collective::{AllReduce, Numbers};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{DynTensorValueType, TensorElementType};
use protocol::{Device, Dtype};

use crate::memory::element;

/// The operator's domain.
pub(crate) const DOMAIN: &str = "llama2_bench";
/// The operator's name.
pub(crate) const ALL_REDUCE: &str = "AllReduce";

/// The operators for a session on `device`: one of each dtype.
pub(crate) fn operators(all_reduce: &Arc<dyn AllReduce>, device: Device) -> ort::Result<OperatorDomain> {
    let dtypes = [Dtype::Fp32, Dtype::Fp16, Dtype::Bf16];
    dtypes.into_iter().try_fold(OperatorDomain::new(DOMAIN)?, |domain, dtype| {
        domain.add(Sum { all_reduce: Arc::clone(all_reduce), dtype, device })
    })
}

/// The sum of numbers of one dtype: the operator, and its kernel.
#[derive(Clone)]
struct Sum {
    all_reduce: Arc<dyn AllReduce>,
    dtype: Dtype,
    device: Device,
}

impl Sum {
    fn element(&self) -> TensorElementType {
        element(self.dtype)
    }
}

impl Operator for Sum {
    type Kernel<'attr> = Self;

    const INPLACES: &[(u32, u32)] = &[(0, 0)];

    fn name(&self) -> &str {
        ALL_REDUCE
    }

    fn execution_provider_type(&self) -> Option<&str> {
        match self.device {
            Device::Cpu => None,
            Device::Cuda(_) => Some("CUDAExecutionProvider"),
        }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(self.element())]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(self.element())]
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> ort::Result<Self> {
        Ok(self.clone())
    }

    /// Works in place only where both shapes are known to be equal.
    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        match context.inputs().first() {
            Some(shape) => context.set_output(0, shape),
            None => Ok(()),
        }
    }
}

impl Kernel for Sum {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = |what: &str| ort::Error::new(format!("{ALL_REDUCE}: no {what}"));
        let terms = context.input(0)?.ok_or_else(|| missing("input"))?;
        let terms = terms.downcast::<DynTensorValueType>()?;
        let shape = terms.shape().to_vec();
        let sums = context.output(0, shape.clone())?.ok_or_else(|| missing("output"))?;
        let sums = sums.downcast::<DynTensorValueType>()?;
        let stream = match self.device {
            Device::Cpu => null_mut(),
            Device::Cuda(_) => stream_of_gpu(context.stream()?)?,
        };
        let numbers = Numbers {
            terms: terms.data_ptr().cast(),
            sums: sums.data_ptr().cast_mut().cast(),
            len: shape.iter().product::<i64>() as usize,
            dtype: self.dtype,
            stream,
        };
        // SAFETY: both tensors are of this shape, element and device, and this kernel's while it runs, or, on a GPU, in the
        // stream.
        unsafe { self.all_reduce.all_reduce(numbers) }.map_err(|error| ort::Error::new(error.to_string()))
    }
}

/// The stream that a kernel on a GPU works in.
///
/// # Errors
/// Fails where there is none: CUDA takes a null pointer for its legacy default stream, in which the sum would not wait for the terms.
fn stream_of_gpu(stream: Option<NonNull<c_void>>) -> ort::Result<*mut c_void> {
    let missing = || ort::Error::new(format!("{ALL_REDUCE}: ONNX Runtime names no stream to work in"));
    stream.map(NonNull::as_ptr).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use collective::CollectiveError;
    use llama::{LlamaConfig, Weights};
    use ort::session::Session;
    use ort::value::Tensor;
    use prost::Message;
    use protocol::{LoadRequest, ModelSource, Options};
    use serde_json::json;
    use worker::{Engine as _, Prompt, Reporter};

    use super::*;
    use crate::cache_layout::{attention_head_dim, cache_names};
    use crate::engine::OnnxRuntime;
    use crate::fused::Fused;
    use crate::graph::{self, Interface, LogitRows};
    use crate::initializers::{Initializers, Lifetime};
    use crate::library::OnnxRuntimeLibrary;
    use crate::session::SessionSettings;

    /// A sum over one rank, which keeps its terms.
    #[derive(Default)]
    struct Log(Mutex<Vec<(bool, usize)>>);

    impl AllReduce for Log {
        unsafe fn all_reduce(&self, numbers: Numbers) -> Result<(), CollectiveError> {
            self.0.lock().unwrap().push((std::ptr::eq(numbers.terms, numbers.sums), numbers.len));
            Ok(())
        }
    }

    #[test]
    fn a_gpu_without_a_stream_is_an_error() {
        // An error is the library's.
        OnnxRuntimeLibrary::load().unwrap();
        let stream = NonNull::<c_void>::dangling();
        assert_eq!(stream_of_gpu(Some(stream)).unwrap(), stream.as_ptr());
        let error = stream_of_gpu(None).unwrap_err().to_string();
        assert!(error.contains("AllReduce: ONNX Runtime names no stream to work in"), "{error}");
    }

    /// A session of `weights` whose sums are made by `all_reduce`; without one, it makes none.
    fn session(weights: &Weights, all_reduce: Option<Arc<dyn AllReduce>>) -> Session {
        let library = OnnxRuntimeLibrary::load().unwrap();
        let settings = SessionSettings::on_cpu(1, true);
        let interface = Interface::Engine { rows: LogitRows::Last, sums: all_reduce.is_some() };
        let mut proto = graph::llama(weights.config(), Dtype::Fp32, interface, Fused::NONE);
        let initializers = Initializers::new(weights, Dtype::Fp32, Fused::NONE, &Reporter::silent());
        initializers.place(&mut proto);
        let builder = settings.builder(library, false).unwrap();
        // SAFETY: the session copies the weights, which are made, and is made before they go.
        let mut builder = unsafe { initializers.add_to(builder, Lifetime::Copied) }.unwrap();
        if let Some(all_reduce) = all_reduce {
            builder = builder.with_operators(operators(&all_reduce, Device::Cpu).unwrap()).unwrap();
        }
        builder.commit_from_memory(&proto.encode_to_vec()).unwrap()
    }

    /// A forward of two sequences of five tokens: the logits of the last.
    fn forward(session: &mut Session, config: &LlamaConfig) -> Vec<f32> {
        let (batch, length) = (2usize, 5usize);
        let mut inputs = ort::inputs! {
            "input_ids" => Tensor::from_array(([batch, length], vec![1i64; batch * length])).unwrap(),
            "seqlens_k" => Tensor::from_array(([batch], vec![length as i32 - 1; batch])).unwrap(),
            "total_sequence_length" => Tensor::from_array(((), vec![length as i32])).unwrap(),
        };
        for (past, _) in (0..config.num_hidden_layers).flat_map(cache_names) {
            let memory = ort::memory::Allocator::default();
            let shape = [batch, config.num_key_value_heads, 0, attention_head_dim(config)];
            inputs.push((past.into(), Tensor::<f32>::new(&memory, shape).unwrap().into()));
        }
        let outputs = session.run(inputs).unwrap();
        outputs["logits"].try_extract_tensor::<f32>().unwrap().1.to_vec()
    }

    #[test]
    fn two_sums_a_layer_all_in_place() {
        let config = json!({
            "vocab_size": 32, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 3,
            "num_attention_heads": 2, "max_position_embeddings": 16,
        });
        let weights = Weights::open(&ModelSource::Seeded { config, seed: 0 }).unwrap();
        let log = Arc::new(Log::default());
        let mut session = session(&weights, Some(Arc::<Log>::clone(&log)));
        forward(&mut session, weights.config());
        assert_eq!(*log.0.lock().unwrap(), [(true, 2 * 5 * 32); 6]);
    }

    /// Where ranks meet that are threads.
    struct Meeting {
        all: Barrier,
        total: Mutex<Vec<f32>>,
    }

    /// One of those ranks; it keeps its terms and the sums.
    struct Rank {
        meeting: Arc<Meeting>,
        log: Mutex<Vec<[Vec<f32>; 2]>>,
    }

    /// The numbers, and where their sums go.
    ///
    /// # Safety
    /// The terms and sums of [`AllReduce::all_reduce`], in FP32.
    unsafe fn slices<'a>(numbers: Numbers) -> (Vec<f32>, &'a mut [f32]) {
        // SAFETY: the caller's promise; the terms are read before the sums are written.
        unsafe {
            let terms = std::slice::from_raw_parts(numbers.terms.cast(), numbers.len).to_vec();
            (terms, std::slice::from_raw_parts_mut(numbers.sums.cast(), numbers.len))
        }
    }

    impl AllReduce for Rank {
        unsafe fn all_reduce(&self, numbers: Numbers) -> Result<(), CollectiveError> {
            // SAFETY: the caller's promise.
            let (terms, sums) = unsafe { slices(numbers) };
            let Meeting { all, total } = &*self.meeting;
            {
                let mut total = total.lock().unwrap();
                total.resize(terms.len(), 0.0);
                total.iter_mut().zip(&terms).for_each(|(total, term)| *total += term);
            }
            all.wait();
            sums.copy_from_slice(&total.lock().unwrap());
            if all.wait().is_leader() {
                total.lock().unwrap().clear();
            }
            all.wait();
            self.log.lock().unwrap().push([terms, sums.to_vec()]);
            Ok(())
        }
    }

    /// One rank by itself that is given the sums of a run of several; it keeps its terms.
    struct Replay {
        sums: Vec<Vec<f32>>,
        terms: Mutex<Vec<Vec<f32>>>,
    }

    impl AllReduce for Replay {
        unsafe fn all_reduce(&self, numbers: Numbers) -> Result<(), CollectiveError> {
            // SAFETY: the caller's promise.
            let (terms, sums) = unsafe { slices(numbers) };
            let mut seen = self.terms.lock().unwrap();
            if let Some(known) = self.sums.get(seen.len()) {
                sums.copy_from_slice(known);
            }
            seen.push(terms);
            Ok(())
        }
    }

    #[test]
    fn one_rank_by_itself_computes_the_terms_of_rank_0_of_several() {
        let config = serde_json::from_str(include_str!("../../../fixtures/tiny-tp/config.json")).unwrap();
        let model = ModelSource::Seeded { config, seed: 1 };
        let part = |rank| Weights::open_part(&model, rank, 4).unwrap();
        let meeting = Arc::new(Meeting { all: Barrier::new(4), total: Mutex::new(Vec::new()) });
        let ranks: Vec<Arc<Rank>> =
            (0..4).map(|_| Arc::new(Rank { meeting: Arc::clone(&meeting), log: Mutex::default() })).collect();
        // One after the other: ONNX Runtime refuses a domain of operators that two sessions register at the same time.
        let sessions: Vec<_> = ranks
            .iter()
            .enumerate()
            .map(|(index, rank)| {
                let weights = part(index);
                (session(&weights, Some(Arc::<Rank>::clone(rank))), weights)
            })
            .collect();
        std::thread::scope(|scope| {
            for (mut session, weights) in sessions {
                scope.spawn(move || forward(&mut session, weights.config()));
            }
        });
        let log = std::mem::take(&mut *ranks[0].log.lock().unwrap());
        let (terms, sums): (Vec<_>, Vec<_>) = log.into_iter().map(|[terms, sums]| (terms, sums)).unzip();

        // Fed with the sums of all, o_proj and down_proj of every layer are those of rank 0.
        let weights = part(0);
        assert_eq!(terms.len(), 2 * weights.config().num_hidden_layers);
        assert!(terms[0].iter().any(|term| term.abs() > 0.01), "terms that say nothing");
        assert_ne!(terms[0], sums[0]);
        let replay = Arc::new(Replay { sums, terms: Mutex::default() });
        forward(&mut session(&weights, Some(Arc::<Replay>::clone(&replay))), weights.config());
        assert_eq!(*replay.terms.lock().unwrap(), terms);

        // Without sums it goes on with its own terms: its first are rank 0's all the same, and its logits the engine's.
        let alone = Arc::new(Replay { sums: Vec::new(), terms: Mutex::default() });
        let logits = forward(&mut session(&weights, Some(Arc::<Replay>::clone(&alone))), weights.config());
        let its_terms = alone.terms.lock().unwrap();
        assert_eq!(its_terms[0], terms[0]);
        assert_ne!(its_terms[2], terms[2]);
        assert_eq!(forward(&mut session(&weights, None), weights.config()), logits);

        let mut engine = OnnxRuntime::new().unwrap();
        let request = LoadRequest {
            model: model.clone(),
            device: Device::Cpu,
            precision: protocol::Precision::Fp32,
            threads: Some(1),
            memory_limit_bytes: None,
            device_memory_limit_bytes: None,
            one_rank_of: Some(4),
            options: Options::new(),
        };
        engine.load(&request, &Reporter::silent()).unwrap();
        engine.begin(&Prompt { batch_size: 2, length: 5, ids: vec![1; 10] }, 0).unwrap();
        engine.reset().unwrap();
        engine.prefill().unwrap();
        assert_eq!(engine.logits().unwrap(), logits);
    }
}
