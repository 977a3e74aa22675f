//! The device's peaks, which each engine's worker measures before any model is loaded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use machine::gpu::{GpuWatch, Gpus, Monitor};
use machine::{LoadWatch, MemoryReader};
use protocol::{
    Device, Dtype, Environment, GpuSeries, Hello, Library, MeasuredPeaks, PeaksRequest, Phase, Reached,
    Reply, Request,
};

use crate::run::kept_peaks::KeptPeaks;
use crate::worker::process::PLAIN_REPLY;
use crate::worker::requests::why;
use crate::{Engines, Limits, Notice, PeaksPolicy, Setup, Sweep, Variant, Worker, WorkerError};

/// Far longer than a measurement takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// Time for which memory is read beside a cell.
const BESIDE_A_CELL: Duration = Duration::from_millis(320);

/// Length of a sustained product: a GPU reaches its power limit within a second or two, so a burst says nothing about a longer prefill.
const SUSTAINED_SECONDS: f64 = 3.0;

/// The reader that measures memory bandwidth beside cells, if the sweep asks for it. It keeps its memory until the last cell.
pub(crate) fn reader(sweep: &Sweep) -> Option<Rc<MemoryReader>> {
    let is_asked = sweep.peaks == PeaksPolicy::Cell && sweep.setup.device == Device::Cpu;
    // Without memory for it, the run's peak counts.
    is_asked.then(|| MemoryReader::new(sweep.setup.threads).ok().map(Rc::new)).flatten()
}

/// What an engine's start, its reads of memory and its matrix products take on two cores: 3 to 5 s.
const SECONDS_OF_AN_ENGINE: f64 = 4.0;

/// Bytes per second that the processor reads from memory now.
pub(crate) fn read_beside_cell(reader: &MemoryReader) -> f64 {
    reader.bytes_per_second(BESIDE_A_CELL)
}

/// The default length of sustained products on a device. A CPU, whose clocks settle at once, has none.
pub fn sustained_seconds(device: Device) -> Option<f64> {
    (device != Device::Cpu).then_some(SUSTAINED_SECONDS)
}

/// The figures that an engine reached.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredReach {
    /// The answer of its worker.
    pub reached: Reached,
    /// The mean clock of the GPU's multiprocessors during the sustained products, by precision.
    pub sustained_sm_clock_mhz: BTreeMap<Dtype, f64>,
}

/// The figures that the engines of a sweep reached.
pub struct PeaksReport<'a> {
    /// The best of all engines.
    pub best: MeasuredPeaks,
    /// The figures of each engine, or why it measured nothing.
    pub engines: Vec<(&'a str, Result<MeasuredReach, String>)>,
}

/// Measures the device's peaks with the engines of a sweep: their matrix products in `precisions`, sustained for `sustained_seconds` if
/// given. Engines with the same program and libraries (as `hellos` say) would reach the same, so only the first of them is asked.
pub fn measure_peaks<'a>(
    variant: &'a Variant,
    hellos: &BTreeMap<String, Hello>,
    precisions: &[Dtype],
    sustained_seconds: Option<f64>,
    notify: &mut dyn FnMut(Notice<'_>),
) -> PeaksReport<'a> {
    let Variant { sweep, engines } = variant;
    let gpu = Gpus::find().ok().and_then(|gpus| gpus.watch(sweep.setup.device));
    let plan = PeaksPlan { setup: &sweep.setup, precisions, sustained_seconds, gpu };
    let asked = distinct(engines, sweep.selected_engines().map(String::as_str), hellos);
    let of_engine = SECONDS_OF_AN_ENGINE + plan.sustained_seconds.unwrap_or(0.0) * precisions.len() as f64;
    notify(Notice::PeaksBegin { about: Duration::from_secs_f64(of_engine * asked.len() as f64) });
    let load = LoadWatch::start();
    let mut answer = |name| {
        notify(Notice::MeasuringPeaks { engine: name });
        (name, ask(engines, name, &plan).map_err(|error| why(&error)))
    };
    let answers: Vec<_> = asked.into_iter().map(&mut answer).collect();
    let best = best(sweep.setup.device, &answers);
    let best = MeasuredPeaks { machine_load: (!is_scripted(sweep, hellos)).then(|| load.stop()), ..best };
    PeaksReport { best, engines: answers }
}

/// Whether no engine of the sweep measures anything real.
fn is_scripted(sweep: &Sweep, hellos: &BTreeMap<String, Hello>) -> bool {
    sweep.selected_engines().all(|name| hellos.get(name).is_some_and(|hello| hello.virtual_clock))
}

