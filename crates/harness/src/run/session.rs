//! A session: one or two variants of a sweep, measured into their runs' folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use machine::gpu::{GpuWatch, Gpus};
use protocol::{Device, Environment, Hello, Pair, ProgramVersion, Share};
use results::RunFolder;

use crate::run::environment::collect_environment;
use crate::run::idle_machine::require_idle;
use crate::run::kept_answers::KeptAnswers;
use crate::run::measure::{RunSummary, measure};
use crate::run::model_files::ModelFiles;
use crate::run::peaks::peaks_of_run;
use crate::run::time_breakdown::clocked;
use crate::run::variant_run::VariantRun;
use crate::run::verify::Verifier;
use crate::run::workers::Workers;
use crate::sweep::loading::check_memory_limit;
use crate::{ClockLock, Event, Interrupt, Notice, SessionError, SettingsError, Sweep, Variant, plan};

/// Destination of a variant's records.
#[derive(Debug)]
pub enum Destination {
    /// A new run's folder.
    New {
        /// The folder.
        dir: PathBuf,
        /// The share of the cells to measure; all of them where not given.
        shard: Option<Share>,
    },
    /// An earlier run's folder, for its missing cells.
    Earlier {
        /// The folder.
        folder: RunFolder,
        /// Whether another sweep or environment may continue it.
        allow_mixed: bool,
    },
}

/// Whether a session verifies engines before it times them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Every engine, unless its earlier answer is kept and nothing has changed.
    Changed,
    /// Every engine.
    Again,
    /// No engine.
    Never,
}

/// Where a session takes the device's peaks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeaksOfSession {
    /// It has none.
    None,
    /// It measures them before the first cell.
    Measured,
    /// It reuses those that an earlier run measured on this machine within a day, or measures them.
    Kept,
}

/// Options of a session.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The program that measures.
    pub program: ProgramVersion,
    /// Where a new run has the device's peaks from.
    pub peaks: PeaksOfSession,
    /// Whether engines are verified before they are timed.
    pub verify: Verify,
    /// Fail if other programs use the GPU.
    pub exclusive: bool,
    /// Wait until other processes use little of the processors, and fail if the machine stays busy.
    pub require_idle: bool,
}

/// A session that is ready to measure: everything is resolved, locked and open.
pub struct Session {
    variants: Vec<Variant>,
    folders: Vec<RunFolder>,
    gpu: Option<GpuWatch>,
    /// GPU clocks are reset when this is dropped.
    _clocks: Option<ClockLock>,
    verify: Verify,
    started: Instant,
    peaks_took: Duration,
}

