//! The environment of a run: engines as their workers describe themselves, programs, models, the machine.

use std::collections::BTreeMap;

use machine::gpu::Gpus;
use machine::read_environment;
use protocol::{Environment, Hello, ModelFacts, ProgramVersion};

use crate::worker::requests::{greet, greet_ranks, why};
use crate::{Model, Notice, SessionError, SettingsError, Variant, WorkerError};

/// Starts every engine of the sweep to learn who it is, and checks that it has the device and the options that it is given.
///
/// # Errors
/// Where an engine can't be started, can't use the device or does not have an option: found before anything is loaded
/// or written.
pub fn greet_all(
    variant: &Variant,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<BTreeMap<String, Hello>, SettingsError> {
    greet_each(variant, notify).into_iter().map(|(engine, hello)| Ok((engine, hello?))).collect()
}

/// [`greet_all`] with an answer for each engine, in the sweep's order.
pub fn greet_each(
    variant: &Variant,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Vec<(String, Result<Hello, SettingsError>)> {
    let Variant { sweep, engines } = variant;
    let mut hello = |engine: &String| {
        notify(Notice::Greeting { engine });
        let error =
            |error: WorkerError| SettingsError { origin: format!("engine {engine}"), what: why(&error) };
        let setup = &sweep.setup;
        // One process first: a program without ranks would start as many workers.
        let hello = greet(engines, engine, setup.limits()).map_err(error)?;
        setup.check_device(engine, &hello)?;
        setup.check_options(engine, &hello)?;
        setup.check_ranks(engine, &hello)?;
        setup.check_asked(engine, &hello)?;
        let processes = setup.processes();
        if processes.is_one() {
            return Ok(hello);
        }
        greet_ranks(engines, engine, setup.limits(), &processes).map_err(error)
    };
    sweep.selected_engines().map(|engine| (engine.clone(), hello(engine))).collect()
}

/// Checks the options of the sweep's engines against what their workers say that they have; what could not be checked because a
/// worker does not start here, a line each. Engines without options are not started.
///
/// # Errors
/// Where an engine does not have an option, or not with that value.
pub fn check_options(variant: &Variant) -> Result<Vec<String>, SettingsError> {
    let Variant { sweep, engines } = variant;
    let mut unchecked = Vec::new();
    for engine in sweep.selected_engines().filter(|engine| !sweep.setup.options_of(engine).is_empty()) {
        match greet(engines, engine, sweep.setup.limits()) {
            Ok(hello) => sweep.setup.check_options(engine, &hello)?,
            Err(error) => {
                unchecked.push(format!("the options of {engine} were not checked: {}", why(&error)));
            }
        }
    }
    Ok(unchecked)
}

/// Starts every engine's worker once and reads the machine; `program` is the one that measures. Also what the workers said, with the
/// paths of their libraries.
pub(crate) fn collect_environment(
    variant: &Variant,
    program: &ProgramVersion,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<(Environment, BTreeMap<String, Hello>), SessionError> {
    let Variant { sweep, engines } = variant;
    let hellos = greet_all(variant, notify)?;
    let facts = |model: &Model| {
        let fingerprint = llama::fingerprint(&model.source)?;
        Ok((model.name.clone(), ModelFacts { fingerprint, config: model.config.to_json() }))
    };
    // One model may be there in several precisions.
    let models: BTreeMap<&str, &Model> =
        sweep.models.iter().map(|model| (model.name.as_str(), model)).collect();
    let models = models.into_values().map(facts).collect::<Result<_, SessionError>>()?;
    let of_engine = |engine: &String| Some(engines.get(engine)?.facts().map(|facts| (engine.clone(), facts)));
    let programs = sweep.selected_engines().filter_map(of_engine).collect::<Result<_, _>>()?;
    let gpus = Gpus::find().map(|gpus| gpus.facts()).unwrap_or_default();
    let locked_gpu_clocks = sweep.lock_gpu_clocks.as_ref().map(|setting| setting.value);
    let environment = read_environment(program.clone(), hellos.clone(), programs, models, gpus);
    let environment = Environment { locked_gpu_clocks, engines_file: engines.file().cloned(), ..environment };
    Ok((environment, hellos))
}
