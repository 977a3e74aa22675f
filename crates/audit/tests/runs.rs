//! The committed runs: every finding in them.

use std::path::Path;

use audit::audit;
use results::Run;
use results::hardware::Hardware;

const RUNS: [&str; 13] = [
    "epyc/llama2-15m-peers-fp32-cpu",
    "epyc/tinyllama-1.1b-cpu",
    "epyc/tinyllama-1.1b-libtorch-cpu",
    "epyc/tinyllama-1.1b-peers-bf16-cpu",
    "llama2-15m-fp32-cpu",
    "llama2-15m-fused",
    "llama2-15m-peers-fp32-cpu",
    "llama2-7b-h100",
    "llama2-7b-h100-checks/attention-cudnn",
    "llama2-7b-h100-checks/first",
    "llama2-7b-h100-checks/oom",
    "tinyllama-1.1b-cpu",
    "tinyllama-1.1b-peers-bf16-cpu",
];

#[test]
fn all_findings() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../results"));
    let reports = RUNS.map(|name| {
        let run = Run { dir: format!("results/{name}"), ..Run::read(&root.join(name)).unwrap() };
        audit(&run.result_tables(), &Hardware::built_in()).to_string()
    });
    insta::assert_snapshot!(reports.join("\n"));
}
