// A linear layer of a single row: every weight is used once, so it takes what reading them takes.

#include "single_row.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/empty.h>

#if defined(__x86_64__)
#define WITH(instructions) __attribute__((target(instructions)))
#else
#define WITH(instructions)
#endif

using at::Tensor;

namespace {

// As many numbers as the widest registers hold; compilers make several instructions of it where they are narrower.
constexpr int64_t LANES = 16;
using Lanes = float __attribute__((vector_size(LANES * sizeof(float))));
using Halves = uint16_t __attribute__((vector_size(LANES * sizeof(uint16_t))));
using Words = uint32_t __attribute__((vector_size(LANES * sizeof(uint32_t))));

// A thread's share is a multiple of so many rows.
constexpr int64_t BLOCK = 8;
// Smaller weights are multiplied before other threads have begun.
constexpr int64_t WORTH_A_THREAD = 1 << 14;

#define INLINE inline __attribute__((always_inline))

INLINE Lanes load(const float *from) {
    Lanes lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

// bfloat16 is the upper half of a float.
INLINE Lanes load(const uint16_t *from) {
    Halves halves;
    memcpy(&halves, from, sizeof halves);
    const Words words = __builtin_convertvector(halves, Words) << 16;
    Lanes lanes;
    memcpy(&lanes, &words, sizeof lanes);
    return lanes;
}

INLINE float one(float number) {
    return number;
}

INLINE float one(uint16_t number) {
    const uint32_t word = static_cast<uint32_t>(number) << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

template <int64_t ROWS, typename T>
INLINE void rows(const T *weight, const float *input, int64_t inputs, float *output) {
    Lanes sums[ROWS] = {};
    int64_t index = 0;
    for (; index + LANES <= inputs; index += LANES) {
        const Lanes lanes = load(input + index);
#pragma GCC unroll 8
        for (int64_t row = 0; row < ROWS; ++row) {
            sums[row] += load(weight + row * inputs + index) * lanes;
        }
    }
    for (int64_t row = 0; row < ROWS; ++row) {
        float sum = 0;
        for (int64_t lane = 0; lane < LANES; ++lane) {
            sum += sums[row][lane];
        }
        for (int64_t rest = index; rest < inputs; ++rest) {
            sum += one(weight[row * inputs + rest]) * input[rest];
        }
        output[row] = sum;
    }
}

// Of rows that are read side by side memory gives more than of one alone, as long as their sums stay in registers.
template <int64_t SIDE_BY_SIDE, typename T>
INLINE void rows_from_to(const T *weight, const float *input, int64_t inputs, float *output, int64_t from, int64_t to) {
    for (; from + SIDE_BY_SIDE <= to; from += SIDE_BY_SIDE) {
        rows<SIDE_BY_SIDE>(weight + from * inputs, input, inputs, output + from);
    }
    for (; from < to; ++from) {
        rows<1>(weight + from * inputs, input, inputs, output + from);
    }
}

template <typename T>
using Some = void (*)(const T *, const float *, int64_t, float *, int64_t, int64_t);

template <typename T>
WITH("avx512f,avx512bw,avx512dq,avx512vl")
void with_avx512(const T *weight, const float *input, int64_t inputs, float *output, int64_t from, int64_t to) {
    rows_from_to<8>(weight, input, inputs, output, from, to);
}

template <typename T>
WITH("avx2,fma")
void with_avx2(const T *weight, const float *input, int64_t inputs, float *output, int64_t from, int64_t to) {
    rows_from_to<4>(weight, input, inputs, output, from, to);
}

template <typename T>
void with_any(const T *weight, const float *input, int64_t inputs, float *output, int64_t from, int64_t to) {
    rows_from_to<2>(weight, input, inputs, output, from, to);
}

// The one for the instructions that libtorch, too, has chosen (ATEN_CPU_CAPABILITY).
template <typename T>
Some<T> choose() {
    const std::string instructions = at::get_cpu_capability();
    return instructions == "AVX512" ? with_avx512<T> : instructions == "AVX2" ? with_avx2<T> : with_any<T>;
}

template <typename T>
void all_rows(const Tensor &weight, const Tensor &input, Tensor &output) {
    static const auto some = choose<T>();
    const int64_t outputs = weight.size(0), inputs = weight.size(1);
    const auto *from = static_cast<const T *>(weight.const_data_ptr());
    const auto *row = input.const_data_ptr<float>();
    auto *sums = output.mutable_data_ptr<float>();
    const int64_t blocks = (outputs + BLOCK - 1) / BLOCK;
    const int64_t grain = std::max<int64_t>(1, WORTH_A_THREAD / (BLOCK * inputs));
    at::parallel_for(0, blocks, grain, [&](int64_t begin, int64_t end) {
        some(from, row, inputs, sums, begin * BLOCK, std::min(end * BLOCK, outputs));
    });
}

}  // namespace

Tensor single_row_linear(const Tensor &input, const Tensor &weight) {
    const auto kind = weight.scalar_type();
    TORCH_CHECK(kind == at::kFloat || kind == at::kBFloat16, "a single row in FP32 or BF16, not ", kind);
    TORCH_CHECK(weight.dim() == 2 && weight.numel() > 0 && weight.is_contiguous(), "a weight is a contiguous matrix");
    TORCH_CHECK(input.scalar_type() == kind && input.dim() > 0 && input.size(-1) == weight.size(1) &&
                    input.numel() == weight.size(1),
                "a single row of ", weight.size(1), " numbers, not ", input.sizes());
    auto sizes = input.sizes().vec();
    sizes.back() = weight.size(0);
    Tensor sums = at::empty(sizes, input.options().dtype(at::kFloat));
    const Tensor row = input.to(at::kFloat).contiguous();
    if (kind == at::kFloat) {
        all_rows<float>(weight, row, sums);
    } else {
        all_rows<uint16_t>(weight, row, sums);
    }
    return sums.to(kind);
}
