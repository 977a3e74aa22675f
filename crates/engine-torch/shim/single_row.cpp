// A linear layer of a single row: every weight is used once, so it takes what reading them takes.

#include <cstdint>
#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "single_row.h"

using at::Tensor;

namespace {

// As many numbers as the widest registers hold; compilers make several instructions of it where they are narrower.
constexpr int64_t LANES = 16;
using Lanes = float __attribute__((vector_size(LANES * sizeof(float))));
using Halves = uint16_t __attribute__((vector_size(LANES * sizeof(uint16_t))));
using Words = uint32_t __attribute__((vector_size(LANES * sizeof(uint32_t))));

// Rows of the weight that are read side by side: from one alone memory gives less.
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

template <typename T>
INLINE void rows_from_to(const T *weight, const float *input, int64_t inputs, float *output, int64_t from, int64_t to) {
    for (; from + BLOCK <= to; from += BLOCK) {
        rows<BLOCK>(weight + from * inputs, input, inputs, output + from);
    }
    for (; from < to; ++from) {
        rows<1>(weight + from * inputs, input, inputs, output + from);
    }
}

// The loader takes the one that this processor has the instructions for.
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

FOR_EVERY_PROCESSOR void some_rows(const float *weight, const float *input, int64_t inputs, float *output, int64_t from,
                                   int64_t to) {
    rows_from_to(weight, input, inputs, output, from, to);
}

FOR_EVERY_PROCESSOR void some_rows(const uint16_t *weight, const float *input, int64_t inputs, float *output, int64_t from,
                                   int64_t to) {
    rows_from_to(weight, input, inputs, output, from, to);
}

#ifdef __x86_64__

#define WITH_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

// Two numbers a lane at once, without making floats of them.
template <int64_t ROWS>
WITH_BF16 void pairs(const uint16_t *weight, const uint16_t *input, int64_t inputs, float *output) {
    constexpr int64_t STEP = 2 * LANES;
    const int64_t whole = inputs / STEP * STEP;
    const __mmask32 rest = (__mmask32{1} << (inputs - whole)) - 1;
    __m512 sums[ROWS];
#pragma GCC unroll 8
    for (int64_t row = 0; row < ROWS; ++row) {
        const auto other = _mm512_maskz_loadu_epi16(rest, weight + row * inputs + whole);
        const auto lanes = _mm512_maskz_loadu_epi16(rest, input + whole);
        sums[row] = _mm512_dpbf16_ps(_mm512_setzero_ps(), reinterpret_cast<__m512bh>(other), reinterpret_cast<__m512bh>(lanes));
    }
    for (int64_t index = 0; index < whole; index += STEP) {
        const auto lanes = reinterpret_cast<__m512bh>(_mm512_loadu_si512(input + index));
#pragma GCC unroll 8
        for (int64_t row = 0; row < ROWS; ++row) {
            const auto other = reinterpret_cast<__m512bh>(_mm512_loadu_si512(weight + row * inputs + index));
            sums[row] = _mm512_dpbf16_ps(sums[row], other, lanes);
        }
    }
#pragma GCC unroll 8
    for (int64_t row = 0; row < ROWS; ++row) {
        float lanes[LANES], sum = 0;
        _mm512_storeu_ps(lanes, sums[row]);
        for (const float lane : lanes) {
            sum += lane;
        }
        output[row] = sum;
    }
}

WITH_BF16 void some_pairs(const uint16_t *weight, const uint16_t *input, int64_t inputs, float *output, int64_t from,
                          int64_t to) {
    for (; from + BLOCK <= to; from += BLOCK) {
        pairs<BLOCK>(weight + from * inputs, input, inputs, output + from);
    }
    for (; from < to; ++from) {
        pairs<1>(weight + from * inputs, input, inputs, output + from);
    }
}

bool has_bf16() {
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

#else

void some_pairs(const uint16_t *, const uint16_t *, int64_t, float *, int64_t, int64_t) {}

bool has_bf16() {
    return false;
}

#endif

template <typename Weight, typename Input>
void all_rows(void (*some)(const Weight *, const Input *, int64_t, float *, int64_t, int64_t), const Tensor &weight,
              const Tensor &input, Tensor &output) {
    const int64_t outputs = weight.size(0), inputs = weight.size(1);
    const auto *from = static_cast<const Weight *>(weight.const_data_ptr());
    const auto *row = static_cast<const Input *>(input.const_data_ptr());
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
    TORCH_CHECK(weight.dim() == 2 && weight.is_contiguous(), "a single row's weight is a contiguous matrix");
    TORCH_CHECK(input.scalar_type() == kind && input.dim() > 0 && input.numel() == weight.size(1), "a single row of ",
                weight.size(1), " numbers, not ", input.sizes());
    auto sizes = input.sizes().vec();
    sizes.back() = weight.size(0);
    Tensor sums = at::empty(sizes, input.options().dtype(at::kFloat));
    const Tensor row = input.contiguous();
    static const bool bf16 = has_bf16();
    if (kind == at::kFloat) {
        all_rows<float, float>(some_rows, weight, row, sums);
    } else if (bf16) {
        all_rows<uint16_t, uint16_t>(some_pairs, weight, row, sums);
    } else {
        all_rows<uint16_t, float>(some_rows, weight, row.to(at::kFloat), sums);
    }
    return sums.to(kind);
}
