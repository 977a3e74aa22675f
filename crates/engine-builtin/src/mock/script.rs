//! The mock's script: its options in the sweep.

use anyhow::{Context, Result};
use protocol::Options;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// The options, with their defaults.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    /// Latency of a prefill, for each token of the batch's prompts.
    pub(crate) prompt_microseconds_per_token: f64,
    /// Latency of a decode forward of one sequence.
    pub(crate) token_microseconds: f64,
    /// What each further sequence adds to it, as a share.
    pub(crate) batch_slope: f64,
    /// Every latency times this.
    pub(crate) slowdown: f64,
    /// Spread of the latencies, as a share.
    pub(crate) noise: f64,
    /// Sleep for the latencies; without it they pass on a virtual clock, at once.
    pub(crate) real_time: bool,
    /// Bytes to allocate in a cell, for each position of each sequence.
    pub(crate) bytes_per_position: u64,
    /// Choose other tokens than the other engines.
    pub(crate) wrong_tokens: bool,
    /// Set the clock back in every decode forward.
    pub(crate) clock_jumps: bool,
    /// The share of each latency that a clock of the device sees; without it there is no such clock.
    pub(crate) device_share: Option<f64>,
    /// Claim that memory is read at 500 GB/s, and that matrices are multiplied at 5 TFLOP/s, 4 of them sustained.
    pub(crate) peaks: bool,
    /// Notes to say about how the model was built.
    pub(crate) notes: Vec<String>,
    /// The fault to cause, and where.
    pub(crate) fault: Option<Fault>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            prompt_microseconds_per_token: 20.0,
            token_microseconds: 1000.0,
            batch_slope: 0.05,
            slowdown: 1.0,
            noise: 0.01,
            real_time: false,
            bytes_per_position: 0,
            wrong_tokens: false,
            clock_jumps: false,
            device_share: None,
            peaks: false,
            notes: Vec::new(),
            fault: None,
        }
    }
}

impl Script {
    /// The names of the options.
    pub(crate) fn names() -> Vec<String> {
        let script = serde_json::to_value(Self::default()).unwrap_or_default();
        script.as_object().map(|options| options.keys().cloned().collect()).unwrap_or_default()
    }

    /// Reads the options of a load request.
    pub(crate) fn read(options: &Options) -> Result<Self> {
        let object = options.clone().into_iter().collect();
        serde_json::from_value(serde_json::Value::Object(object)).context("option of the mock engine")
    }
}
