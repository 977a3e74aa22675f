//! Statistics of measurements: summaries of series, the comparison of two sides, verdicts, drift. Pure functions of numbers.
//!
//! - [`Replicates`]: what one side's replicates measured, the unit of replication; their geometric mean over cells.
//! - [`Estimate`]: the ratio of two sides of one line, its interval and p-value: of pairs, of two separate sides, of published figures.
//! - [`PooledVariance`]: the variance between replicates, pooled over a metric's cells; [`Covariate`]: what explains a part of it.
//! - [`judge`]: a [`Verdict`] for each line of a comparison; the chance of any false alarm is bounded. [`fisher`]: rates.
//! - [`Trend`], [`changes()`]: drift from replicate to replicate, and inside one.
//! - [`shifts()`]: lasting changes of level over a history of runs.
//! - [`Until`], [`MeanInterval`]: when a mean is known well enough to stop measuring, and how well it is known then.
//!
//! # What it promises, measured
//!
//! Simulations on made-up measurements with known truth. Quick versions are tests; these commands print the tables:
//!
//! ```text
//! SIMULATE=long cargo test --release -p stats --test simulation -- --nocapture --test-threads 1
//! cargo run --release -p stats --example speed
//! ```
//!
//! **Comparisons** (intervals, false alarms, power): docs/concepts/statistics-checks.md has the tables. Where variances are not pooled, five
//! replicates that are fast or slow by luck (two modes, three in ten slow) can be all of one kind, and then nothing in them shows it:
//! 8.8 % of comparisons of 216 lines alarmed at threshold 0. Pooled over 18 cells none of 10,000 does at 5 %. Not chosen were
//! bootstraps over replicates: a handful underrates their spread (85.8 % of percentile intervals of three held the truth, 90.5 % of
//! five, 93.2 % of ten; measured at revision 8216bf3, with the program that was deleted since).
//!
//! **Drift between replicates**: sides called adrift by more than 2 %, one cell / the geometric mean of 54 cells:
//!
//! | replicates | no drift | 5 % from first to last | 10 % |
//! |---|---|---|---|
//! | 5 | 1.1 % / 0 % | 4.6 % / 99.5 % | 15.7 % / 100 % |
//! | 10 | 1.1 % / 0 % | 15.4 % / 100 % | 65.1 % / 100 % |
//! | 20 | 1.0 % / 0 % | 41.0 % / 100 % | 97.1 % / 100 % |
//!
//! If two interleaved sides drift by 10 % together, their ratio by replicate ([`Replicates::over`]) is called adrift in
//! 1.1 % / 0.9 % / 0.9 %.
//!
//! **Changes inside a replicate** where there are none, 5,000 sides of 3 or 10 replicates of 100 or 256 figures: found in at most
//! 0.5 %, and above 5 % in size in at most 0.2 %, at every correlation from 0 to 0.9. Where one of ten replicates of 256
//! figures changes:
//!
//! | within replicates, correlation | 5 % at 128 | 10 % at 128 | 10 % at 64 | 20 % at 32 | 10 % at 96 to 160 |
//! |---|---|---|---|---|---|
//! | 1 %, 0.5 | 100 % | 100 % | 97.0 % | 22.4 % | 20.8 % |
//! | 2 %, 0.5 | 99.9 % | 100 % | 96.8 % | 22.4 % | 20.7 % |
//! | 5 %, 0 | 96.4 % | 100 % | 99.0 % | 100 % | 81.2 % |
//! | 5 %, 0.5 | 49.6 % | 99.1 % | 83.2 % | 17.8 % | 5.9 % |
//!
//! The limits: where figures follow each other, a change in the first or last eighth of a series is mostly missed, and so is
//! one that goes back after a quarter of it; neither moves the replicate's median far.
//!
//! **Shifts in a history** where there are none, at threshold 0 (20,000 histories, 5 replicates a run, 2 % between replicates;
//! nearly the same with 1 and with 10): found in
//!
//! | between runs | 6 runs | 10 | 20 | 50 | 200 | 500 |
//! |---|---|---|---|---|---|---|
//! | 0 % | 0.2 % | 0.6 % | 0.7 % | 0.5 % | 0.3 % | 0.1 % |
//! | 2 % | 0.1 % | 0.5 % | 0.6 % | 0.4 % | 0.2 % | 0.1 % |
//! | 5 % | 0.2 % | 0.5 % | 0.6 % | 0.5 % | 0.3 % | 0.1 % |
//! | 2 %, with wild runs (t₃) | 0.1 % | 0.4 % | 0.6 % | 0.8 % | 0.7 % | 0.7 % |
//! | 2 % in two modes, 0.5 % between replicates | **1.7 %** | **1.4 %** | **2.4 %** | 1.0 % | 0.3 % | 0.2 % |
//!
//! At threshold 5 % in at most 0.7 % of any of these, and of histories in which one run takes twice as long in at most 0.6 %.
//! The limit is runs that follow each other, which have levels of their own: with a correlation of 0.5 from run to run, of 50
//! runs 22.8 % at threshold 0, and 0.8 % at 5 %.
//!
//! Where the level changes by 5 / 10 / 20 % (5,000 histories, 5 replicates a run, threshold 2 %), found within one run of it:
//!
//! | between runs | at 5 of 10 | at 10 of 20 | at 25 of 50 | at 47 of 50 | up at 20 and down at 25 of 50 |
//! |---|---|---|---|---|---|
//! | 0 % | 98.9 / 100 / 100 % | 100 / 100 / 100 % | 100 / 100 / 100 % | 99.9 / 100 / 100 % | 100 / 100 / 100 % |
//! | 2 % | 24.1 / 90.1 / 100 % | 72.0 / 99.8 / 100 % | 89.5 / 99.8 / 100 % | 38.5 / 99.5 / 100 % | 33.1 / 99.4 / 100 % |
//! | 5 % | 2.5 / 15.3 / 73.0 % | 6.4 / 51.8 / 99.1 % | 20.3 / 82.1 / 98.9 % | 1.5 / 20.5 / 95.8 % | 0.4 / 13.5 / 96.1 % |
//!
//! **Stopping early** ([`Until`]: within 0.5 %, at least 5 figures, at most 100; 10,000 series an entry). The share of intervals
//! that hold the true mean (the figures measured, on average), by the deviation of a figure as a share of the mean. A dash: fewer
//! than one in twenty series got there before the most. Bias: the mean's largest error, on average, in half widths.
//!
//! | figures, correlation | 0.1 % | 0.2 % | 0.5 % | 1 % | 2 % | 5 % | 10 % | bias |
//! |---|---|---|---|---|---|---|---|---|
//! | log-normal, 0 | 100.0 % (6) | 100.0 % (11) | 99.9 % (22) | 98.7 % (35) | 97.0 % (86) | 96.8 % (100–) | 96.7 % (100–) | 0.00 |
//! | log-normal, 0.3 | 99.9 % (6) | 99.9 % (12) | 99.4 % (29) | 96.7 % (50) | 95.1 % (97) | 95.5 % (100–) | 95.5 % (100–) | 0.00 |
//! | log-normal, 0.6 | 99.3 % (5) | 99.3 % (11) | 97.6 % (44) | 94.8 % (80) | 95.7 % (100–) | 95.8 % (100–) | 95.8 % (100–) | 0.00 |
//! | log-normal, 0.8 | 96.6 % (5) | 96.4 % (8) | 93.5 % (58) | 94.2 % (93) | 96.5 % (100–) | 96.6 % (100–) | 96.5 % (100–) | 0.00 |
//! | gamma, skewness 1, 0 | 99.9 % (6) | 99.9 % (11) | 99.8 % (22) | 98.5 % (35) | 96.1 % (85) | 96.7 % (100–) | 96.7 % (100–) | 0.04 |
//! | gamma, skewness 1, 0.3 | 99.7 % (6) | 99.7 % (11) | 99.2 % (28) | 96.2 % (49) | 93.9 % (96) | 95.0 % (100–) | 95.0 % (100–) | 0.05 |
//! | gamma, skewness 1, 0.6 | 98.8 % (5) | 98.7 % (11) | 97.3 % (42) | 92.7 % (77) | 94.1 % (99–) | 94.8 % (100–) | 94.8 % (100–) | 0.08 |
//! | exponential tail, skewness 2, 0 | 99.3 % (6) | 99.3 % (10) | 99.2 % (21) | 97.6 % (34) | 94.2 % (81) | 95.9 % (100–) | 95.9 % (100–) | 0.08 |
//! | every 20th up to 4 % slower, 0 | 99.5 % (11) | 99.9 % (17) | 99.7 % (26) | 98.2 % (39) | 96.8 % (89) | 96.9 % (100–) | 96.9 % (100–) | 0.16 |
//! | every 20th up to 4 % slower, 0.3 | 99.1 % (11) | 99.8 % (17) | 99.1 % (31) | 96.2 % (52) | 95.2 % (98) | 95.5 % (100–) | 95.5 % (100–) | 0.17 |
//!
//! From about 40 figures on the intervals hold the truth in 92.7 % to 98 % of series. Fewer figures do not say how alike
//! neighbours are: an interval that holds for a correlation of 0.8 is too wide for one of 0, and measuring goes on for longer than
//! independent figures need (22 figures instead of 7 at a deviation of 0.5 %). The alternative under-covers:
//!
//! | Student's interval, after every figure | 0.1 % | 0.2 % | 0.5 % | 1 % | 2 % | 5 % | 10 % | bias |
//! |---|---|---|---|---|---|---|---|---|
//! | log-normal, 0 | 95.0 % (5) | 95.0 % (5) | 94.4 % (7) | 91.9 % (16) | 94.0 % (62) | 94.9 % (100–) | 94.9 % (100–) | 0.01 |
//! | log-normal, 0.3 | 88.5 % (5) | 88.5 % (5) | 86.6 % (6) | 81.1 % (15) | 83.8 % (61) | 84.8 % (100–) | 85.0 % (100–) | 0.01 |
//! | log-normal, 0.6 | 73.1 % (5) | 73.0 % (5) | 70.4 % (6) | 62.3 % (13) | 64.0 % (55) | 67.2 % (100–) | 67.2 % (100–) | 0.01 |
//! | log-normal, 0.8 | 53.6 % (5) | 53.6 % (5) | 52.1 % (5) | 42.6 % (9) | 42.2 % (42) | 48.2 % (100–) | 48.2 % (100–) | 0.03 |
//! | exponential tail, skewness 2, 0 | 87.8 % (5) | 87.8 % (5) | 87.7 % (6) | 84.3 % (14) | 83.9 % (54) | 94.0 % (100–) | 94.2 % (100–) | 0.29 |
//!
//! The limits, in bold what is far off. No rule sees what has not happened yet: with a slow mode that five figures miss, only a
//! larger minimum helps.
//!
//! | figures, correlation | 0.1 % | 0.2 % | 0.5 % | 1 % | 2 % | 5 % | 10 % | bias |
//! |---|---|---|---|---|---|---|---|---|
//! | gamma, skewness 1, 0.8 | 94.8 % (5) | 94.6 % (8) | **91.0 %** (52) | **90.8 %** (90) | 94.4 % (99–) | 94.9 % (100–) | 94.9 % (100–) | 0.14 |
//! | exponential tail, skewness 2, 0.3 | 98.6 % (6) | 98.6 % (10) | 98.2 % (25) | 94.0 % (45) | **89.9 %** (89) | 93.5 % (100–) | 93.5 % (100–) | 0.13 |
//! | exponential tail, skewness 2, 0.6 | 96.0 % (6) | 96.0 % (10) | 95.2 % (33) | **86.6 %** (64) | **85.9 %** (94) | **91.8 %** (100–) | **91.8 %** (100–) | 0.19 |
//! | three in ten 1 % slower, 0 | 97.3 % (20) | 99.4 % (22) | 99.5 % (27) | 98.5 % (39) | 96.8 % (89) | 97.1 % (100–) | 97.0 % (100–) | 0.08 |
//! | three in ten 4 % slower, 0 | **84.7 %** (68) | 93.4 % (75) | 96.4 % (80) | 96.6 % (91) | 96.9 % (100–) | 97.1 % (100–) | 97.2 % (100–) | 0.32 |
//! | every 50th up to three times as long, 0 | **10.9 %** (17) | **18.6 %** (29) | **32.9 %** (50) | **45.9 %** (67) | **73.0 %** (97) | **80.0 %** (100–) | **91.2 %** (100–) | **1.88** |
//!
//! **Speed**: 300 histories of 200 runs in 15 ms. 10,000 cells of 2 × 10 replicates of 256 figures on a busy machine: 0.7 s to read in mean and median, 0.5 s to judge, 4.8 s to
//! look for drift.

mod changes;
mod counts;
mod covariate;
mod estimate;
mod partition;
mod pooled_variance;
mod replicates;
mod shifts;
mod special;
mod student;
mod summary;
mod trend;
mod until;
mod verdict;

pub use changes::{Change, changes};
pub use counts::fisher;
pub use covariate::{Covariate, paired_estimates};
pub use estimate::{Estimate, Interval};
pub use pooled_variance::PooledVariance;
pub use replicates::Replicates;
pub use shifts::{Shift, shifts};
pub use summary::{Summary, mean, quantile};
pub use trend::Trend;
pub use until::{MeanInterval, Until};
pub use verdict::{FAMILY_LEVEL, FEWEST, Judgement, Line, Verdict, judge};