impl Session {
    /// Starts the engines to identify them, reads the environment, locks GPU clocks, opens the folders and measures peaks. Two variants
    /// are a baseline and its candidate, whose new folders record that they are a pair.
    ///
    /// # Errors
    /// Where an engine, the GPU or a folder can't be used. Nothing is measured then.
    ///
    /// # Panics
    /// Where there is no variant.
    pub fn begin(
        mut variants: Vec<(Variant, Destination)>,
        options: &SessionOptions,
        notify: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Self, SessionError> {
        let started = Instant::now();
        for (variant, _) in &variants {
            check_memory_limit(&variant.sweep, &plan(&variant.sweep))?;
        }
        let environments = variants
            .iter()
            .map(|(variant, _)| collect_environment(variant, &options.program, notify))
            .collect::<Result<Vec<_>, _>>()?;
        // All variants compute on the same device.
        let sweep = &variants.last().expect("a variant").0.sweep;
        let gpu = watch_gpu(sweep.setup.device, options.exclusive, notify)?;
        for ((variant, destination), (environment, _)) in variants.iter_mut().zip(&environments) {
            if let Destination::Earlier { folder, allow_mixed } = destination {
                let sweep = variant.sweep.to_toml();
                if let Some(unrecorded) = folder.resume(&sweep, environment.clone(), *allow_mixed)? {
                    notify(Notice::Unrecorded(&unrecorded));
                }
            }
        }
        // Peaks are figures, too, so this is before them.
        if options.require_idle {
            require_idle(notify)?;
        }
        // A run that is refused leaves the clocks alone, so this is after the folders.
        let clocks = lock_clocks(&variants[variants.len() - 1].0.sweep)?;
        let pair_id = pair_id(&variants, &environments);
        let mut session = Self {
            variants: Vec::new(),
            folders: Vec::new(),
            gpu,
            _clocks: clocks,
            verify: options.verify,
            started,
            peaks_took: Duration::ZERO,
        };
        // All variants share one measurement.
        let mut peaks = if options.peaks == PeaksOfSession::None { Some(None) } else { None };
        let may_reuse = options.peaks == PeaksOfSession::Kept;
        for ((variant, destination), (environment, hellos)) in variants.into_iter().zip(environments) {
            let is_baseline = session.folders.is_empty();
            session.folders.push(match destination {
                Destination::Earlier { folder, .. } => folder,
                Destination::New { dir, shard } => {
                    let pair = pair_id.clone().map(|id| Pair { id, is_baseline });
                    let id = Some(new_id(&environment.started, &dir));
                    RunFolder::create(&dir, &variant.sweep.to_toml(), || {
                        let measure = || peaks_of_run(&variant, &hellos, &environment, may_reuse, notify);
                        let peaks = peaks.get_or_insert_with(|| clocked(&mut session.peaks_took, measure));
                        Environment { id, peaks: peaks.clone(), shard, pair, ..environment }
                    })?
                }
            });
            session.variants.push(variant);
        }
        Ok(session)
    }

    /// The sweep of the first variant.
    pub fn sweep(&self) -> &Sweep {
        &self.variants[0].sweep
    }

    /// The folder of each variant.
    pub fn folders(&self) -> &[RunFolder] {
        &self.folders
    }

    /// The watch over the GPU that computes, if there is one.
    pub fn gpu(&self) -> Option<&GpuWatch> {
        self.gpu.as_ref()
    }

    /// The time since the session began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Measures every missing cell of the folders, interleaved where there are two variants. Ctrl-C asks it to stop.
    ///
    /// # Errors
    /// Where a folder can't be written, or a model changed since the run began. A failed cell is a record, not an error.
    pub fn measure(&mut self, on_event: &mut dyn FnMut(Event<'_>)) -> Result<RunSummary, SessionError> {
        let _interrupt = Interrupt::install();
        let kept = KeptAnswers::of_user(self.verify == Verify::Again);
        let (gpu, verify) = (&self.gpu, self.verify);
        let runs = self.variants.iter().zip(&mut self.folders);
        let mut runs: Vec<VariantRun<'_>> = runs
            .map(|(variant, folder)| {
                let models = &variant.sweep.models;
                let known = &folder.environment().models;
                let verified = models.iter().filter(|_| verify != Verify::Never);
                VariantRun {
                    variant,
                    models: models
                        .iter()
                        .map(|model| (model.name.clone(), ModelFiles::new(model, known.get(&model.name))))
                        .collect(),
                    folder,
                    workers: Workers::new(variant.sweep.isolation, gpu.clone()),
                    verifiers: verified
                        .map(|model| (model.label.clone(), Verifier::new(variant, model, &kept)))
                        .collect(),
                }
            })
            .collect();
        let mut summary = measure(&mut runs, on_event)?;
        summary.time.peaks = self.peaks_took;
        Ok(summary)
    }
}

/// Locks the GPU's clocks if the sweep asks for it, until the result is dropped.
///
/// # Errors
/// Where the driver refuses.
pub fn lock_clocks(sweep: &Sweep) -> Result<Option<ClockLock>, SettingsError> {
    let take = |setting| ClockLock::take(setting, sweep.setup.device, &sweep.setup.processes());
    sweep.lock_gpu_clocks.as_ref().map(take).transpose()
}

/// Watches the GPU that computes, if there is one. Reports other programs that use it, or refuses them if `exclusive`.
fn watch_gpu(
    device: Device,
    exclusive: bool,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<Option<GpuWatch>, SettingsError> {
    let refuse = |what| Err(SettingsError { origin: "--exclusive".into(), what });
    let Some(gpu) = Gpus::find().ok().and_then(|gpus| gpus.watch(device)) else {
        if exclusive && device != Device::Cpu {
            return refuse(format!("no driver tells who uses {device}: see `llama2-bench doctor`"));
        }
        return Ok(None);
    };
    if let Some(others) = gpu.other_processes() {
        if exclusive {
            return refuse(format!("{device} is also used by {others}"));
        }
        notify(Notice::SharedGpu { device, others: &others });
    }
    Ok(Some(gpu))
}

/// The id that two new folders share; `None` for a session of one variant.
fn pair_id(
    variants: &[(Variant, Destination)],
    environments: &[(Environment, BTreeMap<String, Hello>)],
) -> Option<String> {
    let [(_, Destination::New { dir, .. }), _] = variants else { return None };
    Some(new_id(&environments[0].0.started, dir))
}

/// An id that no other run has.
fn new_id(started: &str, dir: &Path) -> String {
    let seed = format!("{started} {} {}", std::process::id(), dir.display());
    llama::sha256_hex(seed.as_bytes())[..16].to_owned()
}
