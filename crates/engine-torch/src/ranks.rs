//! The all-reduce: between two modules, or as an operator of TorchScript.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::{Arc, PoisonError, RwLock};

use collective::{AllReduce, Numbers};
use protocol::{Device, Dtype};

use crate::error::{Result, TorchError};
use crate::shim;
use crate::tensor::{Kind, Tensor};

/// What a row-parallel layer ends with.
#[derive(Clone)]
pub(crate) struct SumOverRanks(Arc<dyn AllReduce>);

impl SumOverRanks {
    pub(crate) fn new(all_reduce: Arc<dyn AllReduce>) -> Self {
        Self(all_reduce)
    }

    /// The sum of all ranks' `terms`, made in their place.
    pub(crate) fn sum_(&self, terms: &Tensor) -> Result<Tensor> {
        let terms = terms.contiguous()?;
        let gpu = match terms.device() {
            Device::Cuda(index) => Some(index as usize),
            Device::Cpu => None,
        };
        // SAFETY: the tensor is contiguous and owned here; libtorch uses it in its current stream alone.
        unsafe { self.sum_at(terms.data_ptr()?, terms.numel(), terms.kind()?, gpu) }?;
        Ok(terms)
    }

    /// # Safety
    /// The pointer must hold that many numbers of this kind, which no other code uses.
    unsafe fn sum_at(&self, start: *mut c_void, len: usize, kind: Kind, gpu: Option<usize>) -> Result<()> {
        let dtype = match kind {
            Kind::Float => Dtype::Fp32,
            Kind::Half => Dtype::Fp16,
            Kind::BFloat16 => Dtype::Bf16,
            other => return Err(TorchError::new(&format!("a sum of {other:?} over ranks"))),
        };
        let stream = gpu.map_or(Ok(null_mut()), shim::current_stream)?;
        // SAFETY: the caller's promise.
        Ok(unsafe { self.0.all_reduce(Numbers { terms: start, sums: start, len, dtype, stream }) }?)
    }

    /// Makes `llama2_bench.all_reduce_` of every script call this sum.
    pub(crate) fn offer_to_scripts(&self) {
        *OFFERED.write().unwrap_or_else(PoisonError::into_inner) = Some(self.clone());
        shim::set_all_reduce(all_reduce);
    }
}

static OFFERED: RwLock<Option<SumOverRanks>> = RwLock::new(None);

