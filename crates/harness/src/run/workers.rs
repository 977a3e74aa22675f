//! A variant's workers: one at a time or, where engines take turns, one for each engine.

use std::collections::BTreeMap;
use std::rc::Rc;

use machine::MemoryReader;
use machine::gpu::GpuWatch;

use crate::run::time_breakdown::TimeBreakdown;
use crate::run::worker_slot::WorkerSlot;
use crate::{Event, Isolation};

/// The slots of a variant, by engine where engines take turns.
pub(crate) struct Workers {
    isolation: Isolation,
    gpu: Option<GpuWatch>,
    reader: Option<Rc<MemoryReader>>,
    slots: BTreeMap<String, WorkerSlot>,
}

impl Workers {
    /// Creates empty slots for workers on this GPU, if any.
    pub(crate) fn new(isolation: Isolation, gpu: Option<GpuWatch>) -> Self {
        Self { isolation, gpu, reader: None, slots: BTreeMap::new() }
    }

    /// Sets the reader that measures memory bandwidth before and after each cell.
    pub(crate) fn read_memory_with(&mut self, reader: Option<Rc<MemoryReader>>) {
        self.reader = reader;
    }

    /// The slot in which `engine` is measured.
    pub(crate) fn slot(&mut self, engine: &str) -> &mut WorkerSlot {
        let key = if self.isolation == Isolation::Turn { engine } else { "" };
        let new = || WorkerSlot::new(self.gpu.clone(), self.reader.clone());
        self.slots.entry(key.to_owned()).or_insert_with(new)
    }

    /// Number of loaded workers.
    pub(crate) fn loaded(&self) -> usize {
        self.slots.values().filter(|slot| slot.loaded_engine().is_some()).count()
    }

    /// Ends the workers for which `keep`, given engine and model, is false.
    pub(crate) fn stop_unless(
        &mut self,
        keep: impl Fn(&str, &str) -> bool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        for slot in self.slots.values_mut() {
            if slot.loaded_engine().is_some_and(|(engine, model)| !keep(engine, model)) {
                slot.stop(on_event);
            }
        }
    }

    /// Where the time of the workers' cells went.
    pub(crate) fn time(&self) -> TimeBreakdown {
        self.slots.values().fold(TimeBreakdown::default(), |mut all, slot| {
            all += slot.time;
            all
        })
    }
}
