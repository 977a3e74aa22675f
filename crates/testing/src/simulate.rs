//! Made-up measurements with known truth, to test statistics by: the same seed gives the same figures on every machine.

/// Pseudo-random numbers: xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47,
/// 2021), seeded by SplitMix64. Not for secrets.
#[derive(Debug, Clone)]
pub struct Rng {
    state: [u64; 4],
    spare: Option<f64>,
}

impl Rng {
    /// The stream of a seed.
    pub fn new(mut seed: u64) -> Self {
        let state = std::array::from_fn(|_| {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Self { state, spare: None }
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let value = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        value
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform among 0…`bound` − 1.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.uniform() * bound as f64) as usize
    }

    /// Standard normal, by Marsaglia's polar method.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let scale = (-2.0 * s.ln() / s).sqrt();
                self.spare = Some(v * scale);
                return u * scale;
            }
        }
    }
}

/// How replicates of one process differ from each other, beyond the noise within them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Between {
    /// Log-normal.
    Normal,
    /// Student's t of three degrees of freedom on the logarithm, scaled to the deviation of the normal: a wild replicate now
    /// and then.
    Wild,
    /// Two modes, the slow one in three replicates of ten, at the normal's deviation: a memory layout that is lucky or is not.
    TwoModes,
}

/// A model of the noise of one cell and metric. Deviations are of logarithms, so 0.02 is about 2 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedNoise {
    /// How replicates differ.
    pub shape: Between,
    /// Standard deviation between replicates.
    pub between: f64,
    /// Standard deviation of figures within a replicate.
    pub within: f64,
    /// Correlation of a figure with the one before it.
    pub correlation: f64,
    /// The share of figures that take between 1.5 and 4 times as long.
    pub outliers: f64,
}

impl SimulatedNoise {
    /// Log-normal between and within replicates, nothing else.
    pub fn plain(between: f64, within: f64) -> Self {
        Self { shape: Between::Normal, between, within, correlation: 0.0, outliers: 0.0 }
    }

    /// The effect of one replicate, a logarithm.
    pub fn replicate(&self, rng: &mut Rng) -> f64 {
        let unit = match self.shape {
            Between::Normal => rng.normal(),
            Between::Wild => {
                let squares: f64 = (0..3).map(|_| rng.normal().powi(2)).sum();
                rng.normal() / squares.sqrt()
            }
            Between::TwoModes => (f64::from(u8::from(rng.uniform() < 0.3)) - 0.3) / 0.21_f64.sqrt(),
        };
        self.between * unit
    }

    /// The figures of one replicate around `level` whose replicate has `effect`.
    pub fn figures(&self, rng: &mut Rng, level: f64, effect: f64, count: usize) -> Vec<f64> {
        let fresh = (1.0 - self.correlation * self.correlation).sqrt();
        let mut state = rng.normal();
        let figures = (0..count).map(|_| {
            let figure = level * (effect + self.within * state).exp();
            state = self.correlation * state + fresh * rng.normal();
            let slow = self.outliers > 0.0 && rng.uniform() < self.outliers;
            if slow { figure * (1.5 + 2.5 * rng.uniform()) } else { figure }
        });
        figures.collect()
    }

    /// The series of `replicates` replicates of `count` figures each.
    pub fn side(&self, rng: &mut Rng, level: f64, replicates: usize, count: usize) -> Vec<Vec<f64>> {
        let series = (0..replicates).map(|_| {
            let effect = self.replicate(rng);
            self.figures(rng, level, effect, count)
        });
        series.collect()
    }
}
