//! What the sum over ranks costs on this machine, against the time that it should take.
//!
//! `scripts/build_mpi.sh --release && cargo bench -p collective` starts itself as two ranks with mpirun. After criterion's figures
//! stands what is expected of each size: the time of a barrier, and that of the bytes that a rank must move (its terms copied
//! once, the other's read, the sums written: three times the size) at the speed at which it copies memory of that size here.

use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use collective::{Numbers, WORLD_SIZE_VARIABLE, World};
use criterion::{BenchmarkId, Criterion, Throughput};
use protocol::{Device, Dtype};

/// Numbers of a sum: a token of TinyLlama's width, of 70B's, and of batches and prompts of that.
const SIZES: [usize; 5] = [2048, 8192, 16 * 8192, 64 * 8192, 256 * 8192];
const BARRIER: usize = 0;

fn main() -> ExitCode {
    if std::env::var_os(WORLD_SIZE_VARIABLE).is_none() {
        return start_ranks();
    }
    let world = World::join().expect("the ranks");
    let all_reduce = world.all_reduce(Device::Cpu).expect("MPI").expect("several ranks");
    let mut numbers = vec![1f32; SIZES[SIZES.len() - 1]];
    let mut sum = |size: usize, iterations: u64| {
        world.barrier().expect("a barrier");
        let start = Instant::now();
        for _ in 0..iterations {
            if size == BARRIER {
                world.barrier().expect("a barrier");
            } else {
                let sums = numbers.as_mut_ptr().cast();
                let (dtype, stream) = (Dtype::Fp32, std::ptr::null_mut());
                let numbers = Numbers { terms: sums, sums, len: size, dtype, stream };
                // SAFETY: the numbers are as many and more, and this closure's.
                unsafe { all_reduce.all_reduce(numbers) }.expect("a sum");
            }
        }
        start.elapsed()
    };
    if world.rank() == 0 {
        // The others do what rank 0 says: as many sums as criterion wants.
        let mut say = |size: usize, iterations: u64| {
            world.broadcast(Some(format!("{size} {iterations}"))).expect("a broadcast");
            sum(size, iterations)
        };
        bench(&mut say);
        compare(&mut say);
        world.broadcast(None).expect("a broadcast");
    } else {
        while let Some(text) = world.broadcast(None).expect("a broadcast") {
            let (size, iterations) = text.split_once(' ').expect("two numbers");
            sum(size.parse().expect("a size"), iterations.parse().expect("a number"));
        }
    }
    world.finish();
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "a benchmark prints its figures")]
fn start_ranks() -> ExitCode {
    // `cargo test` starts benches, too: there is nothing to test in this one.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["-n", "2", "env", &format!("{WORLD_SIZE_VARIABLE}=2")]);
    mpirun.arg(std::env::current_exe().expect("this program")).args(std::env::args().skip(1));
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
    ] {
        mpirun.env(name, value);
    }
    let error = mpirun.exec();
    eprintln!("mpirun: {error}: install Open MPI (Debian: apt-get install openmpi-bin libopenmpi-dev)");
    ExitCode::FAILURE
}

fn bench(sum: &mut dyn FnMut(usize, u64) -> Duration) {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut group = criterion.benchmark_group("all-reduce of 2 ranks");
    for size in SIZES {
        group.throughput(Throughput::Bytes(4 * size as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{size} numbers")), |bencher| {
            bencher.iter_custom(|iterations| sum(size, iterations));
        });
    }
    group.finish();
}

/// The median of 15 times, in seconds.
fn median(mut time: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..15).map(|_| time()).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn compare(sum: &mut dyn FnMut(usize, u64) -> Duration) {
    let latency = median(|| sum(BARRIER, 200).as_secs_f64() / 200.0);
    println!("a barrier: {:.2} µs", latency * 1e6);
    println!(
        "{:>9}  {:>10}  {:>9}  {:>12}  {:>12}  {:>7}",
        "numbers", "bytes", "copying", "expected", "measured", "ratio"
    );
    for size in SIZES {
        let bytes = 4.0 * size as f64;
        let (from, mut to) = (vec![1f32; size], vec![0f32; size]);
        let copies = (1 << 24) / size;
        let copy = median(|| {
            let start = Instant::now();
            for _ in 0..copies {
                black_box(&mut to).copy_from_slice(black_box(&from));
            }
            start.elapsed().as_secs_f64() / copies as f64
        });
        let expected = latency + 3.0 * copy;
        let iterations = ((1 << 22) / size).max(4) as u64;
        let measured = median(|| sum(size, iterations).as_secs_f64() / iterations as f64);
        println!(
            "{size:>9}  {bytes:>10.0}  {:>4.1} GB/s  {:>9.2} µs  {:>9.2} µs  {:>7.2}",
            bytes / copy / 1e9,
            expected * 1e6,
            measured * 1e6,
            measured / expected
        );
    }
}
