//! Reads the properties of the machine that a run's figures depend on. Linux.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use protocol::{EngineProgram, Environment, Gpu, Hello, ModelFacts, ProgramVersion};
use sha2::{Digest, Sha256};

use crate::processor::processor_state;

/// Collects the environment of a run. `engines` are the workers' hellos, `programs` the programs started, `models` the models to
/// compute, `gpus` the driver's facts. Only the file names of libraries' paths are kept: the rest would reveal a user's folders.
pub fn read_environment(
    program: ProgramVersion,
    mut engines: BTreeMap<String, Hello>,
    programs: BTreeMap<String, EngineProgram>,
    models: BTreeMap<String, ModelFacts>,
    gpus: Vec<Gpu>,
) -> Environment {
    for library in engines.values_mut().flat_map(|hello| &mut hello.libraries) {
        library.path = library.path.as_deref().and_then(|path| path.file_name()).map(Into::into);
    }
    for hello in engines.values_mut() {
        // Names matter only where there are several machines.
        if hello.ranks.iter().all(|place| place.host == hello.ranks[0].host) {
            hello.ranks.clear();
        }
    }
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let load = line("/proc/loadavg");
    Environment {
        id: None,
        started: utc_now(),
        program,
        kernel: format!("Linux {}", line("/proc/sys/kernel/osrelease").split('-').next().unwrap_or_default()),
        cpu: cpu_model(),
        cores: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        cpu_governor: fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            .ok()
            .map(|text| text.trim().to_owned()),
        processor: Some(processor_state(Path::new("/"), std::env::vars_os().filter_map(text))),
        memory_bytes: memory_bytes(),
        load_average: load.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0),
        gpus,
        peaks: None,
        engines,
        programs,
        engines_file: None,
        models,
        machine: machine_id(),
        sweep_sha256: String::new(),
        pair: None,
        shard: None,
        locked_gpu_clocks: None,
        differs_from_first_part: Vec::new(),
    }
}

/// A variable whose name is text.
fn text((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
}

/// The time, in seconds (UTC).
#[expect(clippy::disallowed_methods, reason = "the date of a record")]
pub fn utc_now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The processor's model; of an ARM processor its core; its architecture where the kernel does not say.
pub fn cpu_model() -> String {
    let cpuinfo = Path::new("/proc/cpuinfo");
    field(cpuinfo, "model name")
        .or_else(|| arm_core(cpuinfo))
        .unwrap_or_else(|| std::env::consts::ARCH.into())
}

/// The core by its identification register, because the kernel has no "model name" there. The names are those of
/// `arch/arm64/include/asm/cputype.h` in Linux.
fn arm_core(cpuinfo: &Path) -> Option<String> {
    let (implementer, part) = (field(cpuinfo, "CPU implementer")?, field(cpuinfo, "CPU part")?);
    let name = match (&*implementer, &*part) {
        ("0x41", "0xd0c") => "Arm Neoverse-N1",
        ("0x41", "0xd40") => "Arm Neoverse-V1",
        ("0x41", "0xd49") => "Arm Neoverse-N2",
        ("0x41", "0xd4f") => "Arm Neoverse-V2",
        _ => return Some(format!("ARM core {part} of implementer {implementer}")),
    };
    Some(name.into())
}

/// The first value of `name` in a file of `/proc` that has a line `name: value` for each.
pub(crate) fn field(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `man 5 machine-id`: the id itself is not to be shown, a hash of it with something of the program's own may be.
pub fn machine_id() -> Option<String> {
    let id = fs::read_to_string("/etc/machine-id").ok().filter(|id| !id.trim().is_empty())?;
    let hash = Sha256::digest(format!("llama2-bench {}", id.trim()));
    Some(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// RAM of this machine; 0 where that can't be read.
pub fn memory_bytes() -> u64 {
    let total = field(Path::new("/proc/meminfo"), "MemTotal").unwrap_or_default();
    total.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_core_is_named_by_its_identification() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let named = |implementer: &str, part: &str| {
            let lines = format!("processor\t: 0\nCPU implementer\t: {implementer}\nCPU part\t: {part}\n");
            fs::write(file.path(), lines).unwrap();
            arm_core(file.path())
        };
        assert_eq!(named("0x41", "0xd4f").unwrap(), "Arm Neoverse-V2");
        assert_eq!(named("0xc0", "0xac3").unwrap(), "ARM core 0xac3 of implementer 0xc0");
        fs::write(file.path(), "processor\t: 0\n").unwrap();
        assert_eq!(arm_core(file.path()), None);
    }
}
