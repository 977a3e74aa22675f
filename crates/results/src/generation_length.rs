//! How many tokens the wall-clock columns of a published table count.
//!
//! Few tables say it. `throughput · latency = B · (P + G)` does, as exactly as its figures are printed.

use std::collections::BTreeSet;
use std::fmt;

use indexmap::IndexMap;

use crate::{Column, ResultRow};

/// The generation length of the published tables.
const PUBLISHED: u32 = 256;
/// The longest that is inferred.
const LONGEST: f64 = (1 << 20) as f64;
/// Where no whole number fits the printed digits, throughputs may be means of their own: they are taken for within this share.
const MEANS_DIFFER: f64 = 0.02;
/// A text that is printed and read again loses less than this share of a product.
const FLOATING_POINT: f64 = 1e-9;
/// A row's own whole number is no chance where its digits leave less than this share of a token open.
const BY_CHANCE: f64 = 0.02;
/// Whole numbers that somebody chooses are multiples of these, the first ones rather.
const ROUND: [u32; 14] = [256, 128, 100, 64, 50, 32, 20, 16, 10, 8, 5, 4, 2, 1];

/// How many tokens a row's generation has, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationLength {
    /// Decode forwards of a generation.
    pub tokens: u32,
    /// How that is known.
    pub basis: GenerationBasis,
}

/// How a generation length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationBasis {
    /// A run recorded it, or the user gave it.
    Stated,
    /// Most rows' wall-clock columns agree on this one whole number.
    Implied,
    /// They agree on a range, by how few digits or prompt lengths they have: from the first of these numbers to the second.
    Near(u32, u32),
    /// Most rows of the engine agree on it; the digits of this one say another number.
    Others,
    /// Nothing says it; the published tables' 256.
    Assumed,
}

impl GenerationLength {
    /// A length that was recorded or given.
    pub fn stated(tokens: u32) -> Self {
        Self { tokens, basis: GenerationBasis::Stated }
    }

    pub(crate) const ASSUMED: Self = Self { tokens: PUBLISHED, basis: GenerationBasis::Assumed };

    /// Whether anything says it.
    pub fn is_known(self) -> bool {
        self.basis != GenerationBasis::Assumed
    }

    /// Whether it can be no other number.
    pub fn is_certain(self) -> bool {
        matches!(self.basis, GenerationBasis::Stated | GenerationBasis::Implied)
    }

    /// The same, taken for less than certain.
    fn uncertain(self) -> Self {
        let [least, most] = self.range();
        Self { basis: GenerationBasis::Near(least, most), ..self }
    }

    /// The least and the most that it can be; an assumed one is taken at its word.
    pub fn range(self) -> [u32; 2] {
        match self.basis {
            GenerationBasis::Near(least, most) => [least, most],
            _ => [self.tokens; 2],
        }
    }
}

impl fmt::Display for GenerationLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.fmt(f)
    }
}

