//! A table prepared for the rules: its model's costs and its device's peaks.

use indexmap::{IndexMap, IndexSet};
use llama::{LlamaConfig, NAMED_MODELS, TensorParallel};
use protocol::{CellSize, Precision};
use results::hardware::{Hardware, Peaks};
use results::{Column, Figure, HeadingPrecision, ResultRow, ResultTable};

use crate::costs::Costs;
use crate::{Finding, NotChecked, Severity};

/// The largest share by which summing a series in another order moves a computed figure.
const FLOATING_POINT: f64 = 1e-9;

/// One precision for each number of bits that weights have.
const PRECISION_BY_BITS: [Precision; 3] = [Precision::Fp16, Precision::Int8, Precision::Int4];

/// A figure; times in seconds. A computed one gets an interval as a printed one has.
pub(crate) fn seconds(row: &ResultRow<'_>, column: Column) -> Option<Figure> {
    let figure = row.seconds(column)?;
    let exact = figure.half_width == 0.0;
    let half_width = if exact { figure.value * FLOATING_POINT } else { figure.half_width };
    Some(Figure { half_width, ..figure })
}

/// A table, with what is known about its model and device.
pub(crate) struct CheckedTable<'a> {
    pub(crate) source: &'a ResultTable<'a>,
    index: usize,
    /// Its rows by engine and size; the first of duplicates.
    pub(crate) cells: IndexMap<(&'a str, CellSize), &'a ResultRow<'a>>,
    pub(crate) costs: Option<Costs>,
    pub(crate) peaks: Peaks,
    /// What can't be checked, and why.
    blind: Vec<String>,
}

impl<'a> CheckedTable<'a> {
    /// Prepares the table at `index` of those that are audited.
    pub(crate) fn new(index: usize, source: &'a ResultTable<'a>, hardware: &Hardware) -> Self {
        let mut blind = Vec::new();
        let heading = known(source.heading.as_ref().map_err(ToString::to_string), &mut blind);
        let config = match source.config {
            Some(config) => Some(config.clone()),
            None => heading.and_then(|heading| known(named_config(&heading.model), &mut blind)),
        };
        // Rank 0 alone reads, computes and holds its part.
        let one_rank_of = heading.and_then(|heading| heading.one_rank_of);
        let first =
            |config| TensorParallel::first_of(&config, one_rank_of).map_err(|error| error.to_string());
        let config = config.and_then(|config| known(first(config), &mut blind));
        let peaks = heading.and_then(|heading| {
            let measured = source.measured_peaks.filter(|measured| !measured.is_empty());
            let measured = measured.map(|measured| Peaks::measured(measured, heading.precision));
            let peaks = hardware.peaks(heading);
            known(peaks.or_else(|why| measured.ok_or(why)), &mut blind)
        });
        let listed = peaks.iter().flat_map(|peaks| {
            let Peaks { bandwidth_bytes_per_second, flops, memory_bytes, is_measured, .. } = peaks;
            let memory = (!is_measured).then_some(("memory", memory_bytes));
            let rates =
                [("bandwidth", bandwidth_bytes_per_second), ("FLOP/s in the heading's precision", flops)];
            rates.into_iter().chain(memory)
        });
        let absent = listed.filter(|(_, peak)| peak.is_none());
        blind.extend(absent.map(|(what, _)| format!("the device's {what} is not known")));
        let costs = config
            .zip(heading)
            .map(|(config, heading)| Costs::new(config, heading.precision, source.config.is_some()));
        let peaks = peaks.unwrap_or_default();
        Self { source, index, cells: source.cells(), costs, peaks, blind }
    }

    /// The table as it would be with weights of 16, 8 and 4 bits, as far as these are fewer than its heading says: without cells. None
    /// of a run, whose precision is known.
    pub(crate) fn in_fewer_bits(&self) -> Vec<(u64, Self)> {
        let heading = self.source.heading.as_ref().ok().filter(|_| self.source.config.is_none());
        let Some((heading, costs)) = heading.zip(self.costs.as_ref()) else { return Vec::new() };
        let precisions = PRECISION_BY_BITS.map(HeadingPrecision::from).into_iter();
        let fewer = precisions.filter(|one| one.weight_bits() < heading.precision.weight_bits());
        let table = |precision: HeadingPrecision| Self {
            source: self.source,
            index: self.index,
            cells: IndexMap::new(),
            costs: Some(costs.in_precision(precision)),
            // Units for numbers of few bits may be faster, but not every program multiplies with them.
            peaks: self.peaks.clone(),
            blind: Vec::new(),
        };
        fewer.map(|precision| (precision.weight_bits(), table(precision))).collect()
    }

    /// The physical limits that could not be checked, and why.
    pub(crate) fn not_checked(&self) -> impl Iterator<Item = NotChecked> {
        self.blind.iter().map(|why| NotChecked {
            file: self.source.file.into(),
            line: self.source.line,
            table: self.source.title.to_string(),
            what: format!("physics: {why}"),
        })
    }

