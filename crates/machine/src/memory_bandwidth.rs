//! Measures how fast the processor reads memory: no decode forward is faster than that.

use std::hint::black_box;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Memory is read for this long to tell one rate.
const WINDOW: Duration = Duration::from_millis(40);

/// Larger than the last cache of today's processors, so that memory must be read.
const BUFFER_BYTES: usize = 1 << 30;

/// The bytes that a thread reads before it counts them: far less than is read in a window.
const CHUNK_BYTES: usize = 1 << 20;

/// Ways to read a chunk, which alternate from window to window. Which one is faster depends on the processor: with a longer
/// memory latency it needs more lines in flight, and each further word of a line takes the place of one.
const WAYS: [fn(&[u64]) -> u64; 2] = [sum, sum_of_lines];

/// Words per cache line; of a longer line, more than one word is read.
const LINE: usize = 8;

/// Places of a chunk that are read at once.
const STREAMS: usize = 4;

/// The size of a huge page on x86-64 and most others.
const HUGE_PAGE: usize = 2 << 20;

/// Threads that read memory on request and keep it in between: touching it for the first time can take seconds. Each thread
/// reads what it wrote itself, because memory lies near the core that touches it first.
pub struct MemoryReader {
    threads: Vec<(Sender<Arc<Task>>, JoinHandle<()>)>,
}

/// Memory is read until it is over.
#[derive(Default)]
struct Task {
    is_over: AtomicBool,
    /// An index into [`WAYS`].
    way: AtomicUsize,
    chunks_read: AtomicU64,
}

impl MemoryReader {
    /// Starts `threads` threads, or one per core.
    ///
    /// # Errors
    /// Fails where there is too little memory, or a thread can't be started.
    pub fn new(threads: Option<u32>) -> Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.map_or_else(cores, |threads| threads.max(1) as usize);
        Self::of_chunks(threads, (BUFFER_BYTES / threads / CHUNK_BYTES).max(1))
    }

    /// Each thread reads this many chunks of its own again and again.
    fn of_chunks(threads: usize, chunks: usize) -> Result<Self> {
        let (ready, all_ready) = channel();
        let start = |_| {
            let (tasks, given) = channel::<Arc<Task>>();
            let ready = ready.clone();
            let thread = move || match buffer(chunks * CHUNK_BYTES / size_of::<u64>()) {
                Ok(buffer) => {
                    let _ = ready.send(Ok(()));
                    given.iter().for_each(|task| task.read(&buffer));
                }
                Err(error) => drop(ready.send(Err(error))),
            };
            Ok((tasks, Builder::new().spawn(thread).context("a thread that reads memory")?))
        };
        let reader = Self { threads: (0..threads).map(start).collect::<Result<_>>()? };
        drop(ready);
        all_ready.iter().take(threads).collect::<Result<()>>()?;
        Ok(reader)
    }

    /// Bytes a second that the threads read from memory together, each its own part, for `duration`: the most in any 40 ms, by the
    /// faster of two ways.
    pub fn bytes_per_second(&self, duration: Duration) -> f64 {
        let task = Arc::new(Task::default());
        for (tasks, _) in &self.threads {
            tasks.send(task.clone()).expect("a thread ends with the reader");
        }
        let windows = (duration.as_millis() / WINDOW.as_millis()) as usize;
        let mut most = 0.0_f64;
        for window in 0..windows.max(WAYS.len()) {
            task.way.store(window % WAYS.len(), Ordering::Relaxed);
            let (before, since) = (task.chunks_read.load(Ordering::Relaxed), Instant::now());
            std::thread::sleep(WINDOW);
            let (chunks, passed) = (task.chunks_read.load(Ordering::Relaxed) - before, since.elapsed());
            most = most.max((chunks * CHUNK_BYTES as u64) as f64 / passed.as_secs_f64());
        }
        task.is_over.store(true, Ordering::Relaxed);
        most
    }
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        for (tasks, thread) in self.threads.drain(..) {
            drop(tasks);
            let _ = thread.join();
        }
    }
}

impl Task {
    fn read(&self, buffer: &[u64]) {
        for chunk in buffer.chunks_exact(CHUNK_BYTES / size_of::<u64>()).cycle() {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            black_box(WAYS[self.way.load(Ordering::Relaxed)](black_box(chunk)));
            self.chunks_read.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Memory that was written.
fn buffer(length: usize) -> Result<Vec<u64>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).context("a buffer to read from")?;
    in_huge_pages(&buffer);
    buffer.resize(length, 1);
    Ok(buffer)
}

/// Pages of 2 MiB, where there are such, take less time to find. Whether the system takes the advice.
fn in_huge_pages(buffer: &Vec<u64>) -> bool {
    // A large allocation begins a little behind a page, and advice is refused of anything but whole ones.
    let start = buffer.as_ptr().cast_mut().cast::<u8>();
    let before = start.align_offset(HUGE_PAGE);
    let bytes = (buffer.capacity() * size_of::<u64>()).saturating_sub(before) / HUGE_PAGE * HUGE_PAGE;
    // SAFETY: advice on memory of this vector changes nothing of its contents.
    unsafe { libc::madvise(start.wrapping_add(before).cast(), bytes, libc::MADV_HUGEPAGE) == 0 }
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
    fn one_word_of_every_line_is_read() {
        let mut values = vec![1000; CHUNK_BYTES / size_of::<u64>()];
        values.iter_mut().step_by(LINE).for_each(|first| *first = 3);
        assert_eq!(sum_of_lines(&values), 3 * (CHUNK_BYTES / 64) as u64);
    }

    #[test]
    fn memory_is_read_again_and_again() {
        let reader = MemoryReader::of_chunks(2, 2).unwrap();
        for _ in 0..2 {
            assert!(reader.bytes_per_second(Duration::from_millis(1)) > 0.0);
        }
    }

    #[test]
    fn what_can_not_be_allocated_is_an_error() {
        let error = MemoryReader::of_chunks(2, 1 << 40).err().unwrap().to_string();
        assert_eq!(error, "a buffer to read from");
    }

    /// Where the system has any.
    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_in_huge_pages() {
        let has_any = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
        let buffer = buffer(32 * HUGE_PAGE / size_of::<u64>()).unwrap();
        assert_eq!(in_huge_pages(&buffer), has_any);
    }
}
