//! How fast the processor reads memory: what a decode forward can't be faster than.

use std::hint::black_box;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Memory is read for this long to tell one rate.
const WINDOW: Duration = Duration::from_millis(40);

/// Larger than the last cache of today's processors, so that memory must be read.
const BUFFER_BYTES: usize = 1 << 30;

/// What a thread reads before it says so: far less than is read in a window.
const CHUNK_BYTES: usize = 1 << 20;

/// Ways to read a chunk, in turn from window to window. Which is the faster one depends on the processor: one that waits for
/// memory longer needs more lines on their way, and every word that it looks at of a line takes the place of one.
const WAYS: [fn(&[u64]) -> u64; 2] = [sum, sum_of_lines];

/// Words of a cache line; of a longer one, more than one word is read.
const LINE: usize = 8;

/// Places of a chunk that are read at once.
const STREAMS: usize = 4;

/// Memory that is kept to be read: touching it for the first time can take seconds.
pub struct Reader {
    /// What each thread reads.
    parts: Vec<Vec<u64>>,
}

impl Reader {
    /// For `threads` threads, or one a core.
    ///
    /// # Errors
    /// Where there is too little memory, or a thread can't be started.
    pub fn new(threads: Option<u32>) -> Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.map_or_else(cores, |threads| threads.max(1) as usize);
        Self::of_chunks(threads, (BUFFER_BYTES / threads / CHUNK_BYTES).max(1))
    }

    fn of_chunks(threads: usize, chunks: usize) -> Result<Self> {
        let part = move || -> Result<Vec<u64>> {
            let (length, mut part) = (chunks * CHUNK_BYTES / size_of::<u64>(), Vec::new());
            part.try_reserve_exact(length).context("a buffer to read from")?;
            in_huge_pages(&part);
            part.resize(length, 1);
            Ok(part)
        };
        // Written by as many threads as read it: memory is near to who touches it first.
        let writers: Vec<_> =
            (0..threads).map(|_| Builder::new().spawn(part).context("a thread that writes")).collect();
        let parts = writers.into_iter().map(|writer| writer?.join().expect("no panic"));
        Ok(Self { parts: parts.collect::<Result<_>>()? })
    }

    /// Bytes a second that the threads read from memory together, each its own part, for `duration`: the most in any 40 ms, by the
    /// faster of two ways.
    ///
    /// # Errors
    /// Where a thread can't be started.
    pub fn bytes_per_second(&self, duration: Duration) -> Result<f64> {
        let (chunks_read, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let way = AtomicUsize::new(0);
        let read = |part: &[u64]| {
            for chunk in part.chunks_exact(CHUNK_BYTES / size_of::<u64>()).cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                black_box(WAYS[way.load(Ordering::Relaxed)](black_box(chunk)));
                chunks_read.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            let started = self.parts.iter().try_for_each(|part| {
                Builder::new().spawn_scoped(scope, || read(part)).map(drop).context("a reader")
            });
            let start = Instant::now();
            let mut most = 0.0_f64;
            let is_on = |_: &usize| started.is_ok() && start.elapsed() < duration;
            for next in (0..WAYS.len()).cycle().take_while(is_on) {
                way.store(next, Ordering::Relaxed);
                let (before, since) = (chunks_read.load(Ordering::Relaxed), Instant::now());
                std::thread::sleep(WINDOW);
                let (chunks, passed) = (chunks_read.load(Ordering::Relaxed) - before, since.elapsed());
                most = most.max((chunks * CHUNK_BYTES as u64) as f64 / passed.as_secs_f64());
            }
            is_over.store(true, Ordering::Relaxed);
            started.map(|()| most)
        })
    }
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

/// The sum of a word of every line: they have to come from memory whole.
fn sum_of_lines(values: &[u64]) -> u64 {
    let mut parts = values.chunks_exact(values.len() / STREAMS);
    let parts: [&[u64]; STREAMS] = std::array::from_fn(|_| parts.next().expect("a part for each"));
    let mut sums = [0u64; STREAMS];
    for place in (0..parts[0].len()).step_by(LINE) {
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum = sum.wrapping_add(part[place]);
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_the_sum_whatever_the_length() {
        for length in [0, 1, 31, 32, 33, 1000] {
            let values: Vec<u64> = (0..length).collect();
            assert_eq!(sum(&values), values.iter().sum::<u64>());
        }
    }

    #[test]
    fn a_word_of_every_line_is_read() {
        let mut values = vec![0; CHUNK_BYTES / size_of::<u64>()];
        values.iter_mut().step_by(LINE).for_each(|first| *first = 3);
        assert_eq!(sum_of_lines(&values), 3 * (CHUNK_BYTES / 64) as u64);
    }

    #[test]
    fn memory_is_read() {
        let reader = Reader::of_chunks(2, 2).unwrap();
        assert!(reader.bytes_per_second(Duration::from_millis(1)).unwrap() > 0.0);
    }
}
