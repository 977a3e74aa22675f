//! Measures how busy the machine is with other programs than this one and its workers. Linux.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use protocol::MachineLoad;

/// Counts of the kernel at one moment; two of them say what passed between.
pub struct LoadWatch {
    at: Instant,
    processors: Option<ProcessorTicks>,
    /// Ticks of this process and of everything below it.
    own_ticks: u64,
    pressure: [Option<u64>; 3],
}

impl LoadWatch {
    /// Begins to watch.
    pub fn start() -> Self {
        let allowed = allowed_processors(&read("/proc/self/status").unwrap_or_default());
        // The processes are read between the two readings, so that half of that time falls on each side.
        let own_ticks = ticks_below(std::process::id(), &processes());
        Self {
            at: Instant::now(),
            processors: read("/proc/stat").and_then(|text| ProcessorTicks::parse(&text, &allowed)),
            own_ticks,
            pressure: ["cpu", "memory", "io"]
                .map(|what| read(&format!("/proc/pressure/{what}")).and_then(|text| some_total(&text))),
        }
    }

    /// The load since then.
    pub fn stop(self) -> MachineLoad {
        let now = Self::start();
        let seconds = (now.at - self.at).as_secs_f64();
        let own = now.own_ticks.saturating_sub(self.own_ticks);
        let ticks = now.processors.zip(self.processors).map(|(now, before)| now.since(before));
        // The kernel's count of processor time: a virtual machine that was paused had less than the clock says.
        let share = |part: fn(&ProcessorTicks, u64) -> u64| {
            let ticks = ticks.filter(|ticks| ticks.all > 0)?;
            Some((part(&ticks, own) as f64 / ticks.all as f64).min(1.0))
        };
        let mut waited = now.pressure.into_iter().zip(self.pressure).map(|(now, before)| {
            let microseconds = now?.saturating_sub(before?);
            (seconds > 0.0).then(|| (microseconds as f64 / 1e6 / seconds).min(1.0))
        });
        let mut pressure = || waited.next().flatten();
        MachineLoad {
            seconds,
            processors: now.processors.map_or(0, |ticks| ticks.processors),
            own_share: share(|_, own| own),
            other_share: share(|ticks, own| ticks.busy.saturating_sub(own)),
            steal_share: share(|ticks, _| ticks.steal),
            load_average: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            cpu_pressure: pressure(),
            memory_pressure: pressure(),
            io_pressure: pressure(),
        }
    }
}

/// The processor time of other processes during an observation.
#[derive(Debug, Clone, PartialEq)]
pub struct OthersUse {
    /// The total, and the length of the observation.
    pub load: MachineLoad,
    /// The processes, the busiest first. Those that ended meanwhile are in `load` alone.
    pub busiest: Vec<BusyProcess>,
}

/// A process that computes.
#[derive(Debug, Clone, PartialEq)]
pub struct BusyProcess {
    /// The program's name, its first 15 bytes.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// The mean number of processors that it kept busy.
    pub processors: f64,
}

/// Observes for `pause` how much processor time other processes use.
pub fn watch_others(pause: Duration) -> OthersUse {
    let (watch, before) = (LoadWatch::start(), processes());
    std::thread::sleep(pause);
    let (load, now) = (watch.stop(), processes());
    // SAFETY: it only reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64;
    let busy = |(name, id, ticks): (String, u32, u64)| {
        let processors = ticks as f64 / per_second / load.seconds;
        BusyProcess { name, id, processors }
    };
    OthersUse { load, busiest: busiest_others(&before, &now).into_iter().map(busy).collect() }
}

