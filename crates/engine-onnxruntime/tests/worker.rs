//! The program, over its pipe.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use protocol::{
    Device, LoadRequest, MeasureRequest, Measured, ModelSource, Options, Precision, Procedure, Reply, Request,
};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_llama2-bench-onnxruntime");

struct Worker(Child);

impl Worker {
    /// Starts the worker with at most this many bytes of private memory.
    fn start(limit: u64) -> Self {
        let mut command = Command::new(PROGRAM);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let limit = move || {
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            // SAFETY: `limit` outlives the call, which is safe to make between fork and exec.
            if unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) } == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        };
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(limit) };
        Self(command.spawn().unwrap())
    }

    fn ask(&mut self, request: &Request) {
        let line = serde_json::to_string(request).unwrap();
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Its answers, without the reports of progress.
    fn replies(&mut self) -> impl Iterator<Item = Reply> + use<> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let replies = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        replies.filter(|reply| !matches!(reply, Reply::Progress(_)))
    }
}

fn measure(prompt_length: u32) -> Request {
    Request::Measure(MeasureRequest {
        prompt_ids: llama::prompt::seeded_prompt(1, prompt_length, 300, 0),
        generation_length: 3,
        procedure: Procedure { warmup_runs: 1, prompt_runs: 2, generations: 1, ..Procedure::default() },
        collectives: false,
    })
}

#[test]
fn a_prompt_beyond_the_memory_limit_is_out_of_memory_and_the_next_cell_is_measured() {
    let config = json!({
        "model_type": "llama", "vocab_size": 300, "hidden_size": 64, "intermediate_size": 8192,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16384,
    });
    let mut worker = Worker::start(300 << 20);
    worker.ask(&Request::Load(LoadRequest {
        model: ModelSource::Seeded { config, seed: 0 },
        device: Device::Cpu,
        precision: Precision::Fp32,
        threads: Some(2),
        memory_limit_bytes: None,
        device_memory_limit_bytes: None,
        one_rank_of: None,
        options: Options::new(),
    }));
    worker.ask(&measure(16));
    // Its keys and values fit; what the MLP computes, 256 MiB at a time, does not.
    worker.ask(&measure(8192));
    worker.ask(&measure(16));
    worker.ask(&Request::Shutdown);

    let mut replies = worker.replies();
    assert!(matches!(replies.next(), Some(Reply::Hello(hello)) if hello.engine == "onnxruntime"));
    assert!(matches!(replies.next(), Some(Reply::Loaded(_))));
    let Some(Reply::Measured(first)) = replies.next() else { panic!("the small cell") };
    let Some(Reply::Failed(failure)) = replies.next() else { panic!("the cell beyond the limit") };
    let known = ["Failed to allocate memory for requested buffer", "std::bad_alloc"];
    assert!(known.iter().any(|text| failure.message.contains(text)), "{}", failure.message);
    let Some(Reply::Measured(again)) = replies.next() else { panic!("the small cell again") };
    let shape =
        |measured: &Measured| (measured.prompt_seconds.len(), measured.generations[0].token_seconds.len());
    assert_eq!((shape(&first), shape(&again)), ((2, 3), (2, 3)));
    assert_eq!(first.tokens_sha256, again.tokens_sha256);
    assert!(replies.next().is_none());
    assert!(worker.0.wait().unwrap().success());
}

#[test]
fn without_the_library_it_says_in_one_line_how_to_get_it() {
    let output = Command::new(PROGRAM).env(machine::RUNTIME_VARIABLE, "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "llama2-bench-onnxruntime: /nonexistent/onnxruntime/capi: no libonnxruntime.so there: \
         run `make setup`\n"
    );
}
