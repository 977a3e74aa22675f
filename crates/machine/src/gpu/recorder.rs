//! Samples of a GPU as a series.

use std::collections::BTreeMap;

use protocol::{GpuPhase, GpuSeries, Phase};

use crate::gpu::Sample;

/// Records what a GPU does; times are seconds since the request.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    series: GpuSeries,
    samples: Vec<Sample>,
    energy_at_start: Option<f64>,
}

impl Recorder {
    pub(crate) fn start(energy: Option<f64>) -> Self {
        Self { energy_at_start: energy, ..Self::default() }
    }

    pub(crate) fn sample(&mut self, seconds: f64, sample: Sample) {
        self.series.sample_seconds.push(seconds);
        self.samples.push(sample);
    }

    /// A phase begins, unless it has already.
    pub(crate) fn phase(&mut self, phase: Phase, seconds: f64, energy: Option<f64>) {
        if self.series.phases.last().is_none_or(|last| last.phase != phase) {
            let energy_joules = self.since_start(energy);
            self.series.phases.push(GpuPhase { phase, seconds, energy_joules });
        }
    }

    pub(crate) fn finish(mut self, seconds: f64, energy: Option<f64>) -> GpuSeries {
        let samples = &self.samples;
        let mut throttled = BTreeMap::new();
        for reason in samples.iter().flat_map(|sample| &sample.throttle) {
            *throttled.entry(*reason).or_insert(0) += 1;
        }
        GpuSeries {
            seconds,
            energy_joules: self.since_start(energy),
            power_watts: column(samples, |sample| sample.power_watts),
            temperature_celsius: column(samples, |sample| sample.temperature_celsius),
            sm_clock_mhz: column(samples, |sample| sample.sm_clock_mhz),
            memory_clock_mhz: column(samples, |sample| sample.memory_clock_mhz),
            throttled_samples: throttled,
            ..std::mem::take(&mut self.series)
        }
    }

    /// A counter that goes back was reset: it says nothing.
    fn since_start(&self, energy: Option<f64>) -> Option<f64> {
        Some(energy? - self.energy_at_start?).filter(|joules| *joules >= 0.0)
    }
}

/// A figure of every sample; empty where one lacks it.
fn column<T>(samples: &[Sample], figure: impl Fn(&Sample) -> Option<T>) -> Vec<T> {
    samples.iter().map(figure).collect::<Option<Vec<T>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use protocol::Throttle;

    use super::*;

    fn sample(power_watts: f64, throttle: &[Throttle]) -> Sample {
        Sample {
            power_watts: Some(power_watts),
            temperature_celsius: Some(60),
            sm_clock_mhz: Some(1400),
            memory_clock_mhz: None,
            throttle: throttle.into(),
        }
    }

    #[test]
    fn samples_become_columns_and_what_the_gpu_does_not_say_is_absent() {
        let mut recorder = Recorder::start(Some(1000.0));
        recorder.sample(0.0, sample(100.0, &[]));
        recorder.phase(Phase::Prompt, 0.05, Some(1010.0));
        recorder.phase(Phase::Prompt, 0.09, Some(1020.0));
        recorder.sample(0.1, sample(300.0, &[Throttle::SwPowerCap]));
        recorder.phase(Phase::Decode, 0.15, Some(1030.0));
        recorder.sample(0.2, sample(400.0, &[Throttle::SwPowerCap, Throttle::HwSlowdown]));
        let series = recorder.finish(0.25, Some(1050.0));
        assert_eq!(series.power_watts, [100.0, 300.0, 400.0]);
        assert_eq!((series.sm_clock_mhz.len(), series.memory_clock_mhz.len()), (3, 0));
        assert_eq!(series.energy_joules, Some(50.0));
        let phases: Vec<_> =
            series.phases.iter().map(|one| (one.phase, one.seconds, one.energy_joules)).collect();
        assert_eq!(phases, [(Phase::Prompt, 0.05, Some(10.0)), (Phase::Decode, 0.15, Some(30.0))]);
        let throttled = [(Throttle::SwPowerCap, 2), (Throttle::HwSlowdown, 1)];
        assert_eq!(series.throttled_samples, BTreeMap::from(throttled));
    }

    #[test]
    fn a_counter_that_goes_back_or_is_not_there_says_nothing() {
        assert_eq!(Recorder::start(Some(10.0)).finish(1.0, Some(9.0)).energy_joules, None);
        assert_eq!(Recorder::start(None).finish(1.0, Some(9.0)).energy_joules, None);
        assert_eq!(Recorder::start(Some(1.0)).finish(1.0, None).energy_joules, None);
    }
}
