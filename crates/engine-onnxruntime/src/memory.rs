//! Memory of a session's device, and what is in it.

use std::ffi::CStr;
use std::ptr::null_mut;

use half::{bf16, f16};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::value::{DynTensor, PrimitiveTensorElementType, TensorElementType};
use ort::{AsPointer, ortsys};
use protocol::{Device, Dtype};

/// What allocates tensors where a session computes.
pub(crate) struct TensorAllocator {
    allocator: Allocator,
}

impl TensorAllocator {
    /// The memory of the device that `session` computes on.
    pub(crate) fn new(session: &Session, device: Device) -> ort::Result<Self> {
        let allocator = match device {
            Device::Cpu => Allocator::default(),
            Device::Cuda(index) => {
                let (cuda, kind) = (AllocationDevice::CUDA, AllocatorType::Device);
                Allocator::new(session, MemoryInfo::new(cuda, index as i32, kind, MemoryType::Default)?)?
            }
        };
        Ok(Self { allocator })
    }

    /// A tensor with nothing in it yet.
    pub(crate) fn tensor(&self, element: TensorElementType, shape: &[usize]) -> ort::Result<DynTensor> {
        DynTensor::new(&self.allocator, element, shape)
    }

    /// What describes this memory to a binding.
    pub(crate) fn info(&self) -> &MemoryInfo<'_> {
        self.allocator.memory_info()
    }

    /// The most bytes that were in use at once since the session was made; `None` where nothing counts them.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        let mut statistics = null_mut();
        ortsys![@ort: unsafe AllocatorGetStats(self.allocator.ptr(), &mut statistics) as Result].ok()?;
        // SAFETY: the list is ours to release; the text is in the list, and is read before that.
        unsafe {
            let text = (ort::api().GetKeyValue)(statistics, c"MaxInUse".as_ptr());
            let text = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
            (ort::api().ReleaseKeyValuePairs)(statistics);
            text?.parse().ok()
        }
    }
}

/// A copy of a tensor's values, from whichever device.
pub(crate) fn download<T: PrimitiveTensorElementType + Copy>(tensor: &DynTensor) -> ort::Result<Vec<T>> {
    if tensor.memory_info().is_cpu_accessible() {
        return Ok(tensor.try_extract_tensor()?.1.to_vec());
    }
    Ok(tensor.to(AllocationDevice::CPU, 0)?.try_extract_tensor()?.1.to_vec())
}

/// A copy of a tensor's floating-point values, from whichever device, widened.
pub(crate) fn download_f32(tensor: &DynTensor) -> ort::Result<Vec<f32>> {
    Ok(match tensor.data_type() {
        TensorElementType::Float16 => download(tensor)?.into_iter().map(f16::to_f32).collect(),
        TensorElementType::Bfloat16 => download(tensor)?.into_iter().map(bf16::to_f32).collect(),
        _ => download(tensor)?,
    })
}

/// The type of a tensor's numbers.
pub(crate) fn element(dtype: Dtype) -> TensorElementType {
    match dtype {
        Dtype::Fp32 => TensorElementType::Float32,
        Dtype::Fp16 => TensorElementType::Float16,
        Dtype::Bf16 => TensorElementType::Bfloat16,
    }
}

/// The dtype of a tensor's numbers, where they are such.
pub(crate) fn dtype(element: TensorElementType) -> Option<Dtype> {
    [Dtype::Fp32, Dtype::Fp16, Dtype::Bf16].into_iter().find(|&dtype| self::element(dtype) == element)
}

#[cfg(test)]
mod tests {
    use ort::session::Session;
    use prost::Message;

    use super::*;
    use crate::library::OnnxRuntimeLibrary;
    use crate::onnx::{DataType, GraphProto, ModelProto, NodeProto, ONNX, ValueInfoProto};

    /// The arena of a CPU session counts as that of a GPU does.
    #[test]
    fn an_arena_counts_its_peak() {
        let value = |name: &str| ValueInfoProto::tensor(name, DataType::Float, [1.into()]);
        let graph = GraphProto {
            name: "identity".into(),
            node: vec![NodeProto::new(ONNX, "Identity", "y", &["x"], &["y"], &[])],
            input: vec![value("x")],
            output: vec![value("y")],
            initializer: vec![],
        };
        let library = OnnxRuntimeLibrary::load().unwrap();
        let model = ModelProto::new(graph, 18).encode_to_vec();
        let session = Session::builder(&library.environment).unwrap().commit_from_memory(&model).unwrap();
        let arena =
            MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default).unwrap();
        let memory = TensorAllocator { allocator: Allocator::new(&session, arena).unwrap() };
        drop(memory.tensor(TensorElementType::Float32, &[1 << 20]).unwrap());
        let peak = memory.peak_bytes().unwrap();
        assert!((4 << 20..8 << 20).contains(&peak), "{peak}");
    }
}