/// The best that a run's engines reach in its precision, which is kept with it; `None` where none measured anything. With `may_reuse`,
/// what an earlier run on this machine measured counts, unless the sweep asks for them anew or the machine is virtual: its hypervisor
/// may run two CPUs on one core now and on two in a minute, which halves or doubles the memory bandwidth.
pub(crate) fn peaks_of_run(
    variant: &Variant,
    hellos: &BTreeMap<String, Hello>,
    environment: &Environment,
    may_reuse: bool,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Option<MeasuredPeaks> {
    let setup = &variant.sweep.setup;
    let kept = KeptPeaks::new(variant, hellos, environment);
    let is_virtual = environment.processor.as_ref().and_then(|processor| processor.virtual_machine);
    let is_steady = is_virtual == Some(false) || is_scripted(&variant.sweep, hellos);
    let may_reuse = may_reuse && is_steady && variant.sweep.peaks == PeaksPolicy::Run;
    if let Some(kept) = kept.as_ref().filter(|_| may_reuse) {
        match kept.read() {
            Ok(None) => {}
            Ok(Some(peaks)) => {
                notify(Notice::KeptPeaks(&peaks));
                return Some(peaks);
            }
            Err(why) => notify(Notice::DamagedPeaks(&why)),
        }
    }
    let sustained = sustained_seconds(setup.device);
    let report = measure_peaks(variant, hellos, &variant.sweep.dtypes(), sustained, notify);
    for (engine, answer) in &report.engines {
        if let Err(why) = answer {
            notify(Notice::NoPeaks { device: setup.device, engine, why });
        }
    }
    let best = Some(report.best).filter(|best| !best.is_empty())?;
    notify(Notice::Peaks(&best));
    // An engine that failed now may reach more the next time.
    let is_complete = report.engines.iter().all(|(_, answer)| answer.is_ok());
    if let Some(kept) = kept.filter(|_| is_complete) {
        kept.write(&best);
    }
    Some(best)
}

fn best(device: Device, answers: &[(&str, Result<MeasuredReach, String>)]) -> MeasuredPeaks {
    let answered = || answers.iter().filter_map(|(engine, answer)| Some((*engine, answer.as_ref().ok()?)));
    let mut best = MeasuredPeaks::best(device, answered().map(|(engine, answer)| (engine, &answer.reached)));
    for (precision, sustained) in &mut best.sustained_flops {
        let answer = answered().find(|(engine, _)| *engine == sustained.by);
        sustained.sm_clock_mhz =
            answer.and_then(|(_, answer)| answer.sustained_sm_clock_mhz.get(precision).copied());
    }
    best
}

/// The measurement that each engine makes.
struct PeaksPlan<'a> {
    setup: &'a Setup,
    precisions: &'a [Dtype],
    sustained_seconds: Option<f64>,
    gpu: Option<GpuWatch>,
}

/// The first engine of each program and set of libraries.
fn distinct<'a>(
    engines: &Engines,
    names: impl IntoIterator<Item = &'a str>,
    hellos: &BTreeMap<String, Hello>,
) -> Vec<&'a str> {
    let mut known: Vec<(PathBuf, Option<&[Library]>)> = Vec::new();
    let mut first = Vec::new();
    for name in names {
        let command = engines.get(name).expect("a known engine");
        let kind = (command.program.clone(), hellos.get(name).map(|hello| &*hello.libraries));
        if !known.contains(&kind) {
            known.push(kind);
            first.push(name);
        }
    }
    first
}

fn ask(engines: &Engines, name: &str, plan: &PeaksPlan<'_>) -> Result<MeasuredReach, WorkerError> {
    let command = engines.get(name).expect("a known engine");
    let sustained = Duration::from_secs_f64(plan.sustained_seconds.unwrap_or(0.0));
    let request = DEADLINE.saturating_add(sustained).min(plan.setup.limits().request);
    let mut worker = Worker::spawn(command, Limits { request, ..Limits::default() })?;
    let mut all = MeasuredReach { reached: Reached::default(), sustained_sm_clock_mhz: BTreeMap::new() };
    // One request per precision: the clock at a request's end is then that of its sustained products.
    let each: Vec<&[Dtype]> = match plan.sustained_seconds {
        Some(_) => plan.precisions.chunks(1).collect(),
        None => vec![plan.precisions],
    };
    for precisions in each {
        let request = Request::Peaks(PeaksRequest {
            device: plan.setup.device,
            precisions: precisions.to_vec(),
            threads: plan.setup.threads,
            sustained_seconds: plan.sustained_seconds,
            options: plan.setup.options_of(name),
        });
        let monitor = plan.sustained_seconds.and(plan.gpu.as_ref()).and_then(GpuWatch::start);
        let reply = worker.ask(&request, PLAIN_REPLY, &mut |_| ())?;
        let series = monitor.map(Monitor::stop).unwrap_or_default();
        let Reply::Peaks(reached) = reply else {
            return Err(worker.protocol_error(Phase::Load, "expected peaks".into()));
        };
        if let (Some(seconds), [precision]) = (plan.sustained_seconds, precisions)
            && reached.sustained_flops_per_second.contains_key(precision)
            && let Some(clock) = clock_at_end(&series, seconds)
        {
            all.sustained_sm_clock_mhz.insert(*precision, clock);
        }
        join(&mut all.reached, reached);
    }
    // Its end matters only after it has measured a cell.
    let _ = worker.shutdown();
    Ok(all)
}

