//! A GPU as a scripted driver tells of it.

use std::sync::Arc;

use machine::gpu::{Driver, GpuProcess, Gpus, Monitor, Sample, memory_left, others, words};
use protocol::{Device, Gpu, Phase};
use testing::FakeDriver;

#[test]
fn processes_of_others_are_named_once() {
    let process =
        |id, name: Option<&str>, used_bytes| GpuProcess { id, name: name.map(Into::into), used_bytes };
    let fake = FakeDriver::default();
    fake.set_processes(vec![
        process(7, Some("python"), Some(4509715660)),
        process(9, None, None),
        process(7, Some("python"), None),
        process(8, Some("llama2-bench-torch"), None),
    ]);
    let others = others(&fake, 0, &[8]);
    assert_eq!(words(&others), "python (process 7, 4.20 GiB), a program (process 9)");
}

#[test]
fn memory_comes_back_or_is_missed() {
    let fake = FakeDriver::default();
    fake.set_used(vec![9 << 30, 5 << 30, 1 << 30]);
    let mut waits = 0;
    let wait = || {
        waits += 1;
        waits < 10
    };
    assert_eq!(memory_left(&fake, 0, 1 << 30, wait), None);
    assert_eq!(waits, 2);

    fake.set_used(vec![9 << 30]);
    assert_eq!(memory_left(&fake, 0, 1 << 30, || false), Some(8 << 30));
    fake.set_used(vec![(1 << 30) + 1000]);
    assert_eq!(memory_left(&fake, 0, 1 << 30, || false), None);
}

#[test]
fn it_samples_at_once_and_hears_phases_until_it_is_stopped() {
    let fake = Arc::new(FakeDriver::default());
    fake.set_samples(vec![Sample { power_watts: Some(250.0), ..Sample::default() }]);
    fake.set_energy(vec![5.0, 6.0, 7.0, 9.0]);
    let monitor = Monitor::start(fake, 0).unwrap();
    monitor.phase(Phase::Prompt);
    monitor.phase(Phase::Decode);
    let series = monitor.stop();
    assert!(!series.power_watts.is_empty() && series.power_watts.iter().all(|watts| *watts == 250.0));
    assert_eq!(series.sample_seconds.len(), series.power_watts.len());
    assert_eq!(series.phases.iter().map(|one| one.phase).collect::<Vec<_>>(), [Phase::Prompt, Phase::Decode]);
    assert_eq!(series.energy_joules, Some(4.0));
    assert!(series.phases.iter().all(|one| one.seconds <= series.seconds));
}

#[test]
fn a_watch_is_of_the_gpu_that_cuda_shows() {
    let driver = Arc::new(FakeDriver::default());
    driver.set_gpu(Gpu { name: "NVIDIA H200".into(), memory_bytes: 141 << 30, ..Gpu::default() });
    let gpus = Gpus::new(Arc::clone(&driver) as Arc<dyn Driver>, None);
    assert_eq!(gpus.facts()[0].name, "NVIDIA H200");
    assert_eq!(gpus.watch(Device::Cuda(0)).unwrap().memory_bytes(), Some(141 << 30));
    assert_eq!(gpus.indices(Device::Cuda(0), 1), Some(vec![0]));
    assert_eq!((gpus.indices(Device::Cuda(0), 2), gpus.indices(Device::Cpu, 1)), (None, None));
    assert!(gpus.watch(Device::Cuda(1)).is_none() && gpus.watch(Device::Cpu).is_none());
    assert!(Gpus::new(driver, Some("-1")).facts().is_empty());
}

#[test]
fn others_and_what_is_left_are_told() {
    let driver = Arc::new(FakeDriver::default());
    let watch = Gpus::new(Arc::clone(&driver) as Arc<dyn Driver>, None).watch(Device::Cuda(0)).unwrap();
    assert_eq!(watch.other_processes(), None);
    let process = |id| GpuProcess { id, name: Some("python".into()), used_bytes: Some(1 << 30) };
    driver.set_processes(vec![process(std::process::id()), process(u32::MAX)]);
    assert_eq!(watch.other_processes().unwrap(), format!("python (process {}, 1.00 GiB)", u32::MAX));
    driver.set_used(vec![5 << 30, 1 << 30]);
    assert_eq!(watch.used_bytes(), Some(5 << 30));
    assert_eq!(watch.left_bytes(1 << 30), None);
}
