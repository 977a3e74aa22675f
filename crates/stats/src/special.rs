//! Special functions that the distributions of variances and counts need.

use std::f64::consts::PI;

/// ψ(x), the derivative of ln Γ, for x > 0: the recurrence up to 6, then the asymptotic series (Abramowitz and Stegun, 6.3.5 and
/// 6.3.18), good to about 1e-10.
pub(crate) fn digamma(mut x: f64) -> f64 {
    let mut value = 0.0;
    while x < 6.0 {
        value -= 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    value + x.ln()
        - 0.5 / x
        - square
            * (1.0 / 12.0
                - square * (1.0 / 120.0 - square * (1.0 / 252.0 - square * (1.0 / 240.0 - square / 132.0))))
}

/// ψ'(x) for x > 0 (Abramowitz and Stegun, 6.4.6 and 6.4.12), good to about 1e-10.
pub(crate) fn trigamma(mut x: f64) -> f64 {
    let mut value = 0.0;
    while x < 6.0 {
        value += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = 1.0 / 6.0
        - square * (1.0 / 30.0 - square * (1.0 / 42.0 - square * (1.0 / 30.0 - square * 5.0 / 66.0)));
    value + (1.0 + 0.5 / x + square * series) / x
}

/// The x > 0 with ψ'(x) = `value` > 0: Newton's method on 1/ψ', which is convex and nearly straight, from 0.5 + 1/`value` on
/// (Smyth 2004, appendix).
pub(crate) fn trigamma_inverse(value: f64) -> f64 {
    if value > 1e7 {
        return 1.0 / value.sqrt();
    }
    if value < 1e-6 {
        return 1.0 / value;
    }
    let mut x = 0.5 + 1.0 / value;
    for _ in 0..50 {
        let here = trigamma(x);
        // ψ''(x) by a central difference: the steps need no better.
        let slope = (trigamma(x * (1.0 + 1e-5)) - trigamma(x * (1.0 - 1e-5))) / (2e-5 * x);
        let step = here * (1.0 - here / value) / slope;
        x += step;
        if -step / x < 1e-10 {
            break;
        }
    }
    x
}

/// ln Γ(x) for x > 0 by Lanczos's approximation, g = 7 and nine terms, good to about 1e-15.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let sum = TERMS
        .iter()
        .enumerate()
        .fold(0.999_999_999_999_809_9, |sum, (i, term)| sum + term / (x + i as f64 + 1.0));
    let base = x + 7.5;
    (2.0 * PI).ln() / 2.0 + (x + 0.5) * base.ln() - base + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_tables() {
        // mpmath: psi(0, x), psi(1, x)
        for (x, psi, psi1) in [
            (0.5, -1.963_510_026_021_423, 4.934_802_200_544_679),
            (1.0, -0.577_215_664_901_532_9, 1.644_934_066_848_226_4),
            (2.0, 0.422_784_335_098_467_1, 0.644_934_066_848_226_4),
            (4.5, 1.388_870_929_273_384, 0.248_725_103_039_010_4),
            (50.0, 3.901_989_673_427_891_5, 0.020_201_333_226_697_1),
        ] {
            assert!((digamma(x) - psi).abs() < 1e-8, "{x}: {}", digamma(x));
            assert!((trigamma(x) / psi1 - 1.0).abs() < 1e-8, "{x}: {}", trigamma(x));
        }
    }

    #[test]
    fn the_inverse_inverts() {
        for x in [1e-3, 0.1, 0.7, 1.0, 3.3, 40.0, 1e4, 1e7] {
            assert!(
                (trigamma_inverse(trigamma(x)) / x - 1.0).abs() < 1e-5,
                "{x}: {}",
                trigamma_inverse(trigamma(x))
            );
        }
    }

    #[test]
    fn ln_gamma_is_of_factorials() {
        assert!((ln_gamma(11.0) - 3_628_800.0_f64.ln()).abs() < 1e-12);
        assert!((ln_gamma(0.5) - PI.sqrt().ln()).abs() < 1e-12);
    }
}
