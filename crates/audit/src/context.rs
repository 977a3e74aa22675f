//! A table prepared for the rules: its heading read, its figures as numbers in seconds.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use llama::{LlamaConfig, TensorParallel, cost};
use protocol::Precision;
use results::COLUMNS;
use results::published::{Heading, Number, PublishedRow, Value};

use crate::{AuditedTable, Ceilings, Finding, Hardware, NotChecked, Severity};

/// The documents' figures, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    PromptLatency,
    PromptThroughput,
    First128Latency,
    First128Throughput,
    First256Latency,
    First256Throughput,
    WallLatency,
    WallThroughput,
}

impl Column {
    /// The four that are times.
    pub(crate) const LATENCIES: [Self; 4] =
        [Self::PromptLatency, Self::First128Latency, Self::First256Latency, Self::WallLatency];

    pub(crate) fn header(self) -> &'static str {
        COLUMNS[3 + self as usize]
    }

    /// The column's unit in seconds, for times; 1 for throughputs.
    pub(crate) fn seconds(self) -> f64 {
        match self {
            Self::PromptLatency | Self::First128Latency | Self::First256Latency => 1e-3,
            _ => 1.0,
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::PromptLatency | Self::First128Latency | Self::First256Latency => "ms",
            Self::WallLatency => "s",
            _ => "tps",
        }
    }
}

/// A row with figures.
pub(crate) struct Row<'a> {
    pub(crate) source: &'a PublishedRow,
    pub(crate) values: [Value; 8],
}

impl Row<'_> {
    /// A figure; times in seconds.
    pub(crate) fn number(&self, column: Column) -> Option<Number> {
        let Value::Number(Number { value, half_width }) = self.values[column as usize] else { return None };
        let unit = column.seconds();
        Some(Number { value: value * unit, half_width: half_width * unit })
    }

    pub(crate) fn batch_size(&self) -> u64 {
        self.source.batch_size.into()
    }

    pub(crate) fn prompt_length(&self) -> u64 {
        self.source.prompt_length.into()
    }

    /// The mean of a token: over the first 256 where there is one, else over the first 128.
    pub(crate) fn token(&self) -> Option<(Column, Number)> {
        let columns = [Column::First256Latency, Column::First128Latency];
        columns.into_iter().find_map(|column| Some((column, self.number(column)?)))
    }

    /// Engine, batch size, prompt length.
    pub(crate) fn cell(&self) -> (&str, u32, u32) {
        (&self.source.engine, self.source.batch_size, self.source.prompt_length)
    }
}

/// What the model costs, exactly (`llama::cost`), without counting its weights anew for every row.
pub(crate) struct Costs {
    config: LlamaConfig,
    precision: Precision,
    /// Bytes of all weights.
    weights: f64,
    /// Bytes that a forward reads whatever the batch, and more for each sequence.
    read: [f64; 2],
    /// Operations of one sequence by its new and past tokens.
    flops: RefCell<HashMap<[u64; 2], f64>>,
}

impl Costs {
    fn new(config: LlamaConfig, precision: Precision) -> Self {
        let read = [0, 1].map(|batch| cost::decode_read_bytes(&config, precision, batch, 0) as f64);
        Self {
            weights: cost::weights_bytes(&config, precision) as f64,
            read: [read[0], read[1] - read[0]],
            flops: RefCell::default(),
            config,
            precision,
        }
    }

    /// Bytes that a decode forward reads after `past` tokens.
    pub(crate) fn decode_read_bytes(&self, batch_size: u64, past: u64) -> f64 {
        self.read[0] + self.read[1] * batch_size as f64 + self.cache(batch_size, past)
    }

    /// Floating-point operations of a forward, the head on one position a sequence.
    pub(crate) fn forward_flops(&self, batch_size: u64, new: u64, past: u64) -> f64 {
        let mut flops = self.flops.borrow_mut();
        let one =
            flops.entry([new, past]).or_insert_with(|| cost::forward_flops(&self.config, 1, new, past, 1));
        *one * batch_size as f64
    }

    /// Bytes of weights and of a KV cache of `tokens` a sequence.
    pub(crate) fn memory_bytes(&self, batch_size: u64, tokens: u64) -> f64 {
        self.weights + self.cache(batch_size, tokens)
    }

    pub(crate) fn vocabulary(&self) -> f64 {
        self.config.vocab_size as f64
    }

    fn cache(&self, batch_size: u64, tokens: u64) -> f64 {
        cost::kv_cache_bytes(&self.config, self.precision, batch_size, tokens) as f64
    }
}

