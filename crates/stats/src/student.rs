//! Student's t distribution, far out in its tails, where a family of hundreds of tests decides.

use std::f64::consts::PI;

use crate::special::ln_gamma;

/// More degrees of freedom, infinitely many among them, are no different from these: the quantiles differ by 1e-6.
const MOST_DEGREES: f64 = 1e6;

/// The probability that |T| exceeds `t` ≥ 0, T having `degrees` ≥ 1 of freedom, not necessarily whole.
pub(crate) fn two_sided(t: f64, degrees: f64) -> f64 {
    let degrees = degrees.min(MOST_DEGREES);
    ln_two_sided(t, degrees, ln_beta(degrees)).exp()
}

/// The `t` that |T| exceeds with probability `p`, 0 < p < 1.
///
/// Newton's method on ln p as a function of ln t. That function is concave and falling, so the steps approach the root from
/// the right without overshooting; the quantile of one degree of freedom, which is Cauchy's, lies to the right of every
/// other.
pub(crate) fn quantile(p: f64, degrees: f64) -> f64 {
    let degrees = degrees.min(MOST_DEGREES);
    let ln_beta = ln_beta(degrees);
    let mut t = 1.0 / (PI * p / 2.0).tan();
    for _ in 0..100 {
        let tail = ln_two_sided(t, degrees, ln_beta);
        let ln_density = -ln_beta - degrees.ln() / 2.0 - (degrees + 1.0) / 2.0 * (t * t / degrees).ln_1p();
        let slope = -2.0 * (ln_density + t.ln() - tail).exp();
        let step = (p.ln() - tail) / slope;
        t *= step.exp();
        if step.abs() < 1e-12 {
            break;
        }
    }
    t
}

/// ln P(|T| > t) = ln Iₓ(ν/2, ½) with x = ν/(ν + t²): Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.1 and
/// 26.5.27. The logarithm, because Newton's first steps lie where the probability itself is 0 in double precision.
fn ln_two_sided(t: f64, degrees: f64, ln_beta: f64) -> f64 {
    if t == 0.0 {
        return 0.0;
    }
    let (a, b) = (degrees / 2.0, 0.5);
    let (ln_x, ln_rest) = (-(t * t / degrees).ln_1p(), -(degrees / (t * t)).ln_1p());
    let ln_front = a * ln_x + b * ln_rest - ln_beta;
    if ln_x.exp() < (a + 1.0) / (a + b + 2.0) {
        ln_front + (fraction(a, b, ln_x.exp()) / a).ln()
    } else {
        (-ln_front.exp() * fraction(b, a, ln_rest.exp()) / b).ln_1p()
    }
}

/// ln B(ν/2, ½).
fn ln_beta(degrees: f64) -> f64 {
    ln_gamma(degrees / 2.0) + ln_gamma(0.5) - ln_gamma((degrees + 1.0) / 2.0)
}

/// The continued fraction of the incomplete beta function by Lentz's method: Press et al., Numerical Recipes, 3rd ed., §6.4.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let away = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = d;
    for m in 1..1000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            value *= c * d;
        }
        if (value / before - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 1e-9
    }

    #[test]
    fn probabilities_known_in_closed_form() {
        for t in [1e-6, 0.3, 1.0, 2.0, 12.7, 1e3] {
            assert!(near(two_sided(t, 1.0), 1.0 - 2.0 / PI * t.atan()), "Cauchy at {t}");
            let s = (2.0 + t * t).sqrt();
            assert!(near(two_sided(t, 2.0), 2.0 / (s * (s + t))), "two degrees at {t}");
        }
        assert_eq!(two_sided(0.0, 5.0), 1.0);
    }

    #[test]
    fn quantiles_of_the_tables() {
        // mpmath, 30 digits: betainc(nu/2, 1/2, 0, nu/(nu + t*t), regularized=True) = p
        let known = [
            (0.05, 8.0, 2.306_004_135_204_167),
            (0.05, 3.7, 2.867_520_707_191_189),
            (0.0001, 4.0, 15.544_100_581_545_68),
            (0.0001, 18.0, 4.965_706_285_291_543),
            (1e-9, 2.0, 31_622.776_577_966_71),
            (1e-6, 6.4, 18.026_578_555_915_61),
            (0.6, 30.0, 0.530_019_003_906_504_5),
            (0.01, 1000.0, 2.580_754_698_065_951),
        ];
        for (p, degrees, expected) in known {
            assert!(near(quantile(p, degrees), expected), "{p} {degrees}: {}", quantile(p, degrees));
            assert!(near(two_sided(expected, degrees), p), "{p} {degrees}");
        }
    }
}
