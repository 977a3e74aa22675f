// A linear layer of a single row, on a weight as oneDNN lays it out on processors with AVX-512.

#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

// A weight `[out, in]` in panels of 16 to 64 outputs, each with a row of as many words for every step along the inputs: a word is a
// number in FP32, or two neighbours in BF16. A panel is read from one end to the other, which is how memory gives most.
class Panels {
  public:
    // `packed` is `weight` as oneDNN laid it out. Nothing where that is otherwise, or this processor has no instructions for it.
    static std::optional<Panels> of(const at::Tensor &weight, at::Tensor packed);

    // input · weightᵀ of an input `[…, in]` that is one row, in the weight's precision. Sums are in FP32.
    at::Tensor linear(const at::Tensor &input) const;

  private:
    Panels(const at::Tensor &weight, at::Tensor packed, int64_t width, int64_t steps);

    bool hold(const at::Tensor &weight) const;

    at::Tensor packed;
    const uint32_t *words;
    int64_t outputs, inputs;
    // Outputs and steps of a panel, padding among them.
    int64_t width, steps;
    bool are_pairs;
};
