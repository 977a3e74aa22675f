//! Verifies that the engines compute the same, before they are timed.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Agreement, Device, Fidelity, Generated, Hello, Precision, ProductInputs, Verification};

use crate::run::agreement::{compare, no_answer};
use crate::run::fidelity;
use crate::run::kept_answers::{AnswerKey, KeptAnswers, ModelIdentity, Question};
use crate::worker::requests::{generate_with, load_model, start_worker, why};
use crate::{Event, Model, Setup, Variant, Worker, WorkerError, WorkerProcesses};

/// The engine that the others are compared with where the model is small enough for it.
pub const REFERENCE: &str = "reference";
/// The engine that computes nothing.
pub const MOCK: &str = "mock";
/// The largest model for the reference, which takes about a second for 2·10⁹ parameter-tokens.
const LARGEST_FOR_REFERENCE: u64 = 200_000_000;
const BATCH_SIZE: u32 = 2;
const PROMPT_LENGTH: u32 = 16;
const NEW_TOKENS: u32 = 8;

/// Has every engine of the sweep generate a few tokens with `model`, each in its own worker, and compares them. The answers are kept for
/// runs; earlier answers are not used. `None` where the sweep has only the mock engine, which computes nothing.
///
/// # Errors
/// [`WorkerError::Interrupted`] alone: an engine that fails is a finding.
pub fn verify(
    variant: &Variant,
    model: &Model,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Verification>, WorkerError> {
    let kept = KeptAnswers::of_user(true);
    let mut verifier = Verifier::new(variant, model, &kept);
    verifier.ask_reference(on_event)?;
    verifier.ask_the_rest(|_| true, on_event)?;
    verifier.ask_fidelity(on_event)?;
    Ok(verifier.verification())
}

/// The engines of a variant, compared on one model as they answer.
pub(crate) struct Verifier<'a> {
    variant: &'a Variant,
    model: &'a Model,
    kept: &'a KeptAnswers,
    question: Question,
    /// The reference's answer, or its error; `None` where it is not asked.
    reference: Option<Result<Answer, String>>,
    answers: BTreeMap<&'a str, Result<Answer, NoAnswer>>,
    fidelity: Option<Fidelity>,
    /// Whether there were answers since [`Verifier::news`].
    has_news: bool,
}

struct Answer {
    generated: Generated,
    /// `None` where it can't be kept.
    key: Option<AnswerKey>,
    /// When it was computed (UTC), if an earlier run did it.
    reused: Option<String>,
}

struct NoAnswer {
    error: String,
    /// Whether it had the model loaded.
    was_asked: bool,
}

impl<'a> Verifier<'a> {
    /// Creates a verifier that has asked nobody yet.
    pub(crate) fn new(variant: &'a Variant, model: &'a Model, kept: &'a KeptAnswers) -> Self {
        let context = model.config.max_position_embeddings as u32;
        let length = PROMPT_LENGTH.min(context / 2).max(1);
        let vocab_size = model.config.vocab_size as u32;
        let seed = variant.sweep.seed.into();
        let question = Question {
            model: ModelIdentity::read(&model.source),
            precision: model.precision,
            prompt_ids: llama::prompt::seeded_prompt(BATCH_SIZE, length, vocab_size, seed),
            new_tokens: NEW_TOKENS.min(context - length).max(1),
        };
        Self {
            variant,
            model,
            kept,
            question,
            reference: None,
            answers: BTreeMap::new(),
            fidelity: None,
            has_news: false,
        }
    }

