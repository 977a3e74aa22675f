//! Peaks of the device, as ONNX Runtime's matrix products reach them.

use std::num::NonZero;
use std::rc::Rc;

use anyhow::Result;
use half::{bf16, f16};
use ort::session::Session;
use ort::value::{DynTensor, Tensor};
use prost::Message;
use protocol::{Device, Dtype, PeaksRequest, Reached};
use worker::peaks::{fastest_product, read_bytes_per_second, sustained_flops_per_second};
use worker::timing::MonotonicClock;

use crate::cuda::Stream;
use crate::library::OnnxRuntimeLibrary;
use crate::memory::{TensorAllocator, element};
use crate::onnx::{
    AttributeProto, GraphProto, MICROSOFT, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use crate::session::{SessionSettings, run, unsynchronized};

pub(crate) fn reached(library: &OnnxRuntimeLibrary, request: &PeaksRequest) -> Result<Reached> {
    let one_a_core = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = request.threads.map_or_else(one_a_core, |threads| threads.max(1) as usize);
    let stream = match request.device {
        Device::Cpu => None,
        Device::Cuda(index) => Some(Rc::new(Stream::new(index)?)),
    };
    let settings =
        SessionSettings { device: request.device, stream, ..SessionSettings::on_cpu(threads, true) };
    let mut reached = Reached::default();
    if request.device == Device::Cpu {
        match read_bytes_per_second(request.threads) {
            Ok(read) => reached.read_bytes_per_second = Some(read),
            Err(error) => reached.notes.push(format!("reading memory: {error:#}")),
        }
    }
    for &dtype in &request.precisions {
        if let Err(error) = multiply(library, &settings, dtype, request, &mut reached) {
            reached.notes.push(format!("{dtype}: {error:#}"));
        }
    }
    Ok(reached)
}

/// Adds what products in `dtype` reach: the fastest one, and the mean where that is asked for.
fn multiply(
    library: &OnnxRuntimeLibrary,
    settings: &SessionSettings,
    dtype: Dtype,
    request: &PeaksRequest,
    reached: &mut Reached,
) -> Result<()> {
    let fastest = fastest_product(|size| {
        let mut product = product(library, settings, size, dtype)?;
        Ok(move || product(1))
    })?;
    reached.flops_per_second.insert(dtype, fastest.flops_per_second);
    if let Some(seconds) = request.sustained_seconds {
        let product = product(library, settings, fastest.size, dtype)?;
        let clock = MonotonicClock::start();
        let flops = sustained_flops_per_second(product, fastest.size, seconds, &clock)?;
        reached.sustained_flops_per_second.insert(dtype, flops);
    }
    Ok(())
}

/// A session that multiplies as the model's linear layers do: by the transpose of a weight that it may repack. It repeats the product
/// as often as asked, and waits only for the last one.
fn product(
    library: &OnnxRuntimeLibrary,
    settings: &SessionSettings,
    size: usize,
    dtype: Dtype,
) -> Result<impl FnMut(u32) -> Result<()>> {
    let side = size as i64;
    let value = |name: &str| ValueInfoProto::tensor(name, dtype.into(), [size.into(), size.into()]);
    let numbers = random(size * size);
    let weight = TensorProto::raw("weight", dtype.into(), &[side, side], bytes(&numbers, dtype));
    let transposed = [AttributeProto::int("transB", 1)];
    let graph = GraphProto {
        name: "product".into(),
        node: vec![NodeProto::new(MICROSOFT, "FusedMatMul", "y", &["x", "weight"], &["y"], &transposed)],
        input: vec![value("x")],
        output: vec![value("y")],
        initializer: vec![weight],
    };
    let model = ModelProto::new(graph, 18).encode_to_vec();
    let mut session: Session = settings.builder(library, false)?.commit_from_memory(&model)?;
    let memory = TensorAllocator::new(&session, settings.device)?;
    let mut output = memory.tensor(element(dtype), &[size, size])?;
    let mut binding = session.create_binding()?;
    binding.bind_input("x", &tensor([size, size], numbers, dtype)?)?;
    binding.bind_output("y", &mut output)?;
    binding.synchronize_inputs()?;
    let (options, stream) = (unsynchronized()?, settings.stream.clone());
    Ok(move |times| {
        // What the binding writes to lives as long as it does.
        let _ = (&output, &memory);
        for _ in 0..times {
            run(&mut session, &binding, &options)?;
        }
        stream.as_ref().map_or(Ok(()), |stream| stream.synchronize())
    })
}

/// Numbers between -1 and 1 without a pattern that a processor could exploit: zeros would draw less power, and be faster.
fn random(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let numbers = (0..count).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(0x3f80_0000 | state >> 9) * 2.0 - 3.0
    });
    numbers.collect()
}

