//! Reads which CPUs this program may use, and what changes their speed. Linux.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use protocol::ProcessorState;

use crate::environment::field;

/// Variables that change how many threads compute, where they run, and which allocator serves them.
const VARIABLES: [&str; 9] =
    ["GLIBC_TUNABLES", "LD_PRELOAD", "OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "OPENBLAS_", "ORT_"];
/// The longest list or value that is kept.
const LONGEST: usize = 1000;

/// Reads the processor's state below `root` (`/`) with these environment variables. What can't be read is left out.
pub(crate) fn processor_state(
    root: &Path,
    variables: impl Iterator<Item = (String, String)>,
) -> ProcessorState {
    let read = |path: &str| {
        let text = fs::read_to_string(root.join(path)).ok()?;
        Some(text.trim().chars().take(LONGEST).collect::<String>()).filter(|text| !text.is_empty())
    };
    let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let allowed_cpus = allowed.unwrap_or_default().trim().to_owned();
    let cpus = cpu_numbers(&allowed_cpus);
    let of_cpu = |cpu: u32, path: &str| read(&format!("sys/devices/system/cpu/cpu{cpu}/{path}"));
    let several = |list: &String| list.contains([',', '-']);
    let siblings: Vec<String> =
        cpus.iter().filter_map(|cpu| of_cpu(*cpu, "topology/thread_siblings_list")).collect();
    let threads_per_core = siblings.iter().map(|list| cpu_numbers(list).len() as u32).max();
    let smt_siblings: BTreeSet<(u32, String)> = siblings
        .into_iter()
        .filter(several)
        .filter_map(|list| Some((*cpu_numbers(&list).first()?, list)))
        .collect();
    let huge_pages = |name: &str| {
        read(&format!("sys/kernel/mm/transparent_hugepage/{name}")).and_then(|text| chosen(&text))
    };
    let first = cpus.first().copied().unwrap_or(0);
    let mhz_of = |name: &str| Some(of_cpu(first, &format!("cpufreq/{name}"))?.parse::<f64>().ok()? / 1000.0);
    let flag = |path: &str| read(path).map(|text| text == "1");
    let cpuinfo = |name: &str| field(&root.join("proc/cpuinfo"), name);
    ProcessorState {
        online_cpus: read("sys/devices/system/cpu/online").unwrap_or_default(),
        smt_siblings: smt_siblings.into_iter().map(|(_, list)| list).collect(),
        threads_per_core,
        virtual_machine: cpuinfo("flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        mhz: mhz_of("scaling_cur_freq").or_else(|| cpuinfo("cpu MHz")?.parse().ok()),
        mhz_range: mhz_of("scaling_min_freq").zip(mhz_of("scaling_max_freq")),
        boost: flag("sys/devices/system/cpu/cpufreq/boost")
            .or_else(|| Some(!flag("sys/devices/system/cpu/intel_pstate/no_turbo")?)),
        transparent_huge_pages: huge_pages("enabled").map(|enabled| match huge_pages("defrag") {
            Some(defrag) => format!("{enabled}, defrag {defrag}"),
            None => enabled,
        }),
        variables: variables.filter_map(|(name, value)| kept(name, &value)).collect(),
        allowed_cpus,
    }
}

/// A variable that matters. For a preloaded library only the file name is kept, because its folder is the user's.
fn kept(name: String, value: &str) -> Option<(String, String)> {
    if !VARIABLES.iter().any(|start| name == *start || start.ends_with('_') && name.starts_with(start)) {
        return None;
    }
    let file = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let value = match name.as_str() {
        "LD_PRELOAD" => value.split([' ', ':']).map(file).collect::<Vec<_>>().join(" "),
        _ => value.chars().take(LONGEST).collect(),
    };
    Some((name, value))
}

/// The word in brackets: `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// The CPUs of a list such as `0-3,8`, at most a few thousand.
fn cpu_numbers(list: &str) -> Vec<u32> {
    const MOST: usize = 4096;
    let range = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        pairs.into_iter()
    }

    #[test]
    fn a_pinned_program_on_a_processor_with_smt() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/status", "Name:\tx\nCpus_allowed_list:\t2-3,6-7\n");
        write("sys/devices/system/cpu/online", "0-7\n");
        write("proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2400.000\nflags\t\t: fpu avx2 hypervisor\n");
        for (cpu, list) in [(2, "2,6\n"), (3, "3,7\n"), (6, "2,6\n"), (7, "3,7\n")] {
            write(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), list);
        }
        write("sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq", "2900000\n");
        write("sys/devices/system/cpu/cpu2/cpufreq/scaling_min_freq", "800000\n");
        write("sys/devices/system/cpu/cpu2/cpufreq/scaling_max_freq", "3500000\n");
        write("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
        write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        write("sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise [madvise] never\n");
        let set = [("OMP_NUM_THREADS", "4"), ("LD_PRELOAD", "/home/me/libjemalloc.so"), ("HOME", "/home/me")];
        let state = processor_state(root.path(), variables(&set));
        assert_eq!((&*state.allowed_cpus, &*state.online_cpus), ("2-3,6-7", "0-7"));
        assert_eq!(state.smt_siblings, ["2,6", "3,7"]);
        assert_eq!((state.threads_per_core, state.virtual_machine), (Some(2), Some(true)));
        assert_eq!(
            (state.mhz, state.mhz_range, state.boost),
            (Some(2900.0), Some((800.0, 3500.0)), Some(false))
        );
        assert_eq!(state.transparent_huge_pages.as_deref(), Some("madvise, defrag madvise"));
        let kept: Vec<String> =
            state.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(kept, ["LD_PRELOAD=libjemalloc.so", "OMP_NUM_THREADS=4"]);
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(processor_state(root.path(), variables(&[])), ProcessorState::default());
        assert!(!processor_state(Path::new("/"), variables(&[])).allowed_cpus.is_empty());
    }

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_numbers("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(cpu_numbers(""), [0u32; 0]);
        assert_eq!(cpu_numbers("0-4294967295").len(), 4096);
    }
}