/// What the operator calls: null, or an error for `free`.
unsafe extern "C" fn all_reduce(start: *mut c_void, len: usize, kind: c_int, gpu: c_int) -> *mut c_char {
    let offered = OFFERED.read().unwrap_or_else(PoisonError::into_inner);
    let result = match &*offered {
        None => Err(TorchError::new("no ranks to sum over")),
        Some(sum) => Kind::from_scalar_type(kind).and_then(|kind| {
            // SAFETY: the operator's tensor is contiguous, and its alone while it runs.
            unsafe { sum.sum_at(start, len, kind, usize::try_from(gpu).ok()) }
        }),
    };
    match result {
        Ok(()) => null_mut(),
        Err(error) => {
            let text = CString::new(error.to_string().replace('\0', " ")).unwrap_or_default();
            // SAFETY: a C string; the copy is for `free`.
            unsafe { libc::strdup(text.as_ptr()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use collective::CollectiveError;
    use llama::Weights;
    use protocol::ModelSource;
    use worker::Reporter;

    use super::*;
    use crate::TorchEngine;
    use crate::kv_cache::KvCache;
    use crate::model::{CausalLm, LlamaForCausalLm};
    use crate::options::{CacheKind, TorchOptions};
    use crate::script::ScriptedLlama;
    use crate::tensor::{no_grad, set_num_threads};
    use crate::weights::WeightTensors;

    const RANKS: usize = 4;

    /// What the ranks, threads of one process, share.
    struct Threads {
        barrier: Barrier,
        terms: Mutex<Vec<Vec<f32>>>,
    }

    /// One of them, which writes down each sum's terms and the sum itself.
    struct Rank {
        rank: usize,
        threads: Arc<Threads>,
        /// This rank's terms, and the sums.
        record: Mutex<Vec<(Vec<f32>, Vec<f32>)>>,
    }

    /// # Safety
    /// The numbers are valid and used by nobody else until the sum is made.
    unsafe fn numbers<'a>(numbers: &Numbers) -> &'a mut [f32] {
        // SAFETY: the caller's promise; they are in one place, as `SumOverRanks` has them.
        unsafe { std::slice::from_raw_parts_mut(numbers.sums.cast(), numbers.len) }
    }

    impl AllReduce for Rank {
        unsafe fn all_reduce(&self, all: Numbers) -> Result<(), CollectiveError> {
            // SAFETY: the caller's promise.
            let numbers = unsafe { numbers(&all) };
            let terms = numbers.to_vec();
            self.threads.terms.lock().unwrap()[self.rank].clone_from(&terms);
            self.threads.barrier.wait();
            for (index, sum) in numbers.iter_mut().enumerate() {
                *sum = self.threads.terms.lock().unwrap().iter().map(|terms| terms[index]).sum();
            }
            self.threads.barrier.wait();
            self.record.lock().unwrap().push((terms, numbers.to_vec()));
            Ok(())
        }
    }

    /// Stands in for the other ranks: returns the sums as they were, one after the other, and keeps the terms that it is given.
    struct Replay {
        sums: Mutex<std::vec::IntoIter<Vec<f32>>>,
        terms: Mutex<Vec<Vec<f32>>>,
    }

    impl AllReduce for Replay {
        unsafe fn all_reduce(&self, all: Numbers) -> Result<(), CollectiveError> {
            // SAFETY: the caller's promise.
            let numbers = unsafe { numbers(&all) };
            self.terms.lock().unwrap().push(numbers.to_vec());
            numbers.copy_from_slice(&self.sums.lock().unwrap().next().unwrap());
            Ok(())
        }
    }

    /// Leaves terms as they are, as no sum does, and keeps them.
    struct Keep(Mutex<Vec<Vec<f32>>>);

    impl AllReduce for Keep {
        unsafe fn all_reduce(&self, all: Numbers) -> Result<(), CollectiveError> {
            // SAFETY: the caller's promise.
            self.0.lock().unwrap().push(unsafe { numbers(&all) }.to_vec());
            Ok(())
        }
    }

    /// Logits of a prefill and of two decode forwards of rank `rank`'s part.
    fn logits(engine: TorchEngine, rank: usize, sum: Option<Arc<dyn AllReduce>>) -> Vec<Vec<f32>> {
        set_num_threads(1).unwrap();
        let config = serde_json::from_str(include_str!("../../../fixtures/tiny-tp/config.json")).unwrap();
        let source = ModelSource::Seeded { config, seed: 1 };
        let weights = Arc::new(Weights::open_part(&source, rank, RANKS).unwrap());
        let config = weights.config();
        let reporter = Reporter::silent();
        let tensors = WeightTensors::load(&weights, Dtype::Fp32, Device::Cpu, None, &reporter).unwrap();
        let options = TorchOptions::read(engine, &protocol::Options::new()).unwrap();
        let ranks = sum.map(SumOverRanks::new);
        let model: Box<dyn CausalLm> = match engine {
            TorchEngine::Compile => {
                Box::new(ScriptedLlama::new(config, tensors, options, ranks.as_ref()).unwrap())
            }
            _ => Box::new(LlamaForCausalLm::new(config, tensors, options, ranks.as_ref()).unwrap()),
        };
        let numbers = (Kind::Float, Device::Cpu);
        let mut cache = KvCache::new(CacheKind::Dynamic, config, (2, 11), numbers).unwrap();
        let ids: Vec<i64> = (0..22).map(|id| id * 11 % 256).collect();
        let ids = Tensor::from_slice(&ids).unwrap().view(&[2, 11]).unwrap();
        let mut all = Vec::new();
        for (start, length) in [(0, 9), (9, 1), (10, 1)] {
            let new_ids = ids.narrow(1, start, length).unwrap();
            let logits = no_grad(|| model.forward(&new_ids, &mut cache)).unwrap();
            cache.length += length;
            all.push(logits.to_vec().unwrap());
        }
        all
    }

    #[test]
    fn one_rank_alone_computes_what_rank_0_of_4_does_but_for_the_sums() {
        let threads =
            Arc::new(Threads { barrier: Barrier::new(RANKS), terms: Mutex::new(vec![vec![]; RANKS]) });
        let ranks: Vec<Arc<Rank>> = (0..RANKS)
            .map(|rank| Arc::new(Rank { rank, threads: Arc::clone(&threads), record: Mutex::default() }))
            .collect();
        let of_4: Vec<_> = std::thread::scope(|scope| {
            let start = |rank: &Arc<Rank>| {
                let sum = Arc::clone(rank);
                scope.spawn(move || logits(TorchEngine::Eager, sum.rank, Some(sum.clone())))
            };
            let started: Vec<_> = ranks.iter().map(start).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(of_4.iter().all(|logits| *logits == of_4[0]));
        let record = ranks[0].record.lock().unwrap();
        let (terms, sums): (Vec<_>, Vec<_>) = record.iter().cloned().unzip();
        // Two sums a layer and forward, of three layers.
        assert_eq!(terms.len(), 3 * 2 * 3);
        assert!(terms.iter().zip(&sums).all(|(terms, sums)| terms != sums));

        for engine in [TorchEngine::Eager, TorchEngine::Compile] {
            // Given the sums of the four, one process's partial outputs are rank 0's, bit for bit.
            let sums = Mutex::new(sums.clone().into_iter());
            let replay = Arc::new(Replay { sums, terms: Mutex::default() });
            assert_eq!(logits(engine, 0, Some(replay.clone())), of_4[0], "{engine:?}");
            assert_eq!(*replay.terms.lock().unwrap(), terms, "{engine:?}");
            // Without any it goes on with its own partial outputs: the first is rank 0's still.
            let keep = Arc::new(Keep(Mutex::default()));
            let kept = logits(engine, 0, Some(keep.clone()));
            assert_eq!(logits(engine, 0, None), kept, "{engine:?}");
            assert_eq!(keep.0.lock().unwrap()[0], terms[0], "{engine:?}");
            assert_ne!(kept, of_4[0], "{engine:?}");
        }
    }
}
