//! What a device can do at most: how fast the processor reads memory, and how fast a library multiplies matrices.

use std::hint::black_box;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Reading is measured for this long.
const READ_FOR: Duration = Duration::from_millis(800);

/// A product of one size is measured for this long.
const MULTIPLIED_FOR: Duration = Duration::from_millis(300);

/// Memory is read for this long to tell one rate.
const WINDOW: Duration = Duration::from_millis(40);

/// Larger than the last cache of today's processors, so that memory must be read.
const BUFFER_BYTES: usize = 1 << 30;

/// What a thread reads before it says so: far less than is read in a window.
const CHUNK_BYTES: usize = 1 << 20;

/// The sizes of the square products that are tried.
const SIZES: [usize; 6] = [512, 1024, 2048, 4096, 8192, 16384];

/// After a product that takes longer, no larger one is tried.
const LONG: Duration = Duration::from_millis(100);

/// Bytes a second that `threads` threads of this process, or one a core, read from memory together, each its own part of a
/// buffer: the most in any 40 ms.
///
/// # Errors
/// Where there is too little memory, or a thread can't be started.
pub fn read_bytes_per_second(threads: Option<u32>) -> Result<f64> {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = threads.map_or_else(cores, |threads| threads.max(1) as usize);
    read_for(READ_FOR, threads, (BUFFER_BYTES / threads / CHUNK_BYTES).max(1))
}

/// `threads` threads read, each `chunks` of its own again and again.
fn read_for(duration: Duration, threads: usize, chunks: usize) -> Result<f64> {
    let part = chunks * CHUNK_BYTES;
    let (chunks_read, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let read = || -> Result<()> {
        let mut buffer: Vec<u64> = Vec::new();
        buffer.try_reserve_exact(part / size_of::<u64>()).context("a buffer to read from")?;
        in_huge_pages(&buffer);
        // Written by the thread that reads it: memory is near to who touches it first.
        buffer.resize(part / size_of::<u64>(), 1);
        for chunk in buffer.chunks_exact(CHUNK_BYTES / size_of::<u64>()).cycle() {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            black_box(sum(black_box(chunk)));
            chunks_read.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let readers = (0..threads).map(|_| Builder::new().spawn_scoped(scope, read).context("a reader"));
        let readers =
            readers.collect::<Result<Vec<_>>>().inspect_err(|_| is_over.store(true, Ordering::Relaxed))?;
        let mut most = 0.0_f64;
        let mut start = None;
        while start.is_none_or(|start: Instant| start.elapsed() < duration) {
            if readers.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                break;
            }
            let (before, since) = (chunks_read.load(Ordering::Relaxed), Instant::now());
            std::thread::sleep(WINDOW);
            let (chunks, passed) = (chunks_read.load(Ordering::Relaxed) - before, since.elapsed());
            most = most.max((chunks * CHUNK_BYTES as u64) as f64 / passed.as_secs_f64());
            // Writing the buffers first is no reading.
            if chunks > 0 {
                start.get_or_insert(since);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().try_for_each(|reader| reader.join().expect("no panic"))?;
        Ok(most)
    })
}

/// Pages of 2 MiB, where there are such, take less time to find.
fn in_huge_pages(buffer: &Vec<u64>) {
    let bytes = buffer.capacity() * size_of::<u64>();
    // SAFETY: advice on memory of this vector changes nothing of its contents; where it can't be followed it is refused.
    unsafe { libc::madvise(buffer.as_ptr().cast_mut().cast(), bytes, libc::MADV_HUGEPAGE) };
}

fn sum(values: &[u64]) -> u64 {
    let (lines, rest) = values.as_chunks::<32>();
    let mut lanes = [0u64; 32];
    for line in lines {
        for (lane, value) in lanes.iter_mut().zip(line) {
            *lane = lane.wrapping_add(*value);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(0, u64::wrapping_add)
}

/// Operations a second of the fastest product of two square matrices. `prepare` makes what multiplies matrices of a size,
/// once a call, and waits until the device has done it. Sizes grow until a product takes long.
///
/// # Errors
/// Those of the smallest size; a larger one that fails is none.
pub fn product_flops_per_second<P: FnMut() -> Result<()>>(
    mut prepare: impl FnMut(usize) -> Result<P>,
) -> Result<f64> {
    let mut most = 0.0_f64;
    for (index, size) in SIZES.into_iter().enumerate() {
        let fastest = match prepare(size).and_then(|mut product| fastest(&mut product)) {
            Ok(fastest) => fastest,
            Err(error) if index == 0 => return Err(error),
            Err(_) => break,
        };
        most = most.max(2.0 * (size as f64).powi(3) / fastest.as_secs_f64());
        if fastest > LONG {
            break;
        }
    }
    Ok(most)
}

/// The fastest of several times, after one to warm up.
///
/// # Errors
/// Those of `run`.
pub fn fastest(run: &mut impl FnMut() -> Result<()>) -> Result<Duration> {
    run()?;
    let (start, mut fastest) = (Instant::now(), Duration::MAX);
    while start.elapsed() < MULTIPLIED_FOR {
        let before = Instant::now();
        run()?;
        fastest = fastest.min(before.elapsed());
    }
    Ok(fastest.max(Duration::from_nanos(1)))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_sum_is_the_sum_whatever_the_length() {
        for length in [0, 1, 31, 32, 33, 1000] {
            let values: Vec<u64> = (0..length).collect();
            assert_eq!(sum(&values), values.iter().sum::<u64>());
        }
    }

    #[test]
    fn memory_is_read() {
        assert!(read_for(Duration::from_millis(1), 2, 2).unwrap() > 0.0);
    }

    #[test]
    fn sizes_grow_until_one_fails() {
        let mut tried = Vec::new();
        let flops = product_flops_per_second(|size| {
            tried.push(size);
            if size > 1024 {
                bail!("no memory");
            }
            Ok(|| Ok(()))
        });
        assert!(flops.unwrap() > 0.0);
        assert_eq!(tried, [512, 1024, 2048]);
        let none = product_flops_per_second(|_| -> Result<fn() -> Result<()>> { bail!("no kernel") });
        assert_eq!(none.unwrap_err().to_string(), "no kernel");
    }
}