/// A table, and what is known of what it was measured on.
pub(crate) struct Table<'a> {
    pub(crate) file: &'a str,
    pub(crate) heading: &'a str,
    pub(crate) line: usize,
    pub(crate) rows: Vec<Row<'a>>,
    pub(crate) lists_rows: bool,
    pub(crate) generation_length: u64,
    pub(crate) parts: Option<Heading>,
    pub(crate) costs: Option<Costs>,
    pub(crate) ceilings: Ceilings,
    /// What can't be checked, and why.
    blind: Vec<String>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(audited: &'a AuditedTable, hardware: &Hardware) -> Self {
        let AuditedTable { file, table, .. } = audited;
        let rows = table.rows.iter().map(|source| {
            let values = source.cells.each_ref().map(results::published::Cell::value);
            Row { source, values }
        });
        let rows: Vec<Row<'a>> = rows.collect();
        let mut blind = Vec::new();
        let parts = known(Heading::parse(&table.heading).map_err(|error| error.to_string()), &mut blind);
        let of_model = |parts: &Heading| known(crate::models::config(&parts.model), &mut blind);
        let config = audited.config.clone().or_else(|| parts.as_ref().and_then(of_model));
        // Of one rank alone its part is what is read, computed and held.
        let one_rank_of = parts.as_ref().and_then(|parts| parts.one_rank_of);
        let first = |config: LlamaConfig| TensorParallel::first_of(&config, one_rank_of);
        let config =
            config.and_then(|config| known(first(config).map_err(|error| error.to_string()), &mut blind));
        let of_device = |parts: &Heading| known(hardware.ceilings(parts), &mut blind);
        let ceilings = audited.ceilings.clone().or_else(|| parts.as_ref().and_then(of_device));
        let peaks = ceilings.iter().flat_map(|ceilings| {
            let Ceilings { bandwidth_bytes_per_second, flops, memory_bytes, .. } = ceilings;
            [("bandwidth", bandwidth_bytes_per_second), ("FLOP/s", flops), ("memory", memory_bytes)]
        });
        let absent = peaks.filter(|(_, peak)| peak.is_none());
        blind.extend(absent.map(|(what, _)| format!("the device's {what} in this precision is not known")));
        Self {
            file,
            heading: &table.heading,
            line: table.line,
            generation_length: audited.generation_length.map_or_else(|| generation_length(&rows), u64::from),
            rows,
            lists_rows: audited.lists_rows,
            costs: config.zip(parts.as_ref()).map(|(config, parts)| Costs::new(config, parts.precision)),
            ceilings: ceilings.unwrap_or_default(),
            parts,
            blind,
        }
    }

    /// What of physics could not be checked, and why.
    pub(crate) fn not_checked(&self) -> impl Iterator<Item = NotChecked> {
        self.blind.iter().map(|why| NotChecked {
            file: self.file.into(),
            line: self.line,
            table: self.heading.into(),
            what: format!("physics: {why}"),
        })
    }

    /// Devices that share the model.
    pub(crate) fn count(&self) -> f64 {
        self.parts.as_ref().map_or(1.0, |parts| f64::from(parts.count))
    }

    /// A finding about the table, or about an engine in it.
    pub(crate) fn finding(&self, severity: Severity, rule: &'static str, engine: Option<&str>) -> Finding {
        Finding {
            severity,
            rule,
            file: self.file.into(),
            line: self.line,
            table: self.heading.into(),
            engine: engine.map(str::to_owned),
            batch_size: None,
            prompt_length: None,
            column: None,
            figure: None,
            limit: None,
            message: String::new(),
        }
    }

    /// A finding about a row.
    pub(crate) fn row_finding(&self, severity: Severity, rule: &'static str, row: &Row<'_>) -> Finding {
        Finding {
            line: row.source.line,
            batch_size: Some(row.source.batch_size),
            prompt_length: Some(row.source.prompt_length),
            ..self.finding(severity, rule, Some(&row.source.engine))
        }
    }

    /// A finding about a figure, `limit` in the column's unit.
    pub(crate) fn figure_finding(
        &self,
        (severity, rule): (Severity, &'static str),
        row: &Row<'_>,
        column: Column,
        limit: f64,
        message: String,
    ) -> Finding {
        let figure = row.number(column).map(|number| number.value / column.seconds());
        let finding = self.row_finding(severity, rule, row);
        Finding { column: Some(column.header()), figure, limit: Some(limit), message, ..finding }
    }

    /// The engines, in the order of their first rows.
    pub(crate) fn engines(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.rows.iter().map(|row| row.cell().0).filter(|engine| seen.insert(*engine)).collect()
    }
}

/// What was found, or a note of why it was not.
fn known<T>(found: Result<T, String>, blind: &mut Vec<String>) -> Option<T> {
    found.map_err(|why| blind.push(why)).ok()
}

/// The documents' generation length.
const GENERATION_LENGTH: u64 = 256;

/// The generation length that the wall-clock columns were computed with: throughput · latency = B · (P + G). 256, unless
/// most rows, of at least two prompt lengths, agree on another whole number.
fn generation_length(rows: &[Row<'_>]) -> u64 {
    let implied = rows.iter().filter_map(|row| {
        let product = row.number(Column::WallLatency)?.value * row.number(Column::WallThroughput)?.value;
        let implied = product / f64::from(row.source.batch_size) - f64::from(row.source.prompt_length);
        // Far below a token: what ten printed digits leave of P + G.
        let whole = implied.round();
        let agrees = (implied - whole).abs() < 0.01 && whole >= 1.0 && whole <= f64::from(u32::MAX);
        Some((agrees.then_some(whole as u64), row.source.prompt_length))
    });
    let implied: Vec<(Option<u64>, u32)> = implied.collect();
    let mut lengths: Vec<u64> = implied.iter().filter_map(|(length, _)| *length).collect();
    lengths.sort_unstable();
    let Some(&median) = lengths.get(lengths.len() / 2) else { return GENERATION_LENGTH };
    let agreeing = implied.iter().filter(|(length, _)| *length == Some(median));
    let prompts: BTreeSet<u32> = agreeing.clone().map(|(_, prompt)| *prompt).collect();
    let most = 2 * agreeing.count() > implied.len();
    if most && prompts.len() > 1 { median } else { GENERATION_LENGTH }
}
