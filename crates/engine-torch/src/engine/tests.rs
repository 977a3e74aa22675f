use std::cell::{Cell as Shared, RefCell};
use std::rc::Rc;
use std::sync::Weak;

use serde_json::json;

use super::*;
use crate::error;

#[test]
fn flash_attention_is_for_half_precisions_on_gpus_that_have_it() {
    let chosen = |attention: &str, dtype, head_dim, capability| {
        let words = protocol::Options::from([("attention".into(), attention.into())]);
        let options = TorchOptions::read(TorchEngine::CudaGraph, &words).unwrap();
        choose_exclusion(options, dtype, head_dim, capability)
    };
    assert_eq!(chosen("sdpa", Dtype::Fp16, 128, (8, 0)), Exclusion::CausalRow);
    assert_eq!(chosen("sdpa", Dtype::Bf16, 64, (9, 0)), Exclusion::CausalRow);
    for others in [
        chosen("sdpa", Dtype::Fp32, 128, (9, 0)),
        chosen("sdpa", Dtype::Fp16, 128, (7, 5)),
        chosen("sdpa", Dtype::Fp16, 100, (9, 0)),
        chosen("eager", Dtype::Fp16, 128, (9, 0)),
        chosen("cudnn", Dtype::Fp16, 128, (9, 0)),
    ] {
        assert_eq!(others, Exclusion::Mask);
    }
}

/// Its outputs know whether they live; before a forward makes new ones, it writes down whether the last ones do.
#[derive(Default)]
struct Watched {
    outputs: RefCell<Vec<Weak<Vec<u8>>>>,
    lived: Rc<Shared<Option<bool>>>,
}

impl CausalLm for Watched {
    fn forward(&self, input_ids: &Tensor, cache: &mut KvCache) -> error::Result<Tensor> {
        let mut outputs = self.outputs.borrow_mut();
        let live: Vec<bool> = outputs.iter().map(|output| output.upgrade().is_some()).collect();
        self.lived.set((!live.is_empty()).then(|| live.iter().all(|&lives| lives)));
        outputs.clear();
        let [rows, length] = input_ids.sizes()?;
        let mut output = |shape: &[i64]| {
            let bytes = Arc::new(vec![0u8; 4 * shape.iter().product::<i64>() as usize]);
            outputs.push(Arc::downgrade(&bytes));
            let numbers: *const [u8] = bytes.as_slice();
            // SAFETY: the numbers live as long as their owner, whom the tensor holds.
            unsafe { shim::tensor_over(numbers, bytes) }?.view_dtype(Kind::Float)?.view(shape)
        };
        for states in cache.keys.iter_mut().chain(&mut cache.values) {
            *states = output(&[rows, 1, cache.length + length, 2])?;
        }
        output(&[rows, length, 8])
    }
}

struct Asked(Rc<RefCell<Vec<(usize, f64)>>>);

impl BoundedAllocators for Asked {
    fn total_bytes(&self, _: usize) -> error::Result<u64> {
        Ok(2048)
    }

    fn set_fraction(&mut self, gpu: usize, fraction: f64) -> error::Result<()> {
        self.0.borrow_mut().push((gpu, fraction));
        Ok(())
    }
}

#[test]
fn a_bound_ends_with_its_model_before_the_next_one_and_before_peaks() {
    let peaks = |torch: &mut Torch| {
        let request = PeaksRequest {
            device: Device::Cuda(u32::MAX),
            precisions: Vec::new(),
            threads: Some(1),
            sustained_seconds: None,
            options: protocol::Options::new(),
        };
        torch.peaks(&request).unwrap_err();
    };
    let load = |torch: &mut Torch| {
        let request = LoadRequest {
            model: protocol::ModelSource::Checkpoint { dir: "none".into() },
            device: Device::Cpu,
            precision: protocol::Precision::Fp32,
            threads: Some(1),
            memory_limit_bytes: None,
            device_memory_limit_bytes: None,
            one_rank_of: None,
            options: protocol::Options::new(),
        };
        torch.load(&request, &Reporter::silent()).unwrap_err();
    };
    let ends: [fn(&mut Torch); 2] = [peaks, load];
    for end in ends {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let mut torch = Torch::new(TorchEngine::Eager, World::alone());
        torch.allocators = Box::new(Asked(Rc::clone(&asked)));
        torch.bound.set(&mut *torch.allocators, 1, 1024).unwrap();
        end(&mut torch);
        end(&mut torch);
        assert_eq!(*asked.borrow(), [(1, 0.5), (1, 1.0)]);
    }
}

#[test]
fn outputs_live_while_the_next_forward_computes_where_they_are_kept() {
    let config = json!({
        "vocab_size": 8, "hidden_size": 2, "intermediate_size": 4, "num_hidden_layers": 2, "num_attention_heads": 1,
    });
    for keep_outputs in [true, false] {
        let words = protocol::Options::from([
            ("keep_outputs".into(), keep_outputs.into()),
            ("logits".into(), "all".into()),
        ]);
        let model = Watched::default();
        let lived = Rc::clone(&model.lived);
        let mut torch = Torch::new(TorchEngine::Eager, World::alone());
        torch.model = Some(LoadedModel {
            config: LlamaConfig::from_json(&config, "").unwrap(),
            options: TorchOptions::read(TorchEngine::Eager, &words).unwrap(),
            numbers: (Kind::Float, Device::Cpu),
            product_inputs: None,
            exclusion: Exclusion::Mask,
            causal_lm: Box::new(model),
        });
        let prompt = Prompt { batch_size: 2, length: 3, ids: vec![1; 6] };
        torch.begin(&prompt, 2).unwrap();
        let forwards: [fn(&mut Torch) -> Result<()>; 4] = [
            |torch| torch.reset().and_then(|()| torch.prefill()),
            // The next prompt run, and decode forwards.
            |torch| torch.reset().and_then(|()| torch.prefill()),
            |torch| torch.select().and_then(|()| torch.decode()),
            |torch| torch.select().and_then(|()| torch.decode()),
        ];
        for (index, forward) in forwards.into_iter().enumerate() {
            forward(&mut torch).unwrap();
            // By itself a decode forward has the cache of the one before it, and not its logits.
            if index < 2 || keep_outputs {
                assert_eq!(lived.get(), (index > 0).then_some(keep_outputs), "{keep_outputs} {index}");
            }
        }
        torch.end().unwrap();
    }
}
