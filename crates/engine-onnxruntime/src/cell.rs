//! One cell: a prompt, the buffers of a generation after it, and the generation's progress.

use anyhow::{Result, ensure};
use ort::session::IoBinding;
use ort::value::{DynTensor, Tensor, TensorElementType};
use protocol::Device;
use worker::Prompt;

use crate::graph::LogitRows;
use crate::graph_inputs::FixedInputs;
use crate::interface::Lengths;
use crate::kv_cache::OnnxKvCache;
use crate::memory::{download, download_f32, element};
use crate::model::OnnxModel;
use crate::select::{Selector, TokenSelection};
use crate::session::giving_back;

/// The buffers of a cell, bound to the model's session once; what changes from forward to forward is bound anew
/// between them.
pub(crate) struct CellBuffers {
    batch_size: usize,
    prompt_length: usize,
    /// The rows of a prefill's logits.
    rows: usize,
    cache: OnnxKvCache,
    prefill: ForwardBinding,
    decode: ForwardBinding,
    /// The forward that ran last.
    last: Last,
    /// The tokens of each selection, `[batch, 1]`: the next forward's input, where they were selected. One more than
    /// there are decode forwards.
    tokens: Vec<DynTensor>,
    /// Selections since reset.
    selected: usize,
    /// What decode forwards read, where a session is fed lengths.
    fixed: Option<FixedInputs>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Prefill,
    Decode,
}

/// A forward with its inputs and outputs.
struct ForwardBinding {
    binding: IoBinding,
    /// `[batch, rows, vocab]`.
    logits: DynTensor,
    /// The selection from them; with `keep_outputs` made by the first one from new logits, or its time would be the forward's.
    selection: Option<TokenSelection>,
}

impl ForwardBinding {
    fn new(model: &OnnxModel, batch_size: usize, rows: usize) -> ort::Result<Self> {
        let mut logits = logits(model, batch_size, rows)?;
        let mut binding = model.session.create_binding()?;
        binding.bind_output("logits", &mut logits)?;
        let selection = (!model.keep_outputs).then(|| model.selector.bind(&logits)).transpose()?;
        Ok(Self { binding, logits, selection })
    }

    /// Makes the next run write to `logits`. Those of the last run stay until [`ForwardBinding::keep`].
    fn bind_logits(&mut self, logits: &mut DynTensor) -> ort::Result<()> {
        self.binding.bind_output("logits", logits)
    }

    /// Makes `logits`, which are bound, the last run's; drops the former ones.
    fn keep(&mut self, logits: DynTensor) {
        // A selection holds the logits that it reads.
        self.selection = None;
        self.logits = logits;
    }

    /// Selects `tokens` from the logits of the last run.
    fn select(&mut self, selector: &mut Selector, tokens: &mut DynTensor) -> ort::Result<()> {
        let selection = match &mut self.selection {
            Some(selection) => selection,
            none => none.insert(selector.bind(&self.logits)?),
        };
        selector.select(selection, &self.logits, tokens)
    }
}

fn logits(model: &OnnxModel, batch_size: usize, rows: usize) -> ort::Result<DynTensor> {
    model.memory.tensor(element(model.signature.logits), &[batch_size, rows, model.config.vocab_size])
}

impl CellBuffers {
    /// Allocates and binds what `prompt` and `generation_length` decode forwards after it need.
    /// Decode forwards are `graph` of the session, if they are captured.
    pub(crate) fn new(
        model: &mut OnnxModel,
        prompt: &Prompt,
        generation_length: usize,
        graph: u32,
    ) -> Result<Self> {
        let mut cell = Self::bound(model, prompt, generation_length, graph)?;
        cell.capture(model)?;
        Ok(cell)
    }

