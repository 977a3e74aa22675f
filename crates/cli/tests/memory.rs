//! Memory: the kernel's own kills, and the program's own use.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{MOCK, Place, worker};
use protocol::FailureKind;

/// A cgroup of this test's own, bounded; removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one below this process's own: v1, or v2 where that may have children.
    fn with_limit(bytes: u64) -> Result<Self, String> {
        let lines = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mut why = "no memory controller".to_owned();
        for line in lines.lines() {
            let Some((controllers, path)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':'))
            else {
                continue;
            };
            let (root, limits): (&str, &[&str]) = match controllers {
                "memory" => {
                    ("/sys/fs/cgroup/memory", &["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"])
                }
                "" => ("/sys/fs/cgroup", &["memory.max", "memory.swap.max"]),
                _ => continue,
            };
            let name = format!("llama2-bench-test-{}", std::process::id());
            let dir = Path::new(root).join(path.trim_start_matches('/')).join(name);
            let made = fs::create_dir(&dir).and_then(|()| fs::write(dir.join(limits[0]), bytes.to_string()));
            match made {
                Ok(()) => {
                    // Without swap, where that can be bounded, too.
                    let swap = if controllers.is_empty() { 0 } else { bytes };
                    let _ = fs::write(dir.join(limits[1]), swap.to_string());
                    return Ok(Self(dir));
                }
                Err(error) => {
                    let _ = fs::remove_dir(&dir);
                    why = format!("{}: {error}", dir.display());
                }
            }
        }
        Err(why)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_worker_that_the_kernel_kills_for_its_memory_is_out_of_memory() {
    let cgroup = match Cgroup::with_limit(200 << 20) {
        Ok(cgroup) => cgroup,
        Err(why) => {
            eprintln!("skipped: no cgroup with a memory limit can be made here: {why}");
            return;
        }
    };
    let place = Place::new();
    // 512 positions of 4 sequences hold 512 MiB.
    place.write("sweep.toml", &format!("{MOCK}\n[options.mock]\nbytes_per_position = 262144\n"));
    let procs = cgroup.0.join("cgroup.procs");
    let mut command = Command::new(worker("llama2-bench"));
    command.args(["run", "sweep.toml", "--out", "run"]).current_dir(place.path(""));
    // SAFETY: the child of a test; nothing else of it runs yet.
    unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let ends: Vec<_> =
        place.records().iter().map(|r| (r.key.batch_size, r.key.prompt_length, r.failure_kind())).collect();
    let killed =
        [(4, 16), (4, 64), (4, 256)].map(|(batch, prompt)| (batch, prompt, Some(FailureKind::OutOfMemory)));
    assert_eq!(ends[3..], killed, "{stderr}");
    assert!(ends[..3].iter().all(|end| end.2.is_none()), "{stderr}");
    let error = place.records()[5].failure().unwrap().error.clone();
    assert_eq!(error, "killed by the kernel: its cgroup, or the machine, was out of memory");
}

/// Resident bytes of a process.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn a_thousand_cells_take_no_more_memory_than_a_hundred() {
    let place = Place::new();
    let sizes = |count: u32| (1..=count).map(|size| size.to_string()).collect::<Vec<_>>().join(", ");
    let sweep = MOCK.replace("1, 4", &sizes(20)).replace("16, 64, 256", &sizes(50));
    place.write("sweep.toml", &sweep);
    let mut child = place.start(&["run", "sweep.toml", "--out", "run"], Stdio::null());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut resident_at = |place: &str| {
        assert!(lines.by_ref().any(|line| line.starts_with(place)));
        resident(child.id())
    };
    let early = resident_at("[100/1000]");
    let late = resident_at("[990/1000]");
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert_eq!(place.records().len(), 1000);
    // 900 records of 262 figures are 1.9 MB as numbers; what is kept of a cell is its name.
    assert!(late < early + (1 << 20), "{early} bytes after 100 cells, {late} after 990");
}
