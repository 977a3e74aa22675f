//! Peaks of the device, as libtorch's operators reach them.

use anyhow::{Context, Result};
use protocol::{Device, Dtype, PeaksRequest, Reached};
use worker::peaks::{fastest, fastest_product, read_bytes_per_second, sustained_flops_per_second};
use worker::timing::MonotonicClock;

use crate::tensor::{Kind, Tensor, no_grad};
use crate::weights::kind;
use crate::{runtime, shim};

/// The bytes to read on a GPU: far more than its caches hold.
const READ_BYTES: i64 = 4 << 30;

pub(crate) fn reached(request: &PeaksRequest) -> Result<Reached> {
    let device = request.device;
    runtime::ensure_usable(device)?;
    runtime::set_threads(request.threads)?;
    no_grad(|| {
        let mut reached = Reached::default();
        let read = match device {
            Device::Cuda(index) => read_on_gpu(index),
            Device::Cpu => read_bytes_per_second(request.threads),
        };
        match read {
            Ok(read) => reached.read_bytes_per_second = Some(read),
            Err(error) => reached.notes.push(format!("reading memory: {error:#}")),
        }
        for &dtype in &request.precisions {
            if let Err(error) = multiply(request, dtype, device, &mut reached) {
                reached.notes.push(format!("{dtype}: {error:#}"));
            }
        }
        if let Device::Cuda(index) = device {
            shim::device_empty_cache(index as usize)?;
        }
        Ok(reached)
    })
}

/// Adds what products in `dtype` reach: the fastest one, and the mean over the time that is asked for.
fn multiply(request: &PeaksRequest, dtype: Dtype, device: Device, reached: &mut Reached) -> Result<()> {
    let fastest = fastest_product(|size| {
        let mut product = product(size as i64, dtype, device)?;
        Ok(move || product(1))
    })?;
    reached.flops_per_second.insert(dtype, fastest.flops_per_second);
    if let Some(seconds) = request.sustained_seconds {
        let product = product(fastest.size as i64, dtype, device)?;
        let mean = sustained_flops_per_second(product, fastest.size, seconds, &MonotonicClock::start())?;
        reached.sustained_flops_per_second.insert(dtype, mean);
    }
    Ok(())
}

/// Multiplies by a transposed matrix, as a linear layer does, as often as asked, and waits for the last product. The numbers
/// are random: zeros would draw less power, and be faster.
fn product(size: i64, dtype: Dtype, device: Device) -> Result<impl FnMut(u32) -> Result<()>> {
    let random = || Tensor::randn(&[size, size], (Kind::Float, device))?.to_kind(kind(dtype));
    let (input, weight) = (random()?, random()?.transpose(0, 1)?);
    let mut output = Tensor::empty(&[size, size], (kind(dtype), device))?;
    Ok(move |times| {
        for _ in 0..times {
            Tensor::mm_out(&mut output, &input, &weight)?;
        }
        synchronize(device)
    })
}

/// The fastest of two ways to read: a sum, and a product with a vector, which is what a decode forward mostly does.
fn read_on_gpu(index: u32) -> Result<f64> {
    let device = Device::Cuda(index);
    // Rows of a multiple of 128 bytes.
    let side = ((READ_BYTES / 2) as f64).sqrt() as i64 / 64 * 64;
    let matrix = Tensor::randn(&[side, side], (Kind::Half, device)).context("4 GiB of the GPU's memory")?;
    let vector = Tensor::randn(&[side, 1], (Kind::Half, device))?;
    let numbers = matrix.view(&[-1])?;
    let sum = fastest(&mut || {
        let _ = numbers.sum(Kind::Float)?;
        synchronize(device)
    })?;
    let product = fastest(&mut || {
        let _ = matrix.mm(&vector)?;
        synchronize(device)
    })?;
    Ok((2 * side * side) as f64 / sum.min(product).as_secs_f64())
}

fn synchronize(device: Device) -> Result<()> {
    if let Device::Cuda(index) = device {
        shim::device_synchronize(index as usize)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_one_and_may_be_repeated() {
        let mut product = product(8, Dtype::Bf16, Device::Cpu).unwrap();
        product(1).unwrap();
        product(3).unwrap();
    }

    #[test]
    fn the_mean_is_measured_where_it_is_asked_for() {
        let multiply = |sustained_seconds| {
            let request = PeaksRequest {
                device: Device::Cpu,
                precisions: vec![Dtype::Fp32],
                threads: Some(1),
                sustained_seconds,
                options: protocol::Options::new(),
            };
            let mut reached = Reached::default();
            super::multiply(&request, Dtype::Fp32, Device::Cpu, &mut reached).map(|()| reached)
        };
        let reached = multiply(Some(0.1)).unwrap();
        assert!(reached.flops_per_second[&Dtype::Fp32] > 0.0);
        assert!(reached.sustained_flops_per_second[&Dtype::Fp32] > 0.0);
        assert!(multiply(None).unwrap().sustained_flops_per_second.is_empty());
        let error = multiply(Some(-1.0)).unwrap_err().to_string();
        assert!(error.starts_with("sustained_seconds: expected more than 0"), "{error}");
    }
}
