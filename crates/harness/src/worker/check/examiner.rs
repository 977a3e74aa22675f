//! The worker that is checked, started again where a check ended it.

use crate::worker::check::rules::{self, ProtocolRule};
use crate::worker::process::PLAIN_REPLY;
use crate::{
    Check, CheckError, CheckOutcome, EngineCommand, Evidence, Limits, Worker, WorkerEnd, WorkerError,
    WorkerProcesses, classify,
};
use protocol::{Hello, Phase, Reply, Request};

/// Answers that may fail to come in time until the rest is skipped: each costs its deadline.
const MOST_TIMEOUTS: u32 = 2;

/// What a check needs before it asks.
#[derive(Clone, Copy)]
pub(super) enum Needs<'a> {
    /// A process that was asked nothing yet.
    FreshWorker,
    /// Any process.
    Worker,
    /// A process that has the model.
    Model,
    /// A process of these ranks that was asked nothing yet.
    Ranks(&'a WorkerProcesses),
}

/// What a check found.
pub(super) enum CheckResult {
    /// The worker does as the rule says.
    Ok,
    /// Something else came.
    Wrong(String),
    /// It could not be checked; why.
    Skipped(String),
}

/// What a check does with a worker.
type Body<'a> = &'a mut dyn FnMut(&mut Worker) -> Result<CheckResult, WorkerError>;

/// Asks one worker after another, and keeps what came.
pub(super) struct Examiner<'a> {
    command: &'a EngineCommand,
    limits: Limits,
    tell: &'a mut dyn FnMut(&Check),
    worker: Option<Worker>,
    /// The request that loads the model, once it was answered well.
    load: Option<Request>,
    has_model: bool,
    timeouts: u32,
    /// What came between an answer and the next request.
    unasked: Option<String>,
    pub(super) checks: Vec<Check>,
}

impl<'a> Examiner<'a> {
    pub(super) fn new(command: &'a EngineCommand, limits: Limits, tell: &'a mut dyn FnMut(&Check)) -> Self {
        Self {
            command,
            limits,
            tell,
            worker: None,
            load: None,
            has_model: false,
            timeouts: 0,
            unasked: None,
            checks: Vec::new(),
        }
    }

    /// Starts the worker for the first time; `None` where it runs, and says no hello.
    ///
    /// # Errors
    /// Where it does not run, or says in the place of hello why it can't start.
    pub(super) fn greet(&mut self) -> Result<Option<Hello>, CheckError> {
        match self.spawn(&WorkerProcesses::ONE) {
            Ok(worker) => {
                let hello = worker.hello.clone();
                self.worker = Some(worker);
                self.conclude(&rules::HELLO, Ok(CheckResult::Ok));
                Ok(Some(hello))
            }
            Err(WorkerError::Interrupted) => Err(CheckError::Interrupted),
            Err(WorkerError::Evidence(evidence)) => {
                let why = classify(&evidence).error;
                if is_not_started(&evidence) {
                    return Err(CheckError::NotStarted(why));
                }
                self.conclude(&rules::HELLO, Ok(CheckResult::Wrong(why)));
                Ok(None)
            }
        }
    }

    /// Asks a worker, and keeps what came of it. A worker that broke the protocol before it took the request up is asked again, as in a run.
    pub(super) fn check(
        &mut self,
        rule: &ProtocolRule,
        needs: Needs<'_>,
        body: Body<'_>,
    ) -> Result<(), CheckError> {
        let (first, unasked) = self.ask(needs, body);
        let is_out_of_step = |end: &WorkerEnd| unasked.is_some() && matches!(end, WorkerEnd::Garbage(_));
        let verdict = match first {
            Err(WorkerError::Evidence(evidence))
                if evidence.is_not_taken_up || is_out_of_step(&evidence.end) =>
            {
                let (again, unasked_again) = self.ask(needs, body);
                let ended = again.is_ok().then(|| classify(&evidence).error);
                self.keep_unasked(unasked.or(unasked_again).or(ended), rule);
                again
            }
            first => {
                self.keep_unasked(unasked, rule);
                first
            }
        };
        let verdict = self.judge(verdict)?;
        self.conclude(rule, Ok(verdict));
        Ok(())
    }

    /// Keeps the first of what came without a request, before the check of a rule.
    fn keep_unasked(&mut self, what: Option<String>, rule: &ProtocolRule) {
        let what = what.map(|what| format!("{what} (before \"{}\")", rule.name));
        self.unasked = self.unasked.take().or(what);
    }

    /// Loads the model of the checks that need one.
    pub(super) fn check_loads(&mut self, load: Request) -> Result<(), CheckError> {
        self.check(&rules::LOAD, Needs::Worker, &mut |worker| ask_to_load(worker, &load))?;
        self.has_model = self.worker.is_some() && self.is_last_ok();
        self.load = self.is_last_ok().then_some(load);
        Ok(())
    }

    /// Checks that a process of its own ends when its stdin does.
    pub(super) fn check_end_of_input(&mut self) -> Result<(), CheckError> {
        self.check_end(&rules::END_OF_INPUT, false)
    }

    /// Checks shutdown, and says what came between requests.
    pub(super) fn end(&mut self) -> Result<(), CheckError> {
        if let Some(worker) = &mut self.worker {
            worker.hear_unasked();
            let unasked = worker.unasked.take();
            self.keep_unasked(unasked, &rules::SHUTDOWN);
        }
        let silence = self.unasked.take().map_or(CheckResult::Ok, CheckResult::Wrong);
        self.conclude(&rules::SILENCE, Ok(silence));
        self.check_end(&rules::SHUTDOWN, true)
    }

