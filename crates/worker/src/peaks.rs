//! Measures peaks: how fast the processor reads memory, and how fast a library multiplies matrices.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::timing::Clock;

/// Reading is measured for this long.
const READ_FOR: Duration = Duration::from_millis(800);

/// A product of one size is measured for this long.
const MULTIPLIED_FOR: Duration = Duration::from_millis(300);

/// The sizes of the square products that are tried.
const SIZES: [usize; 6] = [512, 1024, 2048, 4096, 8192, 16384];

/// The longest product after which a larger one is tried.
const LONG: Duration = Duration::from_millis(100);

/// The time of a batch of products between two waits for the device: a wait of some ten microseconds is then negligible, and
/// the device's queue stays short.
const BATCH: Duration = Duration::from_millis(100);

/// The most products in a batch: CUDA's queue holds about a thousand launches, and a launch into a full one waits.
const LONGEST_BATCH: u32 = 512;

/// The longest time of repeated products: a wrong unit must not take a day.
const LONGEST_SECONDS: f64 = 3600.0;

/// The size at which square products were fastest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FastestProduct {
    /// Rows and columns of each matrix.
    pub size: usize,
    /// Floating-point operations a second: the fastest single product.
    pub flops_per_second: f64,
}

/// Bytes a second that `threads` threads, or one a core, read from memory together.
///
/// # Errors
/// Fails where there is too little memory, or a thread can't be started.
pub fn read_bytes_per_second(threads: Option<u32>) -> Result<f64> {
    Ok(machine::MemoryReader::new(threads)?.bytes_per_second(READ_FOR))
}

/// Operations a second of the fastest product of two square matrices: [`fastest_product`] without its size.
///
/// # Errors
/// Those of [`fastest_product`].
pub fn product_flops_per_second<P: FnMut() -> Result<()>>(
    prepare: impl FnMut(usize) -> Result<P>,
) -> Result<f64> {
    Ok(fastest_product(prepare)?.flops_per_second)
}

/// The fastest product of two square matrices. `prepare` makes what multiplies matrices of a size, once a call, and waits
/// until the device has done it. Sizes grow until a product takes long.
///
/// # Errors
/// Those of the smallest size; a larger one that fails is none.
pub fn fastest_product<P: FnMut() -> Result<()>>(
    mut prepare: impl FnMut(usize) -> Result<P>,
) -> Result<FastestProduct> {
    let mut most = FastestProduct { size: SIZES[0], flops_per_second: 0.0 };
    for (index, size) in SIZES.into_iter().enumerate() {
        let fastest = match prepare(size).and_then(|mut product| fastest(&mut product)) {
            Ok(fastest) => fastest,
            Err(error) if index == 0 => return Err(error),
            Err(_) => break,
        };
        let flops_per_second = flops(size) / fastest.as_secs_f64();
        if flops_per_second > most.flops_per_second {
            most = FastestProduct { size, flops_per_second };
        }
        if fastest > LONG {
            break;
        }
    }
    Ok(most)
}

/// Mean operations a second of products of two matrices of `size` rows and columns, repeated for at least `seconds` of `clock`.
/// A device that slows down under load, to keep to its power limit, does so within that time.
///
/// `multiply` runs the given number of products one after the other, without a wait between them, and waits for the last.
///
/// # Errors
/// Those of `multiply`; `seconds` that are not above 0.
pub fn sustained_flops_per_second(
    mut multiply: impl FnMut(u32) -> Result<()>,
    size: usize,
    seconds: f64,
    clock: &dyn Clock,
) -> Result<f64> {
    ensure!(
        seconds > 0.0 && seconds <= LONGEST_SECONDS,
        "sustained_seconds: expected more than 0 and at most {LONGEST_SECONDS}, found {seconds}"
    );
    multiply(1)?;
    let start = clock.now();
    let (mut products, mut batch) = (0u64, 1);
    loop {
        multiply(batch)?;
        products += u64::from(batch);
        let elapsed = (clock.now().saturating_sub(start)).max(Duration::from_nanos(1)).as_secs_f64();
        if elapsed >= seconds {
            return Ok(products as f64 * flops(size) / elapsed);
        }
        let in_batch = BATCH.as_secs_f64() / (elapsed / products as f64);
        // At most twice the last batch: a first time that is too short must not make one that is far too long.
        batch = (in_batch.round() as u32).clamp(1, LONGEST_BATCH.min(2 * batch));
    }
}

