//! A session: one or several variants of a sweep, measured into their runs' folders.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use machine::gpu::{GpuWatch, Gpus};
use protocol::{Device, Environment, Pair, ProgramVersion, Share};
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
use crate::{ClockLock, Event, Interrupt, Notice, SessionError, SettingsError, Sweep, Variant};

/// Where a variant's records go.
#[derive(Debug)]
pub enum Destination {
    /// A new run's folder.
    New {
        /// The folder.
        dir: PathBuf,
        /// The share of the cells that is measured; all of them where not given.
        shard: Option<Share>,
    },
    /// An earlier run's folder, for the cells that it lacks.
    Earlier {
        /// The folder.
        folder: RunFolder,
        /// Whether another sweep or environment may go on with it.
        allow_mixed: bool,
    },
}

/// Whether a session checks that engines compute the same before they are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Each engine is asked, unless what it answered before is kept and nothing has changed.
    Changed,
    /// Each engine is asked.
    Again,
    /// No engine is asked.
    Never,
}

/// What a session does beside measuring.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The program that measures.
    pub program: ProgramVersion,
    /// Measure the device's peaks before the first cell of a new run.
    pub peaks: bool,
    /// Whether engines are verified before they are timed.
    pub verify: Verify,
    /// Refuse a GPU that other programs use.
    pub exclusive: bool,
    /// Wait until other processes use little of the processors, and refuse a machine that stays busy.
    pub require_idle: bool,
}

/// Everything that is resolved, locked and open for measuring.
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
    /// Hears the engines out, reads the environment, locks GPU clocks, opens the folders and measures peaks. Two variants are
    /// a baseline and its candidate; new folders then say that they are a pair.
    ///
    /// # Errors
    /// Where an engine, the GPU or a folder can't be used: found before a cell is measured.
    ///
    /// # Panics
    /// Where there is no variant.
    pub fn begin(
        mut variants: Vec<(Variant, Destination)>,
        options: &SessionOptions,
        notify: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Self, SessionError> {
        let started = Instant::now();
        let environments = variants
            .iter()
            .map(|(variant, _)| collect_environment(variant, &options.program, notify))
            .collect::<Result<Vec<_>, _>>()?;
        // All compute on the same device.
        let sweep = &variants.last().expect("a variant").0.sweep;
        let gpu = watch_gpu(sweep.setup.device, options.exclusive, notify)?;
        for ((variant, destination), environment) in variants.iter_mut().zip(&environments) {
            if let Destination::Earlier { folder, allow_mixed } = destination {
                let sweep = variant.sweep.to_toml();
                if let Some(unrecorded) = folder.resume(&sweep, environment.clone(), *allow_mixed)? {
                    notify(Notice::Unrecorded(&unrecorded));
                }
            }
        }
        // Before the peaks: they are figures, too.
        if options.require_idle {
            require_idle(notify)?;
        }
        // After the folders: a run that is refused leaves the clocks alone.
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
        // Measured once, for all variants.
        let mut peaks = if options.peaks { None } else { Some(None) };
        for ((variant, destination), environment) in variants.into_iter().zip(environments) {
            let is_baseline = session.folders.is_empty();
            session.folders.push(match destination {
                Destination::Earlier { folder, .. } => folder,
                Destination::New { dir, shard } => {
                    let pair = pair_id.clone().map(|id| Pair { id, is_baseline });
                    RunFolder::create(&dir, &variant.sweep.to_toml(), || {
                        let measure = || peaks_of_run(&variant, &environment.engines, notify);
                        let peaks = peaks.get_or_insert_with(|| clocked(&mut session.peaks_took, measure));
                        Environment { peaks: peaks.clone(), shard, pair, ..environment }
                    })?
                }
            });
            session.variants.push(variant);
        }
        Ok(session)
    }

    /// The sweep, as the first variant has it.
    pub fn sweep(&self) -> &Sweep {
        &self.variants[0].sweep
    }

    /// The folder of each variant.
    pub fn folders(&self) -> &[RunFolder] {
        &self.folders
    }

    /// A watch over the GPU that computes, where there is one.
    pub fn gpu(&self) -> Option<&GpuWatch> {
        self.gpu.as_ref()
    }

    /// The time since the session began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Measures every cell that the folders lack, interleaved where there are several variants. From here on Ctrl-C asks it to stop.
    ///
    /// # Errors
    /// Where a folder can't be written, or a model is not what it was when the run began. Whatever happens to a cell is a record, not an
    /// error.
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
                        .map(|model| (model.name.clone(), Verifier::new(variant, model, &kept)))
                        .collect(),
                }
            })
            .collect();
        let mut summary = measure(&mut runs, on_event)?;
        summary.time.peaks = self.peaks_took;
        Ok(summary)
    }
}

/// Locks the GPU's clocks where the sweep asks for it, until the result is dropped.
///
/// # Errors
/// Where the driver does not do it.
pub fn lock_clocks(sweep: &Sweep) -> Result<Option<ClockLock>, SettingsError> {
    let take = |setting| ClockLock::take(setting, sweep.setup.device, &sweep.setup.processes());
    sweep.lock_gpu_clocks.as_ref().map(take).transpose()
}

/// A watch over the GPU that computes, where there is one; others who use it are told, or refused where it is to be ours alone.
fn watch_gpu(
    device: Device,
    exclusive: bool,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<Option<GpuWatch>, SettingsError> {
    let refuse = |what| Err(SettingsError { origin: "--exclusive".into(), what });
    let Some(gpu) = Gpus::find().ok().and_then(|gpus| gpus.watch(device)) else {
        if exclusive && device != Device::Cpu {
            return refuse(format!("nobody says who uses {device}: see `llama2-bench doctor`"));
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

/// What two new folders have in common, and no others; `None` for a session of one variant.
fn pair_id(variants: &[(Variant, Destination)], environments: &[Environment]) -> Option<String> {
    let [(_, Destination::New { dir, .. }), _] = variants else { return None };
    let seed = format!("{} {} {}", environments[0].started, std::process::id(), dir.display());
    Some(llama::sha256_hex(seed.as_bytes())[..16].to_owned())
}
