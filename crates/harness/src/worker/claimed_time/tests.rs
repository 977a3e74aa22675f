use protocol::Memory;

use super::*;

/// Where a worker says that it stands, in seconds after the request: phase, forwards done.
type ProgressLines<'a> = &'a [(f64, Phase, u32)];

/// 3 warm-ups, 10 prefills of 10 ms; a warm-up of 1 + 3 forwards, one generation of 100 decode forwards of 4 ms.
fn request() -> MeasureRequest {
    let procedure = Procedure { warmup_runs: 3, prompt_runs: 10, generations: 1, ..Procedure::default() };
    MeasureRequest { prompt_ids: vec![vec![1]], generation_length: 100, procedure, collectives: false }
}

/// The figures of [`request`], of a worker that tells these shares of its timed prefills and of its generations.
fn figures(prompt: f64, generation: f64) -> Measured {
    let generation = Generation {
        prompt_seconds: 0.01 * generation,
        token_seconds: vec![0.004 * generation; 100],
        wall_seconds: 0.411 * generation,
    };
    Measured {
        prompt_seconds: vec![0.01 * prompt; 10],
        generations: vec![generation],
        device_seconds: None,
        memory: Memory::default(),
        ranks: Vec::new(),
        collectives: None,
        tokens_sha256: String::new(),
    }
}

fn times(request: &MeasureRequest, lines: ProgressLines<'_>, answered: f64) -> CellTimes {
    let mut times = CellTimes::start(request);
    let at = |seconds: f64, times: &CellTimes| times.asked + Duration::from_secs_f64(seconds);
    for &(seconds, phase, done) in lines {
        let progress = Progress { phase, done, of: 0, last_seconds: None };
        times.on_progress(&progress, at(seconds, &times));
    }
    times.on_answer(at(answered, &times));
    times
}

fn unexplained(lines: ProgressLines<'_>, answered: f64, measured: &Measured) -> Vec<Phase> {
    let found = times(&request(), lines, answered).unexplained(measured, 1);
    found.iter().map(Unexplained::phase).collect()
}

use Phase::{Decode, Prompt};

/// A worker that says only that a phase begins, and takes the time of honest figures: 0.13 s, then 0.022 + 0.411 s.
const BEGINNINGS: ProgressLines<'_> = &[(0.0, Prompt, 0), (0.13, Decode, 0)];
const END: f64 = 0.13 + 0.022 + 0.411;

#[test]
fn a_tenth_of_the_time_is_unexplained_in_each_phase_that_it_is_told_of() {
    assert_eq!(unexplained(BEGINNINGS, END, &figures(1.0, 1.0)), []);
    assert_eq!(unexplained(BEGINNINGS, END, &figures(0.1, 1.0)), [Prompt]);
    assert_eq!(unexplained(BEGINNINGS, END, &figures(1.0, 0.1)), [Decode]);
    // By the time in decode, the cache may take long to be emptied; not so long that decode is explained.
    assert_eq!(unexplained(BEGINNINGS, END, &figures(0.1, 0.1)), [Decode]);
    assert_eq!(unexplained(BEGINNINGS, END, &figures(0.5, 0.5)), [Decode]);
    assert_eq!(unexplained(BEGINNINGS, END, &figures(1e-3, 1e-3)), [Decode]);
}

#[test]
fn a_fifth_and_short_phases_may_be_unexplained() {
    assert_eq!(unexplained(BEGINNINGS, END, &figures(0.85, 0.85)), []);
    assert_eq!(unexplained(BEGINNINGS, END, &figures(0.7, 0.7)), [Decode]);
    // 40 ms of 41: a thread that was kept from its core looks like that.
    let lines: ProgressLines<'_> = &[(0.0, Prompt, 0), (0.04, Decode, 0)];
    assert_eq!(unexplained(lines, 0.04 + END - 0.13, &figures(0.01, 1.0)), []);
}

#[test]
fn a_cache_that_is_emptied_slowly_takes_as_long_in_both_phases() {
    // 100 ms before each of 13 prefills and each of 2 generations.
    let lines: ProgressLines<'_> = &[(0.0, Prompt, 0), (1.43, Decode, 0)];
    assert_eq!(unexplained(lines, 1.43 + 0.433 + 0.2, &figures(1.0, 1.0)), []);
    // As long in the prompt's phase alone.
    assert_eq!(unexplained(lines, 1.43 + 0.433, &figures(1.0, 1.0)), [Prompt]);
}