    fn bound(model: &OnnxModel, prompt: &Prompt, generation_length: usize, graph: u32) -> Result<Self> {
        let Prompt { batch_size, length, .. } = *prompt;
        let OnnxModel { config, memory, signature, growth, .. } = model;
        let positions = length + generation_length;
        let of_cache = (signature.cache, signature.head_dim);
        let keep = model.keep_outputs;
        let mut cache = OnnxKvCache::new(memory, config, of_cache, *growth, batch_size, positions, keep)?;

        let rows = if signature.rows == LogitRows::Last { 1 } else { length };
        // Where outputs are kept, each forward's logits are made for it: there are none yet.
        let first = |rows| if keep { 0 } else { rows };
        let mut prefill = ForwardBinding::new(model, batch_size, first(rows))?;
        let ids = Tensor::from_array(([batch_size, length], prompt.ids.clone()))?;
        prefill.binding.bind_input("input_ids", &ids)?;
        signature.lengths.bind(&mut prefill.binding, batch_size, 0, length)?;
        cache.bind(&mut prefill.binding)?;
        prefill.binding.synchronize_inputs()?;

        let mut decode = ForwardBinding::new(model, batch_size, first(1))?;
        cache.bind(&mut decode.binding)?;
        let fixed = (signature.lengths == Lengths::Given && generation_length > 0)
            .then(|| FixedInputs::new(model, &mut decode.binding, (batch_size, positions), graph))
            .transpose()?;

        let token = |_| memory.tensor(TensorElementType::Int64, &[batch_size, 1]);
        let tokens = (0..=generation_length).map(token).collect::<ort::Result<_>>()?;
        let (last, selected) = (Last::Nothing, 0);
        let prompt_length = length;
        Ok(Self { batch_size, prompt_length, rows, cache, prefill, decode, last, tokens, selected, fixed })
    }

    /// Runs a decode forward, whose results do not matter, so that its work is captured before anything is timed.
    fn capture(&mut self, model: &mut OnnxModel) -> Result<()> {
        let is_captured = model.cuda_graph && model.device != Device::Cpu;
        let Some(fixed) = self.fixed.as_mut().filter(|_| is_captured) else { return Ok(()) };
        let zeros = Tensor::from_array(([self.batch_size, 1], vec![0i64; self.batch_size]))?.upcast();
        fixed.feed(model, &zeros, self.prompt_length)?;
        self.cache.run(&mut model.session, &self.decode.binding, &fixed.options)?;
        model.synchronize()
    }

    /// Empties the cache; the prompt is the next input.
    pub(crate) fn reset(&mut self, model: &OnnxModel) -> Result<()> {
        (self.last, self.selected) = (Last::Nothing, 0);
        self.cache.clear(&model.memory)?;
        Ok(self.cache.bind_next(&mut self.prefill.binding, &model.memory)?)
    }

    /// One forward of the prompt.
    pub(crate) fn prefill(&mut self, model: &mut OnnxModel) -> Result<()> {
        self.run(model, Last::Prefill)
    }

    /// Selects from the last logits, and feeds the tokens to the next decode forward.
    pub(crate) fn select(&mut self, model: &mut OnnxModel) -> Result<()> {
        ensure!(self.last != Last::Nothing, "select before prefill");
        ensure!(self.selected < self.tokens.len(), "more selections than the cell has room for");
        let last = if self.last == Last::Prefill { &mut self.prefill } else { &mut self.decode };
        let room = self.tokens.len();
        let tokens = &mut self.tokens[self.selected];
        last.select(&mut model.selector, tokens)?;

        self.selected += 1;
        if self.selected == room {
            return Ok(()); // There is no room for another position.
        }
        let past = self.prompt_length + self.selected - 1;
        let decode = &mut self.decode.binding;
        if let Some(fixed) = &mut self.fixed {
            fixed.feed(model, tokens, past)?;
            return Ok(self.cache.bind_next(decode, &model.memory)?);
        }
        decode.bind_input("input_ids", tokens)?;
        model.signature.lengths.bind(decode, self.batch_size, past, 1)?;
        self.cache.bind_next(decode, &model.memory)?;
        // A mask that grows is copied from the host; a model that somebody exported may read it, and the tokens, there.
        decode.synchronize_inputs()?;
        Ok(())
    }

    /// One forward of the selected tokens.
    pub(crate) fn decode(&mut self, model: &mut OnnxModel) -> Result<()> {
        ensure!(self.selected > 0, "decode before select");
        ensure!(self.selected < self.tokens.len(), "more decode forwards than the cell has room for");
        self.run(model, Last::Decode)
    }

    fn run(&mut self, model: &mut OnnxModel, which: Last) -> Result<()> {
        let (forward, other, rows) = match which {
            Last::Decode => (&mut self.decode, &mut self.prefill, 1),
            _ => (&mut self.prefill, &mut self.decode, self.rows),
        };
        let mut next = model.keep_outputs.then(|| logits(model, self.batch_size, rows)).transpose()?;
        if let Some(next) = &mut next {
            forward.bind_logits(next)?;
        }
        let decode_options =
            self.fixed.as_ref().filter(|_| which == Last::Decode).map(|fixed| &fixed.options);
        let options = decode_options.unwrap_or(&model.run_options);
        self.cache.run(&mut model.session, &forward.binding, options)?;
        self.last = which;
        if let Some(next) = next {
            // Only now those of the forward before are let go.
            forward.keep(next);
            let mut none = logits(model, self.batch_size, 0)?;
            other.bind_logits(&mut none)?;
            other.keep(none);
        }
        Ok(())
    }