/// Operations of a product of two matrices of `size` rows and columns: a multiplication and an addition for each term.
fn flops(size: usize) -> f64 {
    2.0 * (size as f64).powi(3)
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
    use std::cell::Cell;

    use anyhow::bail;

    use super::*;

    /// A clock that a test sets.
    struct Hand(Cell<Duration>);

    impl Clock for Hand {
        fn now(&self) -> Duration {
            self.0.get()
        }
    }

    /// Repeats products of `size` 1000, each of which takes `milliseconds`: the figure, and the batches.
    fn sustained(milliseconds: impl Fn(Duration) -> f64, seconds: f64) -> (Result<f64>, Vec<u32>) {
        let (clock, mut batches) = (Hand(Cell::new(Duration::from_secs(7))), Vec::new());
        let multiply = |count: u32| {
            batches.push(count);
            for _ in 0..count {
                let now = clock.now();
                clock.0.set(now + Duration::from_secs_f64(milliseconds(now) / 1e3));
            }
            Ok(())
        };
        let figure = sustained_flops_per_second(multiply, 1000, seconds, &clock);
        (figure, batches)
    }

    #[test]
    fn batches_grow_to_a_tenth_of_a_second_and_the_mean_is_over_all() {
        let (figure, batches) = sustained(|_| 10.0, 1.0);
        // 2e9 operations in 10 ms.
        assert!((figure.unwrap() / 2e11 - 1.0).abs() < 1e-9);
        // One to warm up, then 1 + 2 + 4 + 8 + 9 · 10 take a second.
        assert_eq!(batches[..5], [1, 1, 2, 4, 8]);
        assert!(batches[5..].iter().all(|&batch| batch == 10), "{batches:?}");
        assert_eq!(batches[1..].iter().sum::<u32>(), 105);
    }

    #[test]
    fn a_device_that_slows_down_is_as_fast_as_its_mean() {
        // For the first half second after 7 s a product takes 10 ms, then 20 ms: 50 products, then 75 more.
        let slows = |now: Duration| if now.as_secs_f64() < 7.499 { 10.0 } else { 20.0 };
        let (figure, _) = sustained(slows, 2.0);
        let mean = figure.unwrap();
        assert!(mean < 1.3e11 && mean > 1.2e11, "{mean:e}");
    }

    #[test]
    fn a_slow_product_is_waited_for_one_by_one_and_a_quick_one_fills_no_queue() {
        let (figure, batches) = sustained(|_| 700.0, 1.0);
        assert!((figure.unwrap() / (2e9 / 0.7) - 1.0).abs() < 1e-9);
        assert_eq!(batches, [1, 1, 1]);
        let (_, batches) = sustained(|_| 0.01, 0.1);
        assert_eq!(batches.iter().max(), Some(&LONGEST_BATCH));
    }

    #[test]
    fn impossible_times_and_products_that_fail_are_errors() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            let error = sustained(|_| 1.0, seconds).0.unwrap_err().to_string();
            assert!(error.starts_with("sustained_seconds: expected more than 0 and at most 3600"), "{error}");
        }
        let clock = Hand(Cell::new(Duration::ZERO));
        let error = sustained_flops_per_second(|_| bail!("no memory"), 8, 1.0, &clock).unwrap_err();
        assert_eq!(error.to_string(), "no memory");
    }

    #[test]
    fn the_fastest_size_is_known() {
        let fastest = fastest_product(|size| {
            if size > 512 {
                bail!("no memory");
            }
            Ok(|| Ok(()))
        });
        assert_eq!(fastest.unwrap().size, 512);
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