#[test]
fn a_line_where_the_warm_ups_end_leaves_out_what_was_compiled_in_them() {
    let compiled: ProgressLines<'_> =
        &[(0.0, Prompt, 0), (60.03, Prompt, 3), (60.13, Decode, 0), (90.0, Decode, 4), (90.411, Decode, 105)];
    assert_eq!(unexplained(compiled, 90.5, &figures(1.0, 1.0)), []);
    assert_eq!(unexplained(compiled, 90.5, &figures(0.1, 1.0)), [Prompt]);
    assert_eq!(unexplained(compiled, 90.5, &figures(1.0, 0.1)), [Decode]);
    // A line now and then does nearly as well: the first behind the warm-ups, where it leaves half of the timed forwards.
    let sampled: ProgressLines<'_> =
        &[(0.0, Prompt, 0), (60.05, Prompt, 5), (60.13, Decode, 0), (90.1, Decode, 30), (90.3, Decode, 80)];
    assert_eq!(unexplained(sampled, 90.4, &figures(1.0, 1.0)), []);
    assert_eq!(unexplained(sampled, 90.4, &figures(0.1, 1.0)), [Prompt]);
    assert_eq!(unexplained(sampled, 90.4, &figures(1.0, 0.1)), [Decode]);
    // Without one, a second measurement has to tell.
    assert_eq!(
        unexplained(&[(0.0, Prompt, 0), (60.13, Decode, 0)], 60.13 + 0.433, &figures(1.0, 1.0)),
        [Prompt]
    );
}

#[test]
fn what_follows_the_timed_generations_does_not_count_where_their_end_was_told() {
    let lines: ProgressLines<'_> =
        &[(0.0, Prompt, 0), (0.13, Decode, 0), (0.152, Decode, 4), (0.563, Decode, 105)];
    assert_eq!(unexplained(lines, 30.0, &figures(1.0, 1.0)), []);
    // Nor, of several ranks, the generation for the share of collectives, whose end nobody told.
    let request = MeasureRequest { collectives: true, ..request() };
    assert!(times(&request, &lines[..3], 30.0).unexplained(&figures(1.0, 1.0), 2).is_empty());
}

#[test]
fn ranks_may_wait_for_each_other_but_not_most_of_the_time() {
    let found = |share: f64, world_size: u32| {
        let lines: ProgressLines<'_> = &[(0.0, Prompt, 0), (0.13, Decode, 0)];
        times(&request(), lines, END).unexplained(&figures(1.0, share), world_size).len()
    };
    assert_eq!([found(0.5, 1), found(0.5, 2), found(0.1, 2)], [1, 0, 1]);
}

#[test]
fn a_worker_that_says_nothing_is_held_to_all_of_its_time() {
    assert_eq!(unexplained(&[], END, &figures(1.0, 1.0)), []);
    assert_eq!(unexplained(&[], END, &figures(1.0, 0.1)), [Prompt]);
}

/// Whether a second measurement confirms what was found in a first, both with these seconds: (claimed, passed).
fn is_confirmed(first: (f64, f64), second: (f64, f64)) -> bool {
    let span = |(claimed, passed)| Unexplained(PhaseSpan { phase: Decode, passed, claimed, resets: 1.0 });
    span(first).is_confirmed_by(&span(second))
}

#[test]
fn a_second_measurement_tells_a_wrong_clock_from_a_slow_warm_up() {
    // Twice the forwards take twice the time: they take ten times what is claimed, or twice.
    assert!(is_confirmed((0.1, 1.0), (0.2, 2.0)));
    assert!(is_confirmed((0.5, 1.0), (1.0, 2.0)));
    // A quarter of the forwards, where a phase is long.
    assert!(is_confirmed((1.0, 10.0), (0.25, 2.6)));
    // What compiles takes as long again, more or less, whatever the number of forwards.
    assert!(!is_confirmed((0.1, 60.1), (0.2, 60.2)));
    assert!(!is_confirmed((0.1, 60.1), (0.2, 66.0)));
    assert!(!is_confirmed((1.0, 2.0), (2.0, 3.05)));
    assert!(!is_confirmed((8.0, 20.0), (2.0, 14.5)));
    // It took long once.
    assert!(!is_confirmed((0.1, 60.1), (0.2, 0.3)));
}

#[test]
fn a_second_measurement_has_another_number_of_forwards_in_each_phase() {
    let short = times(&request(), BEGINNINGS, END).second_request(&request());
    assert_eq!(
        (short.procedure.prompt_runs, short.procedure.generations, short.generation_length),
        (23, 3, 100)
    );
    let long = times(&request(), &[(0.0, Prompt, 0), (60.0, Decode, 0)], 120.0).second_request(&request());
    assert_eq!((long.procedure.prompt_runs, long.procedure.generations, long.generation_length), (1, 1, 25));
    // Nothing to leave out.
    let procedure = Procedure { prompt_runs: 1, ..request().procedure };
    let small = MeasureRequest { generation_length: 1, procedure, ..request() };
    let more = times(&small, &[(0.0, Prompt, 0), (60.0, Decode, 0)], 120.0).second_request(&small);
    assert_eq!((more.procedure.prompt_runs, more.procedure.generations, more.generation_length), (5, 3, 1));
}
