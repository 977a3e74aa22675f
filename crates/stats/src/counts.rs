//! Rates of two sides, compared exactly.

use crate::special::ln_gamma;

/// The two-sided p-value of no difference between two rates, of each how many of how many: twice the smaller tail of Fisher's exact
/// test (Fisher, Statistical Methods for Research Workers, 5th ed., 1934, §21.02), at most 1.
pub fn fisher([(one, of_one), (other, of_other)]: [(usize, usize); 2]) -> f64 {
    let ln_choose = |of: usize, some: usize| {
        let [of, some] = [of, some].map(|count| count as f64);
        ln_gamma(of + 1.0) - ln_gamma(some + 1.0) - ln_gamma(of - some + 1.0)
    };
    let all = one + other;
    let chance = |on_other: usize| {
        let ln = ln_choose(of_one, all - on_other) + ln_choose(of_other, on_other)
            - ln_choose(of_one + of_other, all);
        ln.exp()
    };
    let least = all.saturating_sub(of_one);
    let most = all.min(of_other);
    let up: f64 = (other..=most).map(chance).sum();
    let down: f64 = (least..=other).map(chance).sum();
    (2.0 * up.min(down)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_by_hand() {
        // One of ten against none of ten: each of twenty is as likely to be it.
        assert!((fisher([(0, 10), (1, 10)]) - 1.0).abs() < 1e-12);
        // All of five against none of five: 1 / C(10, 5), twice.
        assert!((fisher([(0, 5), (5, 5)]) - 2.0 / 252.0).abs() < 1e-12);
        assert!((fisher([(5, 5), (0, 5)]) - 2.0 / 252.0).abs() < 1e-12);
        assert_eq!(fisher([(0, 4), (0, 9)]), 1.0);
        // R: fisher.test(matrix(c(1, 9, 7, 3), 2), alternative = "less")$p.value = 0.009883
        assert!((fisher([(1, 10), (7, 10)]) - 2.0 * 0.009_883).abs() < 1e-5);
    }
}
