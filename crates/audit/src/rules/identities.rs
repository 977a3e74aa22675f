//! Checks two columns of a row against each other: a latency and its throughput.

use indexmap::IndexMap;
use results::{Column, Figure, ResultRow};

use super::{Rule, digits, percent, short};
use crate::checked_table::{CheckedTable, seconds};
use crate::{Finding, Severity};

/// The largest difference between a throughput and what its latency gives.
const TOLERANCE: f64 = 0.01;
/// The same tolerance where throughputs were computed from latencies.
const COMPUTED_TOLERANCE: f64 = 0.001;
/// Figures that agree within this share, by rounding alone, were computed from each other: two statistics of one series differ more.
const EXACT: f64 = 1e-5;
/// The fewest rows that show how an engine's throughputs were computed.
const FEWEST: usize = 3;
/// The least factor by which all rows of a batch size must be off, equally, to count as queued batches.
const QUEUED: f64 = 1.5;
/// The fewest significant digits with which a latency equals a throughput by no coincidence.
const DIGITS: f64 = 4.0;

pub(super) const THROUGHPUT: Rule = Rule {
    name: "throughput",
    about: "throughput × latency equals the tokens (B·P for the prompt, B for a token, B·(P + G) for the wall clock), within 1 % \
            and rounding. Where most of an engine's rows agree to six digits, its throughputs were computed from its latencies: \
            then the tolerance is 0.1 %, and a difference is impossible. Otherwise it is remarkable: the two may be different \
            statistics, or batches may be queued",
    measure: "× what its latency gives",
    check: throughput,
};

pub(super) const THROUGHPUT_AS_LATENCY: Rule = Rule {
    name: "throughput-as-latency",
    about: "no latency equals a throughput of its row digit for digit, unless it agrees with its own throughput",
    measure: "× what its throughput gives",
    check: |tables| super::each_row(tables, throughput_as_latency),
};

/// A column of times, and the throughputs beside it.
pub(super) const PAIRS: [(Column, Column); 5] = [
    (Column::PromptLatency, Column::PromptThroughput),
    (Column::First128Latency, Column::First128Throughput),
    (Column::First256Latency, Column::First256Throughput),
    (Column::TokenLatency, Column::TokenThroughput),
    (Column::WallLatency, Column::WallThroughput),
];

/// The least and the most tokens that a latency covers, as far as the row says it.
pub(super) fn tokens(row: &ResultRow<'_>, latency: Column) -> [f64; 2] {
    let [batch, prompt] = [row.size.batch_size, row.size.prompt_length].map(f64::from);
    match latency {
        Column::PromptLatency => [batch * prompt; 2],
        Column::WallLatency => {
            row.generation_length.range().map(|tokens| batch * (prompt + f64::from(tokens)))
        }
        _ => [batch; 2],
    }
}

/// `4 × (16 + 256)`.
fn formula(row: &ResultRow<'_>, latency: Column) -> String {
    let (batch, prompt) = (row.size.batch_size, row.size.prompt_length);
    match latency {
        Column::PromptLatency => format!("{batch} × {prompt}"),
        Column::WallLatency => format!("{batch} × ({prompt} + {})", row.generation_length),
        _ => batch.to_string(),
    }
}

/// Latency times throughput, within their rounding, and the tokens that it should equal.
struct Product {
    product: [f64; 2],
    tokens: [f64; 2],
    batch_size: f64,
}

impl Product {
    fn new(row: &ResultRow<'_>, (latency, throughput): (Column, Column)) -> Option<Self> {
        let (time, rate) = (seconds(row, latency)?, seconds(row, throughput)?);
        let product = [time.least() * rate.least(), time.most() * rate.most()];
        Some(Self { product, tokens: tokens(row, latency), batch_size: row.size.batch_size.into() })
    }

    /// Whether they agree within `share`.
    fn agrees(&self, share: f64) -> bool {
        self.product[1] >= self.tokens[0] * (1.0 - share) && self.product[0] <= self.tokens[1] * (1.0 + share)
    }

    /// The same product, if throughputs are of one sequence.
    fn of_one_sequence(&self) -> Self {
        Self { tokens: self.tokens.map(|tokens| tokens / self.batch_size), ..*self }
    }

    /// Whether one was computed from the other: they agree, and have digits enough to show it.
    fn is_exact(&self) -> bool {
        self.agrees(0.0) && self.product[1] - self.product[0] <= 2.0 * EXACT * self.tokens[0]
    }
}

/// How an engine's throughputs in a column derive from its latencies, as far as most rows show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Convention {
    /// They were computed from them.
    Computed,
    /// They agree with one sequence's share of the batch.
    OneSequence,
    /// They do not agree, or there are few.
    Unknown,
}

fn convention(products: &[&Product]) -> Convention {
    let count = products.len();
    match () {
        () if count < FEWEST => Convention::Unknown,
        () if products.iter().all(|product| product.of_one_sequence().agrees(TOLERANCE)) => {
            Convention::OneSequence
        }
        () if 2 * products.iter().filter(|product| product.is_exact()).count() > count => {
            Convention::Computed
        }
        () => Convention::Unknown,
    }
}

