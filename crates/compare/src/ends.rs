//! Cells of which replicates failed: how often, on either side.

use std::collections::BTreeMap;

use protocol::FailureKind;
use results::ResultRow;
use stats::{FAMILY_LEVEL, Verdict, fisher};

/// How the replicates of a cell ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ends {
    all: usize,
    failed: BTreeMap<&'static str, usize>,
    /// That of the first that failed.
    kind: Option<FailureKind>,
}

impl Ends {
    /// Those of a row; a published one counts as a single replicate.
    pub(crate) fn new(row: &ResultRow<'_>) -> Self {
        let mut failed = BTreeMap::new();
        let kinds = row.replicates.iter().filter_map(|record| Some(record.failure()?.kind));
        let kinds: Vec<FailureKind> =
            if row.replicates.is_empty() { row.ended().into_iter().collect() } else { kinds.collect() };
        for kind in &kinds {
            *failed.entry(kind.table_word()).or_default() += 1;
        }
        Self { all: row.replicates.len().max(1), failed, kind: kinds.first().copied() }
    }

    fn count(&self) -> usize {
        self.failed.values().sum()
    }

    fn none_is_left(&self) -> bool {
        self.count() == self.all
    }

    /// `ok`, `OOM`, `9 of 10 ok, 1 TIMEOUT`.
    pub(crate) fn words(&self) -> String {
        match (self.count(), self.kind) {
            (0, _) => "ok".into(),
            (_, Some(kind)) if self.none_is_left() => kind.table_word().into(),
            (failed, _) => {
                let kinds: Vec<String> =
                    self.failed.iter().map(|(word, count)| format!("{count} {word}")).collect();
                format!("{} of {} ok, {}", self.all - failed, self.all, kinds.join(", "))
            }
        }
    }
}

/// What is said of how a cell ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum EndVerdict {
    /// A side was not measured at all.
    Plain(Verdict),
    /// Replicates failed and others did not: the p-value of equal rates, the verdict if that is small, and if it is not.
    Tested(f64, Verdict, Option<Verdict>),
}

impl EndVerdict {
    /// `None` where no replicate failed.
    pub(crate) fn new(baseline: &Ends, candidate: &Ends) -> Option<Self> {
        if baseline.count() + candidate.count() == 0 {
            return None;
        }
        let out_of_memory = |ends: &Ends| ends.kind == Some(FailureKind::OutOfMemory);
        Some(match (baseline.none_is_left(), candidate.none_is_left()) {
            (false, true) if baseline.count() == 0 => Self::Plain(Verdict::Regressed),
            (true, false) if candidate.count() == 0 => Self::Plain(Verdict::Improved),
            (true, true) if out_of_memory(baseline) && out_of_memory(candidate) => {
                Self::Plain(Verdict::Unchanged)
            }
            (true, true) => Self::Plain(Verdict::Inconclusive),
            (baseline_is_gone, candidate_is_gone) => {
                let p = fisher([(baseline.count(), baseline.all), (candidate.count(), candidate.all)]);
                let more = candidate.count() * baseline.all > baseline.count() * candidate.all;
                // Without figures to compare, the cell must not be passed over.
                let otherwise = (baseline_is_gone || candidate_is_gone).then_some(Verdict::Inconclusive);
                Self::Tested(p, if more { Verdict::Regressed } else { Verdict::Improved }, otherwise)
            }
        })
    }

    /// The verdict, with its p-value adjusted for all tests of cells; `None` where rates do not differ beyond chance.
    pub(crate) fn verdict(self, adjusted_p: Option<f64>) -> Option<Verdict> {
        match self {
            Self::Plain(verdict) => Some(verdict),
            Self::Tested(_, verdict, _) if adjusted_p.is_some_and(|p| p <= FAMILY_LEVEL) => Some(verdict),
            Self::Tested(_, _, otherwise) => otherwise,
        }
    }

    pub(crate) fn p(self) -> Option<f64> {
        match self {
            Self::Plain(_) => None,
            Self::Tested(p, ..) => Some(p),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(all: usize, failed: &[(FailureKind, usize)]) -> Ends {
        Ends {
            all,
            failed: failed.iter().map(|(kind, count)| (kind.table_word(), *count)).collect(),
            kind: failed.first().map(|(kind, _)| *kind),
        }
    }

    fn verdict(baseline: &Ends, candidate: &Ends) -> Option<Verdict> {
        let verdict = EndVerdict::new(baseline, candidate)?;
        verdict.verdict(verdict.p())
    }

    #[test]
    fn one_flake_of_ten_is_told_and_decides_nothing() {
        let (all, nine) = (ends(10, &[]), ends(10, &[(FailureKind::TimedOut, 1)]));
        assert_eq!(EndVerdict::new(&all, &all), None);
        for (one, other) in [(&all, &nine), (&nine, &all), (&nine, &nine)] {
            assert!(EndVerdict::new(one, other).is_some());
            assert_eq!(verdict(one, other), None);
        }
        assert_eq!(nine.words(), "9 of 10 ok, 1 TIMEOUT");
    }

    #[test]
    fn most_of_ten_is_a_change_and_so_is_a_cell_that_is_gone() {
        let (all, two) = (ends(10, &[]), ends(10, &[(FailureKind::Crashed, 5), (FailureKind::TimedOut, 3)]));
        assert_eq!(two.words(), "2 of 10 ok, 5 CRASHED, 3 TIMEOUT");
        assert_eq!(
            (verdict(&all, &two), verdict(&two, &all)),
            (Some(Verdict::Regressed), Some(Verdict::Improved))
        );
        let (one, oom) = (ends(1, &[]), ends(1, &[(FailureKind::OutOfMemory, 1)]));
        assert_eq!(
            (verdict(&one, &oom), verdict(&oom, &one)),
            (Some(Verdict::Regressed), Some(Verdict::Improved))
        );
        assert_eq!(verdict(&oom, &oom), Some(Verdict::Unchanged));
        let (flaky, gone) = (ends(2, &[(FailureKind::Crashed, 1)]), ends(2, &[(FailureKind::Crashed, 2)]));
        assert_eq!(verdict(&flaky, &gone), Some(Verdict::Inconclusive), "there are no figures to compare");
    }
}