    /// The tokens selected since reset, a row for each sequence.
    pub(crate) fn tokens(&self) -> Result<Vec<Vec<u32>>> {
        let mut rows = vec![Vec::with_capacity(self.selected); self.batch_size];
        for tokens in &self.tokens[..self.selected] {
            for (row, id) in rows.iter_mut().zip(download::<i64>(tokens)?) {
                row.push(u32::try_from(id)?);
            }
        }
        Ok(rows)
    }

    /// The logits of each sequence's last position, `batch_size * vocab_size`.
    pub(crate) fn logits(&self) -> Result<Vec<f32>> {
        ensure!(self.last != Last::Nothing, "logits before prefill");
        let last = if self.last == Last::Prefill { &self.prefill } else { &self.decode };
        let logits = download_f32(&last.logits)?;
        let of_sequence = logits.len() / self.batch_size;
        let vocab_size = last.logits.shape()[2] as usize;
        Ok(logits.chunks(of_sequence).flat_map(|rows| &rows[of_sequence - vocab_size..]).copied().collect())
    }

    /// Makes the session free the memory of a former cell's activations, which would count in the next one's peak:
    /// it does so at the end of a run, here of a single token.
    pub(crate) fn give_back_memory(model: &mut OnnxModel) -> Result<()> {
        let token = Prompt { batch_size: 1, length: 1, ids: vec![0] };
        let mut cell = Self::bound(model, &token, 0, 0)?;
        cell.reset(model)?;
        let mut one = logits(model, 1, 1)?;
        cell.prefill.bind_logits(&mut one)?;
        let options = giving_back(model.device, model.cuda_graph)?;
        cell.cache.run(&mut model.session, &cell.prefill.binding, &options)
    }

    /// The size of the KV cache now.
    pub(crate) fn kv_cache_bytes(&self) -> u64 {
        self.cache.bytes()
    }
}

#[cfg(test)]
mod tests {
    use collective::World;
    use protocol::{LoadRequest, ModelSource, Options};
    use serde_json::json;
    use worker::Reporter;

    use super::*;
    use crate::library::OnnxRuntimeLibrary;

    fn model(keep_outputs: bool) -> OnnxModel {
        let config = json!({
            "vocab_size": 32, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16,
        });
        let options =
            [("keep_outputs", json!(keep_outputs)), ("logits", json!("all")), ("kv_cache", json!("dynamic"))];
        let request = LoadRequest {
            model: ModelSource::Seeded { config, seed: 0 },
            device: Device::Cpu,
            precision: protocol::Precision::Fp32,
            threads: Some(1),
            memory_limit_bytes: None,
            device_memory_limit_bytes: None,
            one_rank_of: None,
            options: options.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Options>(),
        };
        OnnxModel::load(OnnxRuntimeLibrary::load().unwrap(), &request, &World::alone(), &Reporter::silent())
            .unwrap()
    }

    fn rows(forward: &ForwardBinding) -> i64 {
        forward.logits.shape()[1]
    }

    #[test]
    fn kept_outputs_are_there_while_the_next_are_made() {
        let prompt = Prompt { batch_size: 2, length: 5, ids: vec![1; 10] };
        for keep in [false, true] {
            let mut model = model(keep);
            let mut cell = CellBuffers::new(&mut model, &prompt, 2, 1).unwrap();
            cell.reset(&model).unwrap();
            cell.prefill(&mut model).unwrap();
            let first = cell.prefill.logits.data_ptr();
            cell.reset(&model).unwrap();
            // The keys and values of the one layer.
            assert_eq!(cell.cache.kept(), if keep { 2 } else { 0 });
            cell.prefill(&mut model).unwrap();
            assert_eq!(cell.cache.kept(), 0);
            // Two that are there at once are in two places.
            assert_eq!(cell.prefill.logits.data_ptr() == first, !keep);
            assert_eq!(rows(&cell.prefill), 5);
            // Nothing is bound within the forward that is timed, and nothing holds former logits.
            assert_eq!(cell.prefill.selection.is_some(), !keep);
            cell.select(&mut model).unwrap();
            assert!(cell.prefill.selection.is_some());
            cell.decode(&mut model).unwrap();
            assert_eq!(cell.prefill.selection.is_some(), !keep);
            assert_eq!((rows(&cell.prefill), rows(&cell.decode)), (if keep { 0 } else { 5 }, 1));
        }
    }
}
