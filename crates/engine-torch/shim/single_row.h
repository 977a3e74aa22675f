// A linear layer of a single row, on a CPU.

#pragma once

#include <ATen/core/Tensor.h>

// input · weightᵀ of an input `[…, in]` that is one row, and a weight `[out, in]`, both in FP32 or in BF16. Sums are in FP32.
at::Tensor single_row_linear(const at::Tensor &input, const at::Tensor &weight);