/// Whether the rows of a batch size are off by one factor, as they are when several batches overlap.
fn are_queued(products: &[&Product]) -> bool {
    let factors = products.iter().map(|product| {
        let [product, tokens] =
            [product.product, product.tokens].map(|[one, other]| f64::midpoint(one, other));
        product / tokens
    });
    let (least, most) = (factors.clone().fold(f64::INFINITY, f64::min), factors.fold(0.0, f64::max));
    products.len() > 1 && least >= QUEUED && most <= least * (1.0 + TOLERANCE)
}

fn throughput(tables: &[CheckedTable<'_>]) -> Vec<Finding> {
    let pairs = tables.iter().flat_map(|table| PAIRS.map(|pair| (table, pair)));
    pairs.flat_map(|(table, pair)| column_pair(table, pair)).collect()
}

/// The rows in which a throughput does not match its latency.
fn column_pair(table: &CheckedTable<'_>, pair: (Column, Column)) -> Vec<Finding> {
    let products = table.source.rows.iter().filter_map(|row| Some((row, Product::new(row, pair)?)));
    let products: Vec<(&ResultRow<'_>, Product)> = products.collect();
    let mut engines: IndexMap<&str, Vec<&Product>> = IndexMap::new();
    let mut batches: IndexMap<(&str, u32), Vec<&Product>> = IndexMap::new();
    for (row, product) in &products {
        engines.entry(row.engine).or_default().push(product);
        batches.entry((row.engine, row.size.batch_size)).or_default().push(product);
    }
    let conventions: IndexMap<&str, Convention> =
        engines.iter().map(|(engine, products)| (*engine, convention(products))).collect();
    let queued: IndexMap<(&str, u32), bool> =
        batches.iter().map(|(batch, products)| (*batch, are_queued(products))).collect();
    let off = |(row, product): &(&ResultRow<'_>, Product)| {
        let convention = match conventions[row.engine] {
            Convention::Computed if queued[&(row.engine, row.size.batch_size)] => Convention::Unknown,
            convention => convention,
        };
        let tolerance = if convention == Convention::Computed { COMPUTED_TOLERANCE } else { TOLERANCE };
        if product.agrees(tolerance) { None } else { off(table, row, pair, product, convention) }
    };
    products.iter().filter_map(off).collect()
}

fn off(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    (latency_column, column): (Column, Column),
    product: &Product,
    convention: Convention,
) -> Option<Finding> {
    let (latency, throughput) = (seconds(row, latency_column)?, seconds(row, column)?);
    // A latency that is printed as 0 was below the first digit that is not printed.
    let time = if latency.value > 0.0 { latency.value } else { latency.most() };
    let middle = f64::midpoint(product.tokens[0], product.tokens[1]);
    let expected = match latency_column {
        Column::WallLatency => {
            let [batch, prompt] = [row.size.batch_size, row.size.prompt_length].map(f64::from);
            batch * (prompt + f64::from(row.generation_length.tokens))
        }
        _ => middle,
    } / time;
    let times = throughput.value / expected;
    // The row's generation length may differ from what is assumed.
    let is_sure = convention == Convention::Computed
        && (latency_column != Column::WallLatency || row.generation_length.is_certain());
    let severity = if is_sure { Severity::Impossible } else { Severity::Remarkable };
    let why = match convention {
        _ if is_sure => "",
        Convention::OneSequence => ": this is one sequence's share of the batch, as in all rows",
        _ => ", if both come from the same runs and the same statistic",
    };
    let message = format!(
        "{} tps is {} {} than {} / {} {} = {} tps{why}",
        short(throughput.value),
        percent((times - 1.0).abs()),
        if times < 1.0 { "less" } else { "more" },
        formula(row, latency_column),
        short(latency.value / latency_column.seconds()),
        latency_column.unit(),
        short(expected),
    );
    let finding = table.figure_finding((severity, THROUGHPUT.name), row, column, expected, message);
    Some(Finding { times: Some(times), ..finding })
}

fn throughput_as_latency(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let throughputs = PAIRS.iter().filter_map(|(_, column)| Some((*column, row.figure(*column)?)));
    let throughputs: Vec<(Column, Figure)> =
        throughputs.filter(|(_, figure)| digits(*figure) >= DIGITS).collect();
    PAIRS.iter().find_map(|pair| {
        let latency = row.figure(pair.0)?;
        let (other, _) = throughputs.iter().find(|(_, figure)| figure.value == latency.value)?;
        let own = Product::new(row, *pair);
        if own.as_ref().is_some_and(|own| own.agrees(TOLERANCE)) {
            return None;
        }
        let expected = own.map(|own| own.tokens[1] / row.figure(pair.1).map_or(f64::NAN, |own| own.value));
        let expected = expected.map(|seconds| seconds / pair.0.seconds()).filter(|limit| limit.is_finite());
        let says =
            expected.map(|limit| format!("; its own throughput gives {} {}", short(limit), pair.0.unit()));
        let message = format!(
            "{} {} equals the row's {} digit for digit: a throughput in a column of latencies{}",
            row.text(pair.0),
            pair.0.unit(),
            other.header(),
            says.unwrap_or_default(),
        );
        let finding = table.row_finding(Severity::Impossible, THROUGHPUT_AS_LATENCY.name, row);
        Some(Finding {
            column: Some(pair.0.header()),
            figure: Some(latency.value),
            limit: expected,
            times: expected.map(|limit| latency.value / limit),
            message,
            ..finding
        })
    })
}