/// The mean clock of the multiprocessors in the last `seconds` of a series.
fn clock_at_end(series: &GpuSeries, seconds: f64) -> Option<f64> {
    let from = series.seconds - seconds;
    let samples = series.sample_seconds.iter().zip(&series.sm_clock_mhz);
    let clocks: Vec<f64> =
        samples.filter(|(at, _)| **at >= from).map(|(_, clock)| f64::from(*clock)).collect();
    (!clocks.is_empty()).then(|| clocks.iter().sum::<f64>() / clocks.len() as f64)
}

fn join(all: &mut Reached, one: Reached) {
    let read = [all.read_bytes_per_second, one.read_bytes_per_second];
    all.read_bytes_per_second = read.into_iter().flatten().reduce(f64::max);
    all.flops_per_second.extend(one.flops_per_second);
    all.sustained_flops_per_second.extend(one.sustained_flops_per_second);
    for note in one.notes {
        if !all.notes.contains(&note) {
            all.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn hello(libraries: &[(&str, &str)]) -> Hello {
        let library = |(version, path): &(&str, &str)| Library {
            name: "libtorch".into(),
            version: (*version).into(),
            path: Some(path.into()),
        };
        Hello { libraries: libraries.iter().map(library).collect(), ..Hello::default() }
    }

    #[test]
    fn engines_of_one_program_and_the_same_libraries_are_asked_once() {
        let text = "[eager]\ncommand = [\"/a/torch\", \"--engine\", \"eager\"]\n\
                    [compile]\ncommand = [\"/a/torch\", \"--engine\", \"compile\"]\n\
                    [other-build]\ncommand = [\"/b/torch\"]\n\
                    [other-library]\ncommand = [\"/a/torch\", \"--cuda-12\"]\n\
                    [other-folder]\ncommand = [\"/a/torch\", \"--runtime\", \"elsewhere\"]\n";
        let engines = Engines::parse(text, "engines.toml", Path::new("")).unwrap();
        let same = hello(&[("2.11.0", "/lib/libtorch.so")]);
        let hellos = BTreeMap::from([
            ("eager".to_owned(), same.clone()),
            ("compile".into(), Hello { engine: "pytorch-compile".into(), ..same.clone() }),
            ("other-build".into(), same),
            ("other-library".into(), hello(&[("2.10.0", "/lib/libtorch.so")])),
            ("other-folder".into(), hello(&[("2.11.0", "/other/libtorch.so")])),
        ]);
        let asked = distinct(&engines, engines.names(), &hellos);
        assert_eq!(asked, ["eager", "other-build", "other-library", "other-folder"]);
    }

    #[test]
    fn the_clock_is_that_of_the_last_seconds() {
        let series = GpuSeries {
            seconds: 5.0,
            sample_seconds: vec![0.0, 1.0, 2.5, 4.0],
            sm_clock_mhz: vec![1980, 1900, 1500, 1400],
            ..GpuSeries::default()
        };
        assert_eq!(clock_at_end(&series, 3.0), Some(1450.0));
        assert_eq!(clock_at_end(&GpuSeries::default(), 3.0), None);
    }

    #[test]
    fn answers_for_each_precision_are_joined() {
        let one = |precision, read, flops| Reached {
            read_bytes_per_second: Some(read),
            flops_per_second: BTreeMap::from([(precision, flops)]),
            sustained_flops_per_second: BTreeMap::from([(precision, flops / 2.0)]),
            notes: vec!["scripted".into()],
        };
        let mut all = Reached::default();
        join(&mut all, one(Dtype::Fp32, 2.0, 10.0));
        join(&mut all, one(Dtype::Fp16, 1.0, 20.0));
        assert_eq!(all.read_bytes_per_second, Some(2.0));
        assert_eq!((all.flops_per_second.len(), all.sustained_flops_per_second.len()), (2, 2));
        assert_eq!(all.notes, ["scripted"]);
    }

    #[test]
    fn only_gpu_peaks_are_sustained_by_default() {
        assert_eq!((sustained_seconds(Device::Cpu), sustained_seconds(Device::Cuda(1))), (None, Some(3.0)));
    }
}
