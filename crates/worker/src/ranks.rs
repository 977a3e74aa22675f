//! Several ranks that serve one pipe: rank 0 speaks, and all do what it is asked.
//!
//! Rank 0 gives each request to the others, every rank answers it by itself, and then they tell each other how that went.
//! A rank that failed while others wait for it in a collective can't be waited for: it says what happened on stderr, and ends
//! all of them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use collective::World;
use protocol::{Failure, Hello, Memory, Phase, RankPlace, Reply};
use serde::{Deserialize, Serialize};

/// How long a rank that failed waits for the others to be done, too.
const GRACE: Duration = Duration::from_secs(2);

/// What a rank tells the others about a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Account {
    failure: Option<Failure>,
    memory: Memory,
    tokens_sha256: Option<String>,
}

/// Joins the ranks that this process was started with. A failure is written to stderr, and the process must end with the code.
///
/// # Errors
/// Returns the exit code.
pub fn join() -> Result<World, ExitCode> {
    World::join().map_err(|error| {
        // The launchers' own variables: MPI itself can't be asked.
        let rank = ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].iter().find_map(|name| std::env::var(name).ok());
        tell_failure(&rank.unwrap_or_else(|| "?".into()), Phase::Load, &error.to_string());
        ExitCode::from(2)
    })
}

/// Writes one line for `harness::classify`.
#[expect(clippy::print_stderr, reason = "stderr is the log of a worker")]
fn tell_failure(rank: &str, phase: Phase, message: &str) {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("llama2-bench: rank {rank} failed in {phase}: {message}");
}

