//! What a device can do at most: how fast the processor reads memory, and how fast a library multiplies matrices.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Reading is measured for this long.
const READ_FOR: Duration = Duration::from_millis(800);

/// A product of one size is measured for this long.
const MULTIPLIED_FOR: Duration = Duration::from_millis(300);

/// The sizes of the square products that are tried.
const SIZES: [usize; 6] = [512, 1024, 2048, 4096, 8192, 16384];

/// After a product that takes longer, no larger one is tried.
const LONG: Duration = Duration::from_millis(100);

/// Bytes a second that `threads` threads, or one a core, read from memory together.
///
/// # Errors
/// Where there is too little memory, or a thread can't be started.
pub fn read_bytes_per_second(threads: Option<u32>) -> Result<f64> {
    Ok(bandwidth::Reader::new(threads)?.bytes_per_second(READ_FOR))
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
