//! What the device can do at most, as libtorch's operators reach it.

use anyhow::{Context, Result};
use protocol::{CeilingsRequest, Precision, Reached};
use tch::{Device, Kind, Tensor, no_grad};
use worker::ceilings::{fastest, product_flops_per_second, read_bytes_per_second};

use crate::weights::kind;
use crate::{runtime, shim};

/// What is read on a GPU: far more than its caches hold.
const READ_BYTES: i64 = 4 << 30;

pub(crate) fn reached(request: &CeilingsRequest) -> Result<Reached> {
    let device = runtime::device(request.device)?;
    runtime::set_threads(request.threads);
    no_grad(|| {
        let mut reached = Reached::default();
        let read = match device {
            Device::Cuda(index) => read_on_gpu(index),
            _ => read_bytes_per_second(request.threads),
        };
        match read {
            Ok(read) => reached.read_bytes_per_second = Some(read),
            Err(error) => reached.notes.push(format!("reading memory: {error:#}")),
        }
        for &precision in &request.precisions {
            match product_flops_per_second(|size| product(size as i64, precision, device)) {
                Ok(flops) => {
                    reached.flops_per_second.insert(precision, flops);
                }
                Err(error) => reached.notes.push(format!("{precision}: {error:#}")),
            }
        }
        if let Device::Cuda(index) = device {
            shim::device_empty_cache(index)?;
        }
        Ok(reached)
    })
}

/// Multiplies by a transposed matrix, as a linear layer does. Of random numbers: zeros would draw less power, and be faster.
fn product(size: i64, precision: Precision, device: Device) -> Result<impl FnMut() -> Result<()>> {
    let random = || Tensor::f_randn([size, size], (Kind::Float, device))?.f_to_kind(kind(precision));
    let (input, weight) = (random()?, random()?.f_transpose(0, 1)?);
    let output = Tensor::f_empty([size, size], (kind(precision), device))?;
    Ok(move || {
        let _ = input.f_mm_out(&output, &weight)?;
        synchronize(device)
    })
}

/// The fastest of two ways to read: a sum, and a product with a vector, which is what a decode forward mostly does.
fn read_on_gpu(index: usize) -> Result<f64> {
    let device = Device::Cuda(index);
    // Rows of a multiple of 128 bytes.
    let side = ((READ_BYTES / 2) as f64).sqrt() as i64 / 64 * 64;
    let matrix = Tensor::f_randn([side, side], (Kind::Half, device)).context("4 GiB of the GPU's memory")?;
    let vector = Tensor::f_randn([side, 1], (Kind::Half, device))?;
    let numbers = matrix.f_view_([-1])?;
    let sum = fastest(&mut || {
        let _ = numbers.f_sum(Kind::Float)?;
        synchronize(device)
    })?;
    let product = fastest(&mut || {
        let _ = matrix.f_mm(&vector)?;
        synchronize(device)
    })?;
    Ok((2 * side * side) as f64 / sum.min(product).as_secs_f64())
}

fn synchronize(device: Device) -> Result<()> {
    if let Device::Cuda(index) = device {
        shim::device_synchronize(index)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_one_and_may_be_repeated() {
        let mut product = product(8, Precision::Bf16, Device::Cpu).unwrap();
        product().unwrap();
        product().unwrap();
    }
}