/// Processes other than this one and those below it, by the processor time that they used since `before`: name, id and ticks, the most
/// first.
fn busiest_others(
    before: &HashMap<u32, ProcessStat>,
    now: &HashMap<u32, ProcessStat>,
) -> Vec<(String, u32, u64)> {
    let own = below(std::process::id(), now);
    let used = now.iter().filter(|(id, _)| !own.contains(id)).filter_map(|(id, process)| {
        let ticks = process.ticks.saturating_sub(before.get(id).map_or(0, |before| before.ticks));
        (ticks > 0).then(|| (process.name.clone(), *id, ticks))
    });
    let mut used: Vec<_> = used.collect();
    used.sort_by_key(|(_, id, ticks)| (std::cmp::Reverse(*ticks), *id));
    used
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Sums over processors, in ticks since the machine was started: man proc(5), `/proc/stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ProcessorTicks {
    processors: u32,
    /// user, nice, system, irq, softirq. A guest's time is in user and nice.
    busy: u64,
    steal: u64,
    /// All of these, idle and iowait.
    all: u64,
}

impl ProcessorTicks {
    fn parse(stat: &str, is_allowed: &dyn Fn(u32) -> bool) -> Option<Self> {
        let mut sum = Self::default();
        for line in stat.lines() {
            let Some((name, numbers)) = line.strip_prefix("cpu").and_then(|line| line.split_once(' ')) else {
                continue;
            };
            // The first line, of all processors together, has no number.
            if !name.parse().is_ok_and(is_allowed) {
                continue;
            }
            let ticks: Vec<u64> = numbers.split_whitespace().map_while(|word| word.parse().ok()).collect();
            let &[user, nice, system, idle, iowait, irq, softirq, steal, ..] = &*ticks else { return None };
            let busy = user + nice + system + irq + softirq;
            sum.processors += 1;
            sum.busy += busy;
            sum.steal += steal;
            sum.all += busy + steal + idle + iowait;
        }
        (sum.processors > 0).then_some(sum)
    }

    fn since(self, before: Self) -> Self {
        Self {
            processors: self.processors,
            busy: self.busy.saturating_sub(before.busy),
            steal: self.steal.saturating_sub(before.steal),
            all: self.all.saturating_sub(before.all),
        }
    }
}

/// Which processors this process may use, by `Cpus_allowed_list: 0-3,8` in its status; all where it does not say.
fn allowed_processors(status: &str) -> impl Fn(u32) -> bool + use<> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some((first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?))
    };
    let ranges: Option<Vec<_>> = list.map(|list| list.split(',').filter_map(range).collect());
    move |processor| {
        ranges
            .as_ref()
            .is_none_or(|ranges| ranges.iter().any(|(first, last)| (*first..=*last).contains(&processor)))
    }
}

/// Microseconds in which some task waited: `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`.
fn some_total(pressure: &str) -> Option<u64> {
    let line = pressure.lines().find(|line| line.starts_with("some "))?;
    line.rsplit_once("total=")?.1.trim().parse().ok()
}

/// A process, as `/proc/PID/stat` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProcessStat {
    /// The program's name, its first 15 bytes.
    name: String,
    parent: u32,
    /// Processor time in ticks: its own, and that of its children that have ended and were waited for.
    ticks: u64,
}

impl ProcessStat {
    /// `PID (NAME) STATE PPID …`; the 14th to 17th numbers are utime, stime, cutime and cstime. A name may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (before, rest) = stat.rsplit_once(')')?;
        let mut words = rest.split_whitespace();
        let parent = words.nth(1)?.parse().ok()?;
        let ticks: Vec<u64> = words.skip(9).take(4).map_while(|word| word.parse().ok()).collect();
        let ticks = (ticks.len() == 4).then(|| ticks.iter().sum())?;
        Some(Self { name: before.split_once('(')?.1.to_owned(), parent, ticks })
    }
}

/// All processes that can be seen, by id.
fn processes() -> HashMap<u32, ProcessStat> {
    // Read in one call: a machine has thousands of these files, and each has some 300 bytes.
    let mut stat = [0; 1024];
    let process = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let len = fs::File::open(entry.path().join("stat")).ok()?.read(&mut stat).ok()?;
        Some((id, ProcessStat::parse(&String::from_utf8_lossy(&stat[..len]))?))
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(process).collect()
}

/// A process and everything below it.
fn below(ancestor: u32, processes: &HashMap<u32, ProcessStat>) -> Vec<u32> {
    let mut all = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        all.extend(processes.iter().filter(|(_, process)| process.parent == parent).map(|(id, _)| *id));
        next += 1;
    }
    all
}

/// What a process and everything below it used. A child that ends is counted by the one that waits for it.
fn ticks_below(ancestor: u32, processes: &HashMap<u32, ProcessStat>) -> u64 {
    below(ancestor, processes).iter().filter_map(|id| Some(processes.get(id)?.ticks)).sum()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::*;

    const STAT: &str = "cpu  100 10 50 800 20 5 5 10 0 0\n\
                        cpu0 60 6 30 400 10 3 2 9 40 0\n\
                        cpu1 40 4 20 400 10 2 3 1 0 0\n\
                        intr 5 0\nctxt 7\n";

    #[test]
    fn processors_are_summed_where_this_process_may_run() {
        let all = ProcessorTicks::parse(STAT, &|_| true).unwrap();
        assert_eq!(all, ProcessorTicks { processors: 2, busy: 170, steal: 10, all: 1000 });
        let first =
            ProcessorTicks::parse(STAT, &allowed_processors("Name: a\nCpus_allowed_list:\t0\n")).unwrap();
        assert_eq!(first, ProcessorTicks { processors: 1, busy: 101, steal: 9, all: 520 });
        assert_eq!(ProcessorTicks::parse(STAT, &allowed_processors("Cpus_allowed_list:\t2-3,7\n")), None);
        // Before Linux 2.6.11 no steal was counted.
        assert_eq!(ProcessorTicks::parse("cpu0 60 6 30 400 10 3 2\n", &|_| true), None);
    }

    #[test]
    fn a_list_of_processors_has_numbers_and_ranges() {
        let allowed = allowed_processors("Cpus_allowed_list:\t0-2,5\n");
        assert_eq!([0, 2, 3, 5, 6].map(allowed), [true, true, false, true, false]);
        assert!(allowed_processors("")(77));
    }

    #[test]
    fn pressure_is_the_total_of_some() {
        let text = "some avg10=6.60 avg60=33.45 avg300=44.11 total=16786685137\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        assert_eq!(some_total(text), Some(16_786_685_137));
        assert_eq!(some_total("full avg10=0.00 total=5\n"), None);
    }

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "7 (a) S 9 (b) R 3 7 7 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 1 0 638 3133440";
        assert_eq!(
            ProcessStat::parse(stat),
            Some(ProcessStat { name: "a) S 9 (b".into(), parent: 3, ticks: 110 })
        );
        assert_eq!(ProcessStat::parse("7 (a) R 3"), None);
    }

    #[test]
    fn a_process_whose_name_is_no_text_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(OsStr::from_bytes(b"\xff"));
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = Command::new(program).arg("60").spawn().unwrap();
        // It has its parent's name until the kernel has given it its own.
        while processes()[&child.id()].name != "\u{fffd}" {}
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_is_below_this_process_is_its_own_also_when_it_has_ended() {
        let before = ticks_below(std::process::id(), &processes());
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        while ticks_below(std::process::id(), &processes()) < before + 3 {}
        let shell = &processes()[&child.id()];
        assert_eq!((&*shell.name, shell.parent), ("sh", std::process::id()));
        assert!(busiest_others(&HashMap::new(), &processes()).iter().all(|(_, id, _)| *id != child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ticks_below(std::process::id(), &processes()) >= before + 3);
    }

    #[test]
    fn others_are_named_the_busiest_first() {
        let process = |name: &str, ticks| ProcessStat { name: name.into(), parent: 1, ticks };
        let before = HashMap::from([(2, process("idle", 50)), (3, process("cc1plus", 10))]);
        let now =
            HashMap::from([(2, process("idle", 50)), (3, process("cc1plus", 60)), (4, process("ld", 90))]);
        assert_eq!(busiest_others(&before, &now), [("ld".to_owned(), 4, 90), ("cc1plus".to_owned(), 3, 50)]);
    }

    #[test]
    fn a_look_at_others_names_no_process_of_this_program() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let others = watch_others(Duration::from_millis(200));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(others.load.seconds >= 0.2);
        assert!(others.busiest.iter().all(|one| one.id != child.id() && one.id != std::process::id()));
        assert!(others.busiest.is_sorted_by(|one, next| one.processors >= next.processors));
    }

    #[test]
    fn a_watch_sees_what_this_process_computes() {
        let watch = LoadWatch::start();
        let before = ticks_below(std::process::id(), &processes());
        while ticks_below(std::process::id(), &processes()) < before + 10 {}
        let load = watch.stop();
        assert!(load.processors > 0 && load.seconds > 0.0);
        assert!(load.own_share.is_some_and(|share| share > 0.0 && share <= 1.0), "{load:?}");
        assert!(load.other_share.is_some_and(|share| (0.0..=1.0).contains(&share)), "{load:?}");
    }
}