    /// The engines, in the order of their first rows.
    pub(crate) fn engines(&self) -> IndexSet<&'a str> {
        self.cells.keys().map(|(engine, _)| *engine).collect()
    }

    /// The rows of `engine`, each with that of the same cell in another table.
    pub(crate) fn common(&self, other: &Self, engine: &str) -> Vec<[&'a ResultRow<'a>; 2]> {
        let cells = self.cells.iter().filter(|((name, _), _)| *name == engine);
        cells.filter_map(|(cell, row)| Some([*row, *other.cells.get(cell)?])).collect()
    }

    /// Bytes that one device must read for a token, where model and device are known.
    pub(crate) fn bytes_a_device(&self) -> Option<f64> {
        Some(self.costs.as_ref()?.decode_read_bytes(1, 0) / self.count())
    }

    /// Devices that share the model.
    pub(crate) fn count(&self) -> f64 {
        self.source.heading.as_ref().map_or(1.0, |heading| f64::from(heading.count))
    }

    /// Seconds that all devices together take to read `bytes` at least; what their last caches keep is not read again.
    pub(crate) fn reading_seconds(&self, bytes: f64) -> Option<f64> {
        let peak = self.peaks.bandwidth_bytes_per_second.as_ref()?.value;
        Some(self.uncached(bytes) / (peak * self.count()))
    }

    /// The bytes that the last caches of all devices can't keep.
    pub(crate) fn uncached(&self, bytes: f64) -> f64 {
        (bytes - self.peaks.cache_bytes as f64 * self.count()).max(0.0)
    }

    /// Seconds that all devices together take for `flops` operations at least.
    pub(crate) fn computing_seconds(&self, flops: f64) -> Option<f64> {
        Some(flops / (self.peaks.flops.as_ref()?.value * self.count()))
    }

    /// The least seconds of a row's prompt and of one of its tokens for `batch` sequences at once; `None` where the model or a peak is
    /// not known.
    pub(crate) fn least_seconds(&self, row: &ResultRow<'_>, batch: u64) -> Option<[f64; 2]> {
        let costs = self.costs.as_ref()?;
        let prompt = u64::from(row.size.prompt_length);
        let step = |bytes, flops| Some(self.reading_seconds(bytes)?.max(self.computing_seconds(flops)?));
        let prompt_step = step(costs.decode_read_bytes(1, 0), costs.forward_flops(batch, prompt, 0))?;
        let token_step = step(costs.decode_read_bytes(batch, prompt), costs.forward_flops(batch, 1, prompt))?;
        Some([prompt_step, token_step])
    }

    /// How certainly a figure beyond the device's peaks is wrong: a run may have measured its own peaks too low.
    pub(crate) fn beyond_peak(&self) -> Severity {
        if self.peaks.is_measured { Severity::Remarkable } else { Severity::Impossible }
    }

    /// A finding about the table, or about an engine in it.
    pub(crate) fn finding(&self, severity: Severity, rule: &'static str, engine: Option<&str>) -> Finding {
        Finding {
            table_index: self.index,
            severity,
            rule,
            file: self.source.file.into(),
            line: self.source.line,
            table: self.source.title.to_string(),
            engine: engine.map(str::to_owned),
            batch_size: None,
            prompt_length: None,
            column: None,
            figure: None,
            limit: None,
            times: None,
            message: String::new(),
        }
    }

    /// A finding about a row.
    pub(crate) fn row_finding(&self, severity: Severity, rule: &'static str, row: &ResultRow<'_>) -> Finding {
        Finding {
            line: row.line,
            batch_size: Some(row.size.batch_size),
            prompt_length: Some(row.size.prompt_length),
            ..self.finding(severity, rule, Some(row.engine))
        }
    }

    /// A finding about a figure, `limit` in the column's unit.
    pub(crate) fn figure_finding(
        &self,
        (severity, rule): (Severity, &'static str),
        row: &ResultRow<'_>,
        column: Column,
        limit: f64,
        message: String,
    ) -> Finding {
        let figure = row.seconds(column).map(|figure| figure.value / column.seconds());
        let finding = self.row_finding(severity, rule, row);
        Finding { column: Some(column.header()), figure, limit: Some(limit), message, ..finding }
    }
}

/// The value, or a note of why there is none.
fn known<T>(found: Result<T, String>, blind: &mut Vec<String>) -> Option<T> {
    found.map_err(|why| blind.push(why)).ok()
}

/// The config of the model `name`, or an error that names those that there are.
fn named_config(name: &str) -> Result<LlamaConfig, String> {
    let Some((_, text)) = NAMED_MODELS.iter().find(|(known, _)| *known == name) else {
        let names = NAMED_MODELS.map(|(name, _)| name).join(", ");
        return Err(format!("unknown model \"{name}\": expected one of {names}"));
    };
    LlamaConfig::parse(text, name).map_err(|error| error.to_string())
}