fn bytes(numbers: &[f32], dtype: Dtype) -> Vec<u8> {
    let numbers = numbers.iter();
    match dtype {
        Dtype::Fp32 => numbers.flat_map(|number| number.to_le_bytes()).collect(),
        Dtype::Fp16 => numbers.flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect(),
        Dtype::Bf16 => numbers.flat_map(|number| bf16::from_f32(*number).to_le_bytes()).collect(),
    }
}

fn tensor(shape: [usize; 2], numbers: Vec<f32>, dtype: Dtype) -> ort::Result<DynTensor> {
    Ok(match dtype {
        Dtype::Fp32 => Tensor::from_array((shape, numbers))?.upcast(),
        Dtype::Fp16 => {
            let numbers: Vec<f16> = numbers.into_iter().map(f16::from_f32).collect();
            Tensor::from_array((shape, numbers))?.upcast()
        }
        Dtype::Bf16 => {
            let numbers: Vec<bf16> = numbers.into_iter().map(bf16::from_f32).collect();
            Tensor::from_array((shape, numbers))?.upcast()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_lie_between_minus_one_and_one_and_differ() {
        let numbers = random(1000);
        assert!(numbers.iter().all(|number| (-1.0..1.0).contains(number)));
        assert!(numbers.iter().sum::<f32>().abs() < 50.0);
    }

    #[test]
    fn the_mean_is_measured_where_it_is_asked_for() {
        let library = OnnxRuntimeLibrary::load().unwrap();
        let request = |sustained_seconds| PeaksRequest {
            device: Device::Cpu,
            precisions: vec![Dtype::Fp32],
            threads: Some(1),
            sustained_seconds,
            options: protocol::Options::new(),
        };
        let mut reached = Reached::default();
        let settings = SessionSettings::on_cpu(1, true);
        multiply(library, &settings, Dtype::Fp32, &request(Some(0.1)), &mut reached).unwrap();
        assert!(reached.flops_per_second[&Dtype::Fp32] > 0.0);
        assert!(reached.sustained_flops_per_second[&Dtype::Fp32] > 0.0);
        let mut burst = Reached::default();
        multiply(library, &settings, Dtype::Fp32, &request(None), &mut burst).unwrap();
        assert!(burst.sustained_flops_per_second.is_empty());
        let error = multiply(library, &settings, Dtype::Fp32, &request(Some(0.0)), &mut burst).unwrap_err();
        assert!(error.to_string().starts_with("sustained_seconds: expected more than 0"), "{error}");
    }

    #[test]
    fn a_product_runs_in_what_the_processor_has_kernels_for() {
        let library = OnnxRuntimeLibrary::load().unwrap();
        let settings = SessionSettings::on_cpu(1, true);
        for dtype in [Dtype::Fp32, Dtype::Fp16] {
            let mut product = product(library, &settings, 16, dtype).unwrap();
            product(1).unwrap();
            product(2).unwrap();
        }
        assert!(product(library, &settings, 16, Dtype::Bf16).is_err());
    }
}
