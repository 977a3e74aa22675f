//! The sum over all ranks as an operator of ONNX Runtime: `llama2_bench.AllReduce`, one input, one output of its shape. It is
//! made in place wherever nothing else needs the input, on a GPU in the session's own stream.

use std::ptr::null_mut;
use std::sync::Arc;

use collective::{AllReduce, Numbers};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{DynTensorValueType, TensorElementType};
use protocol::{Device, Precision};

use crate::memory::element;

/// The operator's domain.
pub(crate) const DOMAIN: &str = "llama2_bench";
/// The operator's name.
pub(crate) const ALL_REDUCE: &str = "AllReduce";

/// The operators for a session on `device`: one of each precision.
pub(crate) fn operators(all_reduce: &Arc<dyn AllReduce>, device: Device) -> ort::Result<OperatorDomain> {
    let precisions = [Precision::Fp32, Precision::Fp16, Precision::Bf16];
    precisions.into_iter().try_fold(OperatorDomain::new(DOMAIN)?, |domain, precision| {
        domain.add(Sum { all_reduce: Arc::clone(all_reduce), precision, device })
    })
}

/// The sum of numbers of one precision: the operator, and its kernel.
#[derive(Clone)]
struct Sum {
    all_reduce: Arc<dyn AllReduce>,
    precision: Precision,
    device: Device,
}

impl Sum {
    fn element(&self) -> TensorElementType {
        element(self.precision)
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

    /// Only what is known to have one shape is done in place.
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
            Device::Cuda(_) => context.stream()?.map_or_else(null_mut, |stream| stream.as_ptr().cast()),
        };
        let numbers = Numbers {
            terms: terms.data_ptr().cast(),
            sums: sums.data_ptr().cast_mut().cast(),
            len: shape.iter().product::<i64>() as usize,
            precision: self.precision,
            stream,
        };
        // SAFETY: both tensors are of this shape, element and device, and this kernel's while it runs, or, on a GPU, in the
        // stream.
        unsafe { self.all_reduce.all_reduce(numbers) }.map_err(|error| ort::Error::new(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use collective::CollectiveError;
    use llama::Weights;
    use ort::value::Tensor;
    use prost::Message;
    use protocol::{LoadRequest, ModelSource, Options};
    use serde_json::json;
    use worker::Reporter;

    use super::*;
    use crate::graph::{self, Interface, LogitRows};
    use crate::initializers::Initializers;
    use crate::library::Library;
    use crate::session::Settings;

    /// A sum over one rank, which keeps what it was asked.
    #[derive(Default)]
    struct Log(Mutex<Vec<(bool, usize)>>);

    impl AllReduce for Log {
        unsafe fn all_reduce(&self, numbers: Numbers) -> Result<(), CollectiveError> {
            self.0.lock().unwrap().push((std::ptr::eq(numbers.terms, numbers.sums), numbers.len));
            Ok(())
        }
    }

    #[test]
    fn two_sums_a_layer_all_in_place() {
        let config = json!({
            "vocab_size": 32, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 3,
            "num_attention_heads": 2, "max_position_embeddings": 16,
        });
        let model = ModelSource::Seeded { config, seed: 0 };
        let weights = Weights::open(&model).unwrap();
        let request = LoadRequest {
            model,
            device: Device::Cpu,
            precision: Precision::Fp32,
            threads: Some(1),
            memory_limit_bytes: None,
            device_memory_limit_bytes: None,
            one_rank_of: None,
            options: Options::new(),
        };
        let log = Arc::new(Log::default());
        let all_reduce: Arc<dyn AllReduce> = Arc::<Log>::clone(&log);
        let library = Library::load().unwrap();
        let settings = Settings::new(&request, true, false).unwrap();
        let interface = Interface::Engine { rows: LogitRows::Last, sums: true };
        let mut proto = graph::llama(weights.config(), Precision::Fp32, interface);
        let initializers = Initializers::new(&weights, Precision::Fp32, &Reporter::silent());
        initializers.place(&mut proto);
        // SAFETY: the session copies the weights, which are made, and is made before they go.
        let builder = unsafe { initializers.add_to(settings.builder(library, false).unwrap()) }.unwrap();
        let operators = operators(&all_reduce, Device::Cpu).unwrap();
        let mut builder = builder.with_operators(operators).unwrap();
        let mut session = builder.commit_from_memory(&proto.encode_to_vec()).unwrap();

        let (batch, length) = (2usize, 5usize);
        let mut inputs = ort::inputs! {
            "input_ids" => Tensor::from_array(([batch, length], vec![1i64; batch * length])).unwrap(),
            "seqlens_k" => Tensor::from_array(([batch], vec![length as i32 - 1; batch])).unwrap(),
            "total_sequence_length" => Tensor::from_array(((), vec![length as i32])).unwrap(),
        };
        for (past, _) in (0..3).flat_map(graph::cache_names) {
            let memory = ort::memory::Allocator::default();
            let empty = Tensor::<f32>::new(&memory, [batch, 2, 0, 16]).unwrap();
            inputs.push((past.into(), empty.into()));
        }
        drop(session.run(inputs).unwrap());
        assert_eq!(*log.0.lock().unwrap(), [(true, batch * length * 32); 6]);
    }
}