/// Adds the ranks, and what they talk with, to a hello.
pub(crate) fn introduce(world: &World, hello: Hello) -> Result<Hello> {
    if world.is_alone() {
        return Ok(hello);
    }
    let here = RankPlace { host: host_name(), process: Some(std::process::id()) };
    let places = world.gather(&serde_json::to_string(&here)?, None)?.context("not all ranks joined")?;
    let ranks = places.iter().map(|place| serde_json::from_str(place)).collect::<Result<_, _>>()?;
    let libraries = hello.libraries.into_iter().chain(world.libraries()).collect();
    Ok(Hello { ranks, libraries, ..hello })
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// What all ranks together answer, of which `own` is this one's. Ends the process where they can't go on together.
pub(crate) fn settle(world: &World, own: Reply, weights_bytes: Option<u64>) -> Result<Reply> {
    if world.is_alone() {
        return Ok(own);
    }
    let mut account = Account { failure: None, memory: Memory::default(), tokens_sha256: None };
    match &own {
        Reply::Failed(failure) => {
            let message = failure.message.chars().take(1000).collect();
            account.failure = Some(Failure { message, ..failure.clone() });
        }
        Reply::Loaded(loaded) => account.memory.weights_bytes = Some(loaded.weights_bytes),
        Reply::Measured(measured) => {
            account.memory = Memory { weights_bytes, ..measured.memory };
            account.tokens_sha256 = Some(measured.tokens_sha256.clone());
        }
        Reply::Generated(generated) => account.tokens_sha256 = Some(generated.logits_sha256.clone()),
        _ => {}
    }
    if let Some(Failure { phase, message }) = &account.failure {
        tell_failure(&world.rank().to_string(), *phase, message);
    }
    let limit = account.failure.is_some().then_some(GRACE);
    let Some(accounts) = world.gather(&serde_json::to_string(&account)?, limit)? else { world.abort() };
    let accounts: Vec<Account> =
        accounts.iter().map(|account| serde_json::from_str(account)).collect::<Result<_, _>>()?;
    merge(own, &accounts)
}

/// Rank 0's answer with what the others say.
fn merge(own: Reply, accounts: &[Account]) -> Result<Reply> {
    let failed =
        accounts.iter().enumerate().find_map(|(rank, account)| Some((rank, account.failure.as_ref()?)));
    if let Some((rank, failure)) = failed {
        // An error that all ranks report names no rank.
        let by_all = accounts.iter().all(|account| account.failure.as_ref() == Some(failure));
        let named = || format!("rank {rank}: {}", failure.message);
        let message = if by_all { failure.message.clone() } else { named() };
        return Ok(Reply::Failed(Failure { phase: failure.phase, message }));
    }
    let differing = accounts.iter().position(|account| account.tokens_sha256 != accounts[0].tokens_sha256);
    if let Some(rank) = differing {
        bail!(
            "rank {rank} computed other tokens than rank 0: check that its machine and libraries are the same"
        );
    }
    let most =
        |of: fn(&Memory) -> Option<u64>| accounts.iter().filter_map(|account| of(&account.memory)).max();
    Ok(match own {
        Reply::Loaded(loaded) => {
            let weights_bytes = most(|memory| memory.weights_bytes).unwrap_or(loaded.weights_bytes);
            Reply::Loaded(protocol::Loaded { weights_bytes, ..loaded })
        }
        Reply::Measured(measured) => Reply::Measured(protocol::Measured {
            memory: Memory {
                weights_bytes: None,
                kv_cache_bytes: most(|memory| memory.kv_cache_bytes),
                peak_bytes: most(|memory| memory.peak_bytes),
            },
            ranks: accounts.iter().map(|account| account.memory).collect(),
            ..measured
        }),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use protocol::{Loaded, Measured};

    use super::*;

    fn account(peak: u64, failure: Option<&str>) -> Account {
        let failure = failure.map(|message| Failure { phase: Phase::Decode, message: message.to_owned() });
        let memory = Memory { weights_bytes: Some(5), kv_cache_bytes: Some(7), peak_bytes: Some(peak) };
        Account { failure, memory, tokens_sha256: Some("a".into()) }
    }

    fn measured() -> Reply {
        Reply::Measured(Measured {
            prompt_seconds: vec![1.0],
            generations: Vec::new(),
            device_seconds: None,
            memory: Memory::default(),
            ranks: Vec::new(),
            collectives: None,
            tokens_sha256: "a".into(),
        })
    }

    #[test]
    fn memory_is_the_most_of_any_rank_and_that_of_each() {
        let accounts = [account(3, None), account(9, None)];
        let Reply::Measured(all) = merge(measured(), &accounts).unwrap() else { panic!() };
        assert_eq!(all.memory, Memory { weights_bytes: None, kv_cache_bytes: Some(7), peak_bytes: Some(9) });
        assert_eq!(all.ranks, [accounts[0].memory, accounts[1].memory]);
    }

    #[test]
    fn one_rank_that_fails_fails_all_and_is_named() {
        let failed = |accounts: &[Account]| match merge(measured(), accounts).unwrap() {
            Reply::Failed(failure) => failure.message,
            other => panic!("{other:?}"),
        };
        assert_eq!(failed(&[account(3, None), account(3, Some("std::bad_alloc"))]), "rank 1: std::bad_alloc");
        assert_eq!(failed(&[account(3, Some("no")), account(3, Some("no"))]), "no");
        assert_eq!(failed(&[account(3, Some("no")), account(3, Some("yes"))]), "rank 0: no");
    }

    #[test]
    fn ranks_that_chose_other_tokens_have_measured_nothing() {
        let other = Account { tokens_sha256: Some("b".into()), ..account(3, None) };
        let error = merge(measured(), &[account(3, None), other]).unwrap_err().to_string();
        assert!(error.starts_with("rank 1 computed other tokens than rank 0"), "{error}");
    }

    #[test]
    fn one_rank_answers_for_itself() {
        let loaded = Reply::Loaded(Loaded { weights_bytes: 1, notes: Vec::new() });
        assert_eq!(settle(&World::alone(), loaded.clone(), None).unwrap(), loaded);
    }
}