    /// Gets the reference's answer, if the reference is used.
    ///
    /// # Errors
    /// [`WorkerError::Interrupted`] alone.
    pub(crate) fn ask_reference(&mut self, on_event: &mut dyn FnMut(Event<'_>)) -> Result<(), WorkerError> {
        let Variant { sweep, engines } = self.variant;
        // The reference computes the whole model, with the sums over ranks that a single rank leaves out.
        let is_used = self.compared().next().is_some()
            && !sweep.setup.one_rank
            && engines.get(REFERENCE).is_some()
            && llama::cost::parameters(&self.model.config) <= LARGEST_FOR_REFERENCE;
        if is_used {
            let setup = reference_setup(&sweep.setup);
            on_event(Event::Verifying { engine: REFERENCE, model: &self.model.label });
            self.reference = Some(match self.answer(&setup, REFERENCE) {
                Ok(answer) => {
                    self.keep(&answer);
                    Ok(answer)
                }
                Err(WorkerError::Interrupted) => return Err(WorkerError::Interrupted),
                Err(error) => Err(why(&error)),
            });
        }
        Ok(())
    }

    /// Whether the engine has not answered yet, so that a worker with the model should be asked.
    pub(crate) fn is_open(&self, engine: &str) -> bool {
        engine != MOCK
            && self.answers.get(engine).is_none_or(|answer| matches!(answer, Err(no) if !no.was_asked))
    }

    /// Asks a worker that has the model loaded, unless its answer is kept, and reports the result.
    ///
    /// # Errors
    /// Why it did not answer, which is also recorded, or that the user interrupts.
    pub(crate) fn ask(
        &mut self,
        engine: &str,
        worker: &mut Worker,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), WorkerError> {
        let key = self.key(&self.variant.sweep.setup, engine, &worker.hello, &self.question);
        let answer = match self.recall(key.as_ref()) {
            Some(answer) => Ok(answer),
            None => {
                on_event(Event::Verifying { engine, model: &self.model.label });
                generate(key, worker, self.model, &self.question)
            }
        };
        let failure = match answer {
            Err(WorkerError::Interrupted) => return Err(WorkerError::Interrupted),
            Err(error) => Some(error),
            Ok(answer) => {
                self.accept(engine, answer);
                None
            }
        };
        if let Some(error) = &failure {
            self.note_failure(engine, why(error), true);
        }
        self.tell(engine, on_event);
        failure.map_or(Ok(()), Err)
    }

    /// Records that an engine can't load the model, until it does.
    pub(crate) fn not_loaded(&mut self, engine: &str, error: String, on_event: &mut dyn FnMut(Event<'_>)) {
        let is_new = !self.answers.contains_key(engine);
        self.note_failure(engine, error, false);
        if is_new {
            self.tell(engine, on_event);
        }
    }

    /// Forgets that an engine failed, since there will be more room.
    pub(crate) fn forget_failure(&mut self, engine: &str) {
        if matches!(self.answers.get(engine), Some(Err(_))) {
            self.answers.remove(engine);
        }
    }

    /// Asks the engines that have not answered yet and for which `is_asked` is true, each in its own worker.
    ///
    /// # Errors
    /// [`WorkerError::Interrupted`] alone.
    pub(crate) fn ask_the_rest(
        &mut self,
        is_asked: impl Fn(&str) -> bool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), WorkerError> {
        // A kept answer that a later one contradicts is forgotten, and its engine is asked again.
        let next = |verifier: &Self| {
            verifier.compared().find(|engine| is_asked(engine) && !verifier.answers.contains_key(engine))
        };
        while let Some(engine) = next(self) {
            on_event(Event::Verifying { engine, model: &self.model.label });
            match self.answer(&self.variant.sweep.setup, engine) {
                Ok(answer) => self.accept(engine, answer),
                Err(WorkerError::Interrupted) => return Err(WorkerError::Interrupted),
                Err(error) => self.note_failure(engine, why(&error), true),
            }
            self.tell(engine, on_event);
        }
        Ok(())
    }

    /// Measures how far a quantized model is from the unquantized one, by the reference or the first engine that answered; nothing where the
    /// model is not quantized, or stored quantized. An engine that does not answer leaves it out.
    ///
    /// # Errors
    /// [`WorkerError::Interrupted`] alone.
    pub(crate) fn ask_fidelity(&mut self, on_event: &mut dyn FnMut(Event<'_>)) -> Result<(), WorkerError> {
        let (model, setup) = (self.model, &self.variant.sweep.setup);
        let is_wanted = model.precision.quantization().is_some() && model.config.quantization.is_none();
        if !is_wanted || self.fidelity.is_some() {
            return Ok(());
        }
        let (setup, engine) = match &self.reference {
            Some(Ok(_)) => (reference_setup(setup), REFERENCE),
            _ => match self.compared().find(|engine| matches!(self.answers.get(engine), Some(Ok(_)))) {
                Some(engine) => (setup.clone(), engine),
                None => return Ok(()),
            },
        };
        let compared_with = Precision::from(model.precision.activations(self.variant.sweep.setup.device));
        let whole = Model { precision: compared_with, ..model.clone() };
        let label = format!("{}, compared with {compared_with}", model.label);
        on_event(Event::Verifying { engine, model: &label });
        let seed = self.variant.sweep.seed.into();
        let length = self.question.prompt_ids.first().map_or(1, Vec::len) as u32;
        let mut both = Vec::new();
        for model in [model, &whole] {
            let vocab_size = model.config.vocab_size as u32;
            let question = Question {
                precision: model.precision,
                prompt_ids: llama::prompt::seeded_prompt(fidelity::PROMPTS, length, vocab_size, seed),
                new_tokens: 1,
                ..self.question.clone()
            };
            match self.answer_to(&setup, engine, model, &question) {
                Ok(answer) => {
                    self.keep(&answer);
                    both.push(answer.generated);
                }
                Err(WorkerError::Interrupted) => return Err(WorkerError::Interrupted),
                Err(_) => return Ok(()),
            }
        }
        let Some(distances) = fidelity::distances(&both[0], &both[1]) else { return Ok(()) };
        let kl = || distances.iter().map(|distance| distance.kl);
        self.fidelity = Some(Fidelity {
            compared_with,
            computed_by: engine.to_owned(),
            prompts: distances.len() as u32,
            mean_kl: kl().sum::<f64>() / distances.len() as f64,
            largest_kl: kl().fold(0.0, f64::max),
            same_top_token: distances.iter().filter(|distance| distance.same_top).count() as u32,
        });
        self.has_news = true;
        Ok(())
    }

    /// The verification so far, if it has changed since the last call.
    pub(crate) fn news(&mut self) -> Option<Verification> {
        std::mem::take(&mut self.has_news).then(|| self.verification()).flatten()
    }

    /// The verification of the engines that have answered, in the sweep's order; `None` where the sweep has only the mock engine. Without
    /// a reference, the first engine that answered takes its place.
    pub(crate) fn verification(&self) -> Option<Verification> {
        self.compared().next()?;
        let setup = &self.variant.sweep.setup;
        let mut reused = BTreeMap::new();
        let mut note = |engine: &str, answer: &Answer| {
            reused.extend(answer.reused.clone().map(|time| (engine.to_owned(), time)));
        };
        let (mut against, mut reference_error) = (None, None);
        match &self.reference {
            Some(Ok(answer)) => {
                note(REFERENCE, answer);
                against = Some((REFERENCE, &answer.generated));
            }
            Some(Err(error)) => reference_error = Some(error.clone()),
            None => {}
        }
        let mut agreements = Vec::new();
        for engine in self.compared() {
            let answer = match self.answers.get(engine) {
                None => continue,
                Some(Err(NoAnswer { error, .. })) => {
                    agreements.push((no_answer(engine, error), None));
                    continue;
                }
                Some(Ok(answer)) => answer,
            };
            note(engine, answer);
            match against {
                Some((_, expected)) => {
                    let inputs = answer.generated.product_inputs.or(expected.product_inputs);
                    agreements.push((compare(engine, &answer.generated, expected), inputs));
                }
                None => against = Some((engine, &answer.generated)),
            }
        }
        let largest_logit = against.map_or(0.0, |(_, generated)| {
            let logits = generated.logits.iter().flatten().flatten().flatten();
            logits.fold(0.0f64, |largest, &logit| largest.max(f64::from(logit.abs())))
        });
        let scale = largest_logit.max(1.0);
        let with_tolerance = |(agreement, inputs): (Agreement, Option<ProductInputs>)| {
            let own_tolerance = inputs.map(|inputs| relative_tolerance(inputs) * scale);
            Agreement { own_tolerance, ..agreement }
        };
        let inputs = self.model.precision.activations(setup.device).into();
        Some(Verification {
            model: self.model.name.clone(),
            precision: self.model.precision,
            against: against.map(|(engine, _)| engine.to_owned()),
            reference_error,
            largest_logit,
            tolerance: relative_tolerance(inputs) * scale,
            agreements: agreements.into_iter().map(with_tolerance).collect(),
            part: 1,
            reused,
            fidelity: self.fidelity.clone(),
        })
    }

    /// The engines that are compared, in the sweep's order.
    fn compared(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.variant.sweep.selected_engines().map(String::as_str).filter(|engine| *engine != MOCK)
    }

    /// Gets an engine's answer, which is kept or comes from a worker of its own.
    fn answer(&self, setup: &Setup, engine: &str) -> Result<Answer, WorkerError> {
        self.answer_to(setup, engine, self.model, &self.question)
    }

    /// An engine's answer to a question about a model.
    fn answer_to(
        &self,
        setup: &Setup,
        engine: &str,
        model: &Model,
        question: &Question,
    ) -> Result<Answer, WorkerError> {
        let mut worker = start_worker(setup, &self.variant.engines, engine)?;
        let key = self.key(setup, engine, &worker.hello, question);
        let answer = match self.recall(key.as_ref()) {
            Some(answer) => answer,
            None => {
                load_model(setup, model, engine, &mut worker, &mut |_| ())?;
                generate(key, &mut worker, model, question)?
            }
        };
        // How it ends matters when it has measured a cell.
        let _ = worker.shutdown();
        Ok(answer)
    }

    fn recall(&self, key: Option<&AnswerKey>) -> Option<Answer> {
        let (generated, computed) = self.kept.read(key?)?;
        Some(Answer { generated, key: key.cloned(), reused: Some(computed) })
    }

    fn key(&self, setup: &Setup, engine: &str, hello: &Hello, question: &Question) -> Option<AnswerKey> {
        AnswerKey::new(self.variant.engines.get(engine)?, hello, setup, question)
    }

    fn keep(&self, answer: &Answer) {
        // The model may have changed meanwhile; the answer is then not its own.
        let is_same = || ModelIdentity::read(&self.model.source) == self.question.model;
        if let (Some(key), None) = (&answer.key, &answer.reused)
            && is_same()
        {
            self.kept.write(key, &answer.generated);
        }
    }

    fn note_failure(&mut self, engine: &str, error: String, was_asked: bool) {
        if let Some(engine) = self.compared().find(|compared| *compared == engine)
            && !matches!(self.answers.get(engine), Some(Ok(_)))
        {
            self.answers.insert(engine, Err(NoAnswer { error, was_asked }));
            self.has_news = true;
        }
    }

    fn accept(&mut self, engine: &str, answer: Answer) {
        let Some(engine) = self.compared().find(|compared| *compared == engine) else { return };
        self.answers.insert(engine, Ok(answer));
        self.has_news = true;
        let doubted = self.doubted();
        // Contradicted answers are forgotten, and their engines are asked again.
        for engine in &doubted {
            if let Some(Ok(Answer { key: Some(key), reused, .. })) = self.answers.get(engine) {
                self.kept.remove(key);
                if reused.is_some() {
                    self.answers.remove(engine);
                }
            }
        }
        if let Some(Ok(answer)) = self.answers.get(engine)
            && !doubted.contains(engine)
        {
            self.keep(answer);
        }
    }

    /// Reports the verification when all engines have answered, or when this one differs.
    fn tell(&self, engine: &str, on_event: &mut dyn FnMut(Event<'_>)) {
        let Some(verification) = self.verification() else { return };
        let is_whole = self.compared().all(|engine| self.answers.contains_key(engine));
        if is_whole
            || verification.agreements.iter().any(|one| one.engine == engine && differs(&verification, one))
        {
            on_event(Event::Verified(&verification));
        }
    }

    /// Engines whose answers differ; all engines where one differs and no reference tells which is wrong.
    fn doubted(&self) -> BTreeSet<&'a str> {
        let Some(verification) = self.verification() else { return BTreeSet::new() };
        let find = |engine: &str| verification.agreements.iter().find(|one| one.engine == engine);
        let differing: BTreeSet<_> = self
            .compared()
            .filter(|engine| find(engine).is_some_and(|one| differs(&verification, one)))
            .collect();
        let knows_which = differing.is_empty() || matches!(self.reference, Some(Ok(_)));
        if knows_which { differing } else { self.compared().collect() }
    }
}

/// The reference always computes on the processor and without limits.
fn reference_setup(setup: &Setup) -> Setup {
    let mut setup = setup.clone();
    (setup.device, setup.memory_limit, setup.ranks) = (Device::Cpu, None, WorkerProcesses::ONE);
    setup.device_memory_limit = None;
    setup
}

/// Asks a worker that has `model` loaded.
fn generate(
    key: Option<AnswerKey>,
    worker: &mut Worker,
    model: &Model,
    Question { prompt_ids, new_tokens, .. }: &Question,
) -> Result<Answer, WorkerError> {
    let generated = generate_with(worker, model, prompt_ids, *new_tokens, true)?;
    Ok(Answer { generated, key, reused: None })
}

/// The largest error of a logit that counts as rounding, as a share of the largest logit. That of INT8 is as many times the error of a
/// product as that of FP16: its activations are off by 5·10⁻³ of their own size, FP16's by 5·10⁻⁴ (docs/concepts/quantization.md).
fn relative_tolerance(inputs: ProductInputs) -> f64 {
    match inputs {
        ProductInputs::Fp32 => 1e-4,
        ProductInputs::Fp16 => 2e-2,
        ProductInputs::Bf16 => 1e-1,
        ProductInputs::Int8 => 2e-1,
    }
}

/// Whether an engine answered something else. The cells show an engine that could not answer.
pub(crate) fn differs(verification: &Verification, agreement: &Agreement) -> bool {
    agreement.error.is_none() && !verification.agrees(agreement)
}
