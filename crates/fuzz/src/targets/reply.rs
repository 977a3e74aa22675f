//! Lines of the pipe, in both directions.

use harness::{Evidence, WorkerEnd, classify, parse_reply};
use proptest::prelude::*;
use protocol::{Phase, Reply, Request};
use serde::Serialize;

use crate::{CaseResult, FuzzTarget, one_line};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "reply", samples, words: WORDS, run };

const REPLIES: [&str; 6] = [
    r#"{"reply":"hello","protocol":1,"engine":"mock","libraries":[{"name":"a","version":"1","path":"/x/a.so"}],
        "devices":[{"device":"cpu","unusable":null},{"device":"cuda","unusable":"no driver"}],
        "options":{"attention":["sdpa",true,1.5,[1],{"a":null}],"chunk":[]},"virtual_clock":true}"#,
    r#"{"reply":"progress","phase":"decode","done":17,"of":262,"last_seconds":0.0021}"#,
    r#"{"reply":"loaded","weights_bytes":4400193536,"notes":["one","two"]}"#,
    r#"{"reply":"measured","prompt_seconds":[0.5,0.25],"generations":[{"prompt_seconds":0.012,
        "token_seconds":[0.1,0.2,0.3],"wall_seconds":0.7}],
        "memory":{"weights_bytes":null,"kv_cache_bytes":1234,"peak_bytes":5678},"tokens_sha256":"ab"}"#,
    r#"{"reply":"generated","tokens":[[1,2],[3,4]],"logits_sha256":"ab",
        "logits":[[[0.5,-1.25],[3e-5,7.0]],[[1.0,2.0],[3.0,4.0]]]}"#,
    r#"{"reply":"failed","phase":"prompt","message":"std::bad_alloc"}"#,
];

const REQUESTS: [&str; 5] = [
    r#"{"request":"load","model":{"checkpoint":{"dir":"/x/tinyllama"}},"device":"cpu","precision":"fp32",
        "threads":null,"memory_limit_bytes":null,"options":{"attention":"sdpa"}}"#,
    r#"{"request":"load","model":{"seeded":{"config":{"hidden_size":64},"seed":7}},"device":"cuda:3",
        "precision":"bf16","threads":2,"memory_limit_bytes":1073741824,"options":{}}"#,
    r#"{"request":"measure","prompt_ids":[[1,2],[3,4]],"generation_length":256,
        "procedure":{"warmup_runs":5,"prompt_runs":100,"generations":1}}"#,
    r#"{"request":"generate","prompt_ids":[[1,2,3]],"max_new_tokens":8,"logits":true}"#,
    r#"{"request":"shutdown"}"#,
];

const WORDS: &str = r#""reply" "hello" "loaded" "measured" "generated" "failed" "request" "load" "decode"
    "cuda:4294967295" "cuda:+1" 3.4028235e38"#;

fn read_again<T: Serialize + PartialEq + std::fmt::Debug>(
    value: &T,
    read: impl Fn(&[u8]) -> Result<T, String>,
) -> CaseResult {
    let line = serde_json::to_vec(value).unwrap();
    prop_assert!(!line.contains(&b'\n'));
    let again = read(&line);
    prop_assert_eq!(again.as_ref(), Ok(value));
    Ok(())
}

fn request(line: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

fn samples() -> Vec<Vec<u8>> {
    REPLIES.iter().chain(&REQUESTS).map(|line| one_line(line).into_bytes()).collect()
}

/// The same line as a reply and as a request.
fn run(input: &[u8]) -> CaseResult {
    match parse_reply(input) {
        Ok(reply) => read_again::<Reply>(&reply, parse_reply)?,
        Err(what) => {
            let error = classify(&Evidence::new(Phase::Load, WorkerEnd::Garbage(what))).error;
            prop_assert!(error.chars().count() <= 1000 && !error.contains('\n'), "{}", error);
        }
    }
    request(input).map_or(Ok(()), |value| read_again(&value, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_lines() {
        for line in REPLIES {
            parse_reply(one_line(line).as_bytes()).unwrap();
        }
        for line in REQUESTS {
            request(one_line(line).as_bytes()).unwrap();
        }
    }
}
