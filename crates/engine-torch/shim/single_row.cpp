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
#include <immintrin.h>
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

template <typename Weight, typename Input>
using Some = void (*)(const Weight *, const Input *, int64_t, float *, int64_t, int64_t);

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
Some<T, float> choose() {
    const std::string instructions = at::get_cpu_capability();
    return instructions == "AVX512" ? with_avx512<T> : instructions == "AVX2" ? with_avx2<T> : with_any<T>;
}

#if defined(__x86_64__)

#define WITH_BF16 WITH("avx512f,avx512bw,avx512vl,avx512bf16")

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

// Null where this processor has no instructions for pairs.
Some<uint16_t, uint16_t> choose_pairs() {
    return at::get_cpu_capability() == "AVX512" && __builtin_cpu_supports("avx512bf16") ? some_pairs : nullptr;
}

#else

Some<uint16_t, uint16_t> choose_pairs() {
    return nullptr;
}

#endif

template <typename Weight, typename Input>
void all_rows(Some<Weight, Input> some, const Tensor &weight, const Tensor &input, Tensor &output) {
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
    TORCH_CHECK(weight.dim() == 2 && weight.numel() > 0 && weight.is_contiguous(), "a weight is a contiguous matrix");
    TORCH_CHECK(input.scalar_type() == kind && input.dim() > 0 && input.size(-1) == weight.size(1) &&
                    input.numel() == weight.size(1),
                "a single row of ", weight.size(1), " numbers, not ", input.sizes());
    auto sizes = input.sizes().vec();
    sizes.back() = weight.size(0);
    Tensor sums = at::empty(sizes, input.options().dtype(at::kFloat));
    const Tensor row = input.contiguous();
    if (kind == at::kFloat) {
        static const auto some = choose<float>();
        all_rows(some, weight, row, sums);
        return sums;
    }
    static const auto pairs = choose_pairs();
    static const auto some = choose<uint16_t>();
    if (pairs != nullptr) {
        all_rows(pairs, weight, row, sums);
    } else {
        all_rows(some, weight, row.to(at::kFloat), sums);
    }
    return sums.to(kind);
}
