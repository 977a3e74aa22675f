//! Tells the program which revision it was built from, and for which target.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if let Some(revision) = git(&["describe", "--always", "--dirty", "--abbrev=12"]) {
        println!("cargo::rustc-env=LLAMA2_BENCH_REVISION={revision}");
    }
    println!("cargo::rustc-env=LLAMA2_BENCH_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    // Without a checkout there is nothing to watch; naming a file that is not there would rebuild every time.
    for name in ["HEAD", "index", "logs/HEAD"] {
        if let Some(path) =
            git(&["rev-parse", "--git-path", name]).filter(|path| std::path::Path::new(path).exists())
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    // Whether the tree is as the revision has it.
    println!("cargo::rerun-if-changed=../");
}