/// Gives each row of a published table the length that its engine's wall-clock columns imply; an engine whose rows say too little
/// gets what all rows imply.
pub(crate) fn infer(rows: &mut [ResultRow<'_>]) {
    let mut engines: IndexMap<&str, Vec<usize>> = IndexMap::new();
    for (index, row) in rows.iter().enumerate() {
        engines.entry(row.engine).or_default().push(index);
    }
    let lengths: Vec<(usize, GenerationLength)> = {
        let implied = |indices: &[usize], share: f64, counts_prompt: bool, least_rows: usize| {
            let allowed = |index: &usize| Allowed::new(&rows[*index], share, counts_prompt);
            implied(&indices.iter().filter_map(allowed).collect::<Vec<_>>(), least_rows)
        };
        let everything: Vec<usize> = (0..rows.len()).collect();
        let all = |share| implied(&everything, share, true, 1);
        let of_all = [all(FLOATING_POINT), all(MEANS_DIFFER).map(GenerationLength::uncertain)];
        let engine = |indices: &Vec<usize>| {
            let own = |share| implied(indices, share, true, 2);
            let [exact, loose] = of_all;
            let length = own(FLOATING_POINT).or(exact);
            // Where one number of tokens is behind all prompts: either the prompt is not counted, or it is a part of them.
            let without = || implied(indices, FLOATING_POINT, false, 2).filter(|length| length.is_certain());
            if let Some(GenerationLength { tokens, .. }) = length.is_none().then(without).flatten() {
                let of_row = |index: &usize| {
                    let least = tokens.saturating_sub(rows[*index].size.prompt_length).max(1);
                    let basis = GenerationBasis::Near(least, tokens);
                    (*index, GenerationLength { tokens, basis })
                };
                return indices.iter().map(of_row).collect::<Vec<_>>();
            }
            let length = length.or_else(|| own(MEANS_DIFFER).map(GenerationLength::uncertain)).or(loose);
            let length = length.unwrap_or(GenerationLength::ASSUMED);
            let of_row = |index: &usize| (*index, Allowed::own_or(&rows[*index], length));
            indices.iter().map(of_row).collect()
        };
        engines.values().flat_map(engine).collect()
    };
    for (index, length) in lengths {
        rows[index].generation_length = length;
    }
}

/// The whole numbers that a row allows; none where there are none.
struct Allowed {
    range: Option<[u32; 2]>,
    prompt_length: u32,
}

impl Allowed {
    /// What a row's wall-clock columns allow, each within its rounding and their product within `share`; `None` where it has not
    /// both.
    fn new(row: &ResultRow<'_>, share: f64, counts_prompt: bool) -> Option<Self> {
        let [least, most] = allowed(row, share, counts_prompt)?;
        let (least, most) = (least.ceil().max(1.0), most.floor());
        let range = (least <= most && most <= LONGEST).then(|| [least, most].map(|tokens| tokens as u32));
        Some(Self { range, prompt_length: row.size.prompt_length })
    }

    /// `length`, which the other rows agree on, unless the row's digits say another whole number: its own, where they are too exact to
    /// say it by chance.
    fn own_or(row: &ResultRow<'_>, length: GenerationLength) -> GenerationLength {
        let [from, to] = length.range();
        let own = Self::new(row, FLOATING_POINT, true).and_then(|allowed| allowed.range);
        let Some([least, most]) =
            own.filter(|[least, most]| length.is_known() && (*most < from || *least > to))
        else {
            return length;
        };
        let is_exact =
            allowed(row, FLOATING_POINT, true).is_some_and(|[least, most]| most - least < BY_CHANCE);
        if is_exact && least == most {
            GenerationLength { tokens: least, basis: GenerationBasis::Near(least, least) }
        } else {
            GenerationLength { basis: GenerationBasis::Others, ..length }
        }
    }
}

/// The least and the most tokens that a row's wall-clock columns allow.
fn allowed(row: &ResultRow<'_>, share: f64, counts_prompt: bool) -> Option<[f64; 2]> {
    let (latency, throughput) = (row.figure(Column::WallLatency)?, row.figure(Column::WallThroughput)?);
    let [batch, prompt] = [row.size.batch_size, row.size.prompt_length].map(f64::from);
    let prompt = if counts_prompt { prompt } else { 0.0 };
    let least = latency.least() * throughput.least() / batch * (1.0 - share) - prompt;
    let most = latency.most() * throughput.most() / batch * (1.0 + share) - prompt;
    Some([least, most])
}

/// The numbers that most rows agree on, of at least `least_rows`. Rows of one prompt length alone can't tell a generation from a part
/// of it, or from batches that were queued: that is not certain.
fn implied(rows: &[Allowed], least_rows: usize) -> Option<GenerationLength> {
    let ranges = || rows.iter().filter_map(|row| Some((row.range?, row.prompt_length)));
    let [mut starts, mut ends] = [0, 1].map(|end| ranges().map(|(range, _)| range[end]).collect::<Vec<_>>());
    starts.sort_unstable();
    ends.sort_unstable();
    let agreeing = |tokens: u32| {
        starts.partition_point(|least| *least <= tokens) - ends.partition_point(|most| *most < tokens)
    };
    // The most ranges meet where one of them begins.
    let best = starts.iter().copied().max_by_key(|least| agreeing(*least))?;
    if agreeing(best) < least_rows || 2 * agreeing(best) <= rows.len() {
        return None;
    }
    let agreed = || ranges().filter(|([least, most], _)| (*least..=*most).contains(&best));
    let least = agreed().map(|([least, _], _)| least).max()?;
    let most = agreed().map(|([_, most], _)| most).min()?;
    let prompts: BTreeSet<u32> = agreed().map(|(_, prompt)| prompt).collect();
    let is_certain = least == most && prompts.len() > 1;
    let basis = if is_certain { GenerationBasis::Implied } else { GenerationBasis::Near(least, most) };
    Some(GenerationLength { tokens: roundest(least, most), basis })
}

/// The roundest whole number in a range; of equally round ones that in its middle.
fn roundest(least: u32, most: u32) -> u32 {
    let middle = least + (most - least) / 2;
    let nearest = |step: u32| {
        let (below, above) = (middle / step * step, middle.div_ceil(step).saturating_mul(step));
        let inside =
            [below, above].into_iter().filter(|tokens| (least..=most).contains(tokens) && *tokens > 0);
        inside.min_by_key(|tokens| tokens.abs_diff(middle))
    };
    ROUND.into_iter().find_map(nearest).unwrap_or(middle)
}

#[cfg(test)]
mod tests {
    use GenerationBasis::{Assumed, Implied, Near, Others};

    use super::*;
    use crate::ResultTable;
    use crate::published::{layout, markdown};

    /// The lengths of rows of an engine each, given by batch size, prompt length, wall clock and throughput.
    fn lengths(rows: &[(&str, u32, u32, &str, &str)]) -> Vec<(u32, GenerationBasis)> {
        let row = |(engine, batch, prompt, wall, throughput): &(&str, u32, u32, &str, &str)| {
            format!("| {engine} | {batch} | {prompt} | | | | | | | {wall} | {throughput} |\n")
        };
        let rows: String = rows.iter().map(row).collect();
        let text = format!("# T\n{}\n{}\n{rows}", layout::header(), layout::SEPARATOR);
        let document = markdown::parse(&text, "a.md").unwrap();
        let table = ResultTable::published("a.md", document.tables().next().unwrap());
        table.rows.iter().map(|row| (row.generation_length.tokens, row.generation_length.basis)).collect()
    }

    #[test]
    fn most_rows_of_an_engine_say_how_long_a_generation_is() {
        let a = [("a", 1, 16, "2.500000", "211.2000"), ("a", 4, 64, "2.500000", "921.6000")];
        let b = [("b", 1, 16, "1.000000", "48.00000"), ("b", 1, 64, "1.000000", "96.00000")];
        let found = lengths(&[a, b].concat());
        assert_eq!(found, [(512, Implied), (512, Implied), (32, Implied), (32, Implied)]);
        // One row of an engine says too little; those of the others speak for it.
        assert_eq!(lengths(&[&a[..], &[("b", 1, 16, "1.01", "523")]].concat())[2], (512, Implied));
    }

    #[test]
    fn few_digits_and_one_prompt_length_leave_it_open() {
        let found = lengths(&[("a", 1, 128, "0.321", "499"), ("a", 4, 128, "0.353", "1.81e+03")]);
        assert!(matches!(found[0], (32, Near(30..=32, 32..=34))), "{found:?}");
        // Two batches at once have the throughput of a longer generation.
        let found = lengths(&[("a", 1, 128, "2.560000", "300.0000"), ("a", 4, 128, "5.120000", "600.0000")]);
        assert_eq!(found, [(640, Near(640, 640)); 2]);
        assert_eq!(lengths(&[("a", 1, 128, "2.5", "")]), [(256, Assumed)]);
    }

    #[test]
    fn throughputs_of_generated_tokens_alone_are_told_by_their_prompts() {
        let row = |prompt, wall, throughput| ("a", 1, prompt, wall, throughput);
        let rows = [
            row(16, "2.500000", "102.4000"),
            row(64, "2.560000", "100.0000"),
            row(300, "3.200000", "80.00000"),
        ];
        assert_eq!(lengths(&rows), [(256, Near(240, 256)), (256, Near(192, 256)), (256, Near(1, 256))]);
    }

    #[test]
    fn a_row_with_another_whole_number_has_its_own() {
        let others = [("a", 1, 16, "2.500000", "108.8000"), ("a", 1, 64, "2.500000", "128.0000")];
        let with = |throughput| lengths(&[&others[..], &[("a", 1, 256, "2.500000", throughput)]].concat())[2];
        assert_eq!(with("153.6000"), (128, Near(128, 128)));
        assert_eq!(with("153.7000"), (256, Implied));
        // Of four digits it may be by chance.
        assert_eq!(with("153.6"), (256, Others));
    }

    #[test]
    fn people_choose_round_numbers() {
        assert_eq!(roundest(509, 515), 512);
        assert_eq!(roundest(190, 215), 200);
        assert_eq!(roundest(30, 34), 32);
        assert_eq!(roundest(37, 37), 37);
        assert_eq!(roundest(241, 700), 512);
        assert_eq!(roundest(1, 2), 2);
    }
}