    fn check_end(&mut self, rule: &ProtocolRule, is_told: bool) -> Result<(), CheckError> {
        // Where the model was loaded, its worker is the one whose end matters.
        let needs = if self.load.is_some() { Needs::Model } else { Needs::FreshWorker };
        let verdict = match self.ready(needs) {
            Ok(None) => {
                let mut worker = self.worker.take().expect("a worker is ready");
                worker.hear_unasked();
                self.keep_unasked(worker.unasked.take(), rule);
                worker.allow_time_to_end();
                worker.finish(is_told).map(|()| CheckResult::Ok).map_err(WorkerError::Evidence)
            }
            Ok(Some(why)) => Ok(CheckResult::Skipped(why)),
            Err(error) => Err(error),
        };
        let verdict = self.judge(verdict)?;
        self.conclude(rule, Ok(verdict));
        Ok(())
    }

    /// Keeps the verdict on a rule; an error is why it could not be checked.
    pub(super) fn conclude(&mut self, rule: &ProtocolRule, verdict: Result<CheckResult, &str>) {
        let outcome = match verdict {
            Ok(CheckResult::Ok) => CheckOutcome::Ok,
            Ok(CheckResult::Wrong(found)) => CheckOutcome::Failed { expected: rule.expected.into(), found },
            Ok(CheckResult::Skipped(why)) => CheckOutcome::Skipped(why),
            Err(why) => CheckOutcome::Skipped(why.into()),
        };
        let check = Check { name: rule.name, section: rule.section, outcome };
        (self.tell)(&check);
        self.checks.push(check);
    }

    fn is_last_ok(&self) -> bool {
        self.checks.last().is_some_and(|check| check.outcome == CheckOutcome::Ok)
    }

    /// The verdict, and what came without a request.
    fn ask(
        &mut self,
        needs: Needs<'_>,
        body: Body<'_>,
    ) -> (Result<CheckResult, WorkerError>, Option<String>) {
        match self.ready(needs) {
            Ok(None) => {}
            Ok(Some(why)) => return (Ok(CheckResult::Skipped(why)), None),
            Err(error) => return (Err(error), None),
        }
        let worker = self.worker.as_mut().expect("a worker is ready");
        worker.hear_unasked();
        let verdict = body(worker);
        let unasked = worker.unasked.take();
        let goes_on = match &verdict {
            // A wrong answer may belong to another question, and the right one still come.
            Ok(verdict) => !matches!(verdict, CheckResult::Wrong(_)),
            Err(WorkerError::Evidence(evidence)) if matches!(evidence.end, WorkerEnd::Reported(_)) => true,
            Err(_) => false,
        };
        if !goes_on || matches!(needs, Needs::Ranks(_)) {
            self.drop_worker();
        }
        (verdict, unasked)
    }

    /// Makes a worker ready; the reason where none can be.
    fn ready(&mut self, needs: Needs<'_>) -> Result<Option<String>, WorkerError> {
        if self.timeouts >= MOST_TIMEOUTS {
            return Ok(Some(format!("{MOST_TIMEOUTS} earlier answers did not come in time")));
        }
        let is_kept = match needs {
            Needs::FreshWorker | Needs::Ranks(_) => false,
            Needs::Worker => self.worker.is_some(),
            Needs::Model => self.worker.is_some() && self.has_model,
        };
        if is_kept {
            return Ok(None);
        }
        if matches!(needs, Needs::Model) && self.load.is_none() {
            return Ok(Some("no model is loaded".into()));
        }
        self.drop_worker();
        let one = WorkerProcesses::ONE;
        let ranks = if let Needs::Ranks(ranks) = needs { ranks } else { &one };
        let mut worker = match self.spawn(ranks) {
            // This machine may lack what ranks need.
            Err(WorkerError::Evidence(evidence)) if !ranks.is_one() && is_not_started(&evidence) => {
                return Ok(Some(classify(&evidence).error));
            }
            worker => worker?,
        };
        if let (Needs::Model, Some(load)) = (needs, &self.load) {
            if let CheckResult::Wrong(found) = ask_to_load(&mut worker, load)? {
                return Ok(Some(format!("a second load is answered by {found}")));
            }
            self.has_model = true;
        }
        self.worker = Some(worker);
        Ok(None)
    }

    fn spawn(&self, ranks: &WorkerProcesses) -> Result<Worker, WorkerError> {
        Worker::spawn_ranks(self.command, self.limits.clone(), ranks)
    }

    fn drop_worker(&mut self) {
        self.worker = None;
        self.has_model = false;
    }

    /// The verdict where a worker may have ended instead of answering.
    fn judge(&mut self, verdict: Result<CheckResult, WorkerError>) -> Result<CheckResult, CheckError> {
        match verdict {
            Ok(verdict) => Ok(verdict),
            Err(WorkerError::Interrupted) => Err(CheckError::Interrupted),
            Err(WorkerError::Evidence(evidence)) => {
                self.timeouts += u32::from(matches!(evidence.end, WorkerEnd::TimedOut(..)));
                let said = classify(&evidence).error;
                Ok(CheckResult::Wrong(match evidence.end {
                    WorkerEnd::Reported(_) => format!("failed: {said}"),
                    _ => said,
                }))
            }
        }
    }
}

fn is_not_started(evidence: &Evidence) -> bool {
    matches!(evidence.end, WorkerEnd::NotStarted(_) | WorkerEnd::Exited { .. })
}

fn ask_to_load(worker: &mut Worker, load: &Request) -> Result<CheckResult, WorkerError> {
    match worker.ask(load, PLAIN_REPLY, &mut |_| ())? {
        Reply::Loaded(_) => Ok(CheckResult::Ok),
        _ => Err(worker.protocol_error(Phase::Load, "expected loaded".into())),
    }
}
