// Which layout oneDNN chose can't be asked for: no header declares it. So it is recognised by its size and its contents.

#include "panels.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/empty.h>

using at::Tensor;

namespace at::native {
TORCH_API void *data_ptr_from_mkldnn(const Tensor &packed);
TORCH_API int64_t nbytes_from_mkldnn(const Tensor &packed);
}  // namespace at::native

#if defined(__x86_64__)

#include <immintrin.h>

namespace {

// Outputs of a register. A panel has those of one to MOST registers: oneDNN chooses.
constexpr int64_t LANES = 16;
constexpr int64_t MOST = 4;
// Smaller weights are multiplied before other threads have begun.
constexpr int64_t WORTH_A_THREAD = 1 << 14;

constexpr int64_t up(int64_t number, int64_t divisor) {
    return (number + divisor - 1) / divisor;
}

// at::get_cpu_capability() is AVX512 where there are all of these but the last.
#define WITH_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

struct Floats {
    WITH_AVX512 static __m512 add(__m512 sums, __m512i weight, __m512i input) {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(weight), _mm512_castsi512_ps(input), sums);
    }
};

struct Pairs {
    WITH_AVX512 static __m512 add(__m512 sums, __m512i weight, __m512i input) {
        return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(weight), reinterpret_cast<__m512bh>(input));
    }
};

// The sums of REGISTERS * LANES outputs, which stand side by side in every row of a panel. Several steps have sums of their own: none
// waits for the one before, and long sums are more exact. Memory is asked for AHEAD bytes before it is read, if any.
template <typename Words, int REGISTERS, int64_t AHEAD>
WITH_AVX512 void sum(const uint32_t *words, int64_t width, const int32_t *input, int64_t steps, float *output) {
    constexpr int AT_ONCE = 4;
    __m512 sums[AT_ONCE][REGISTERS];
    for (auto &some : sums) {
        for (auto &lanes : some) {
            lanes = _mm512_setzero_ps();
        }
    }
    int64_t step = 0;
    for (; step + AT_ONCE <= steps; step += AT_ONCE) {
#pragma GCC unroll 4
        for (int each = 0; each < AT_ONCE; ++each) {
            const auto factor = _mm512_set1_epi32(input[step + each]);
#pragma GCC unroll 4
            for (int index = 0; index < REGISTERS; ++index) {
                const auto *from = words + (step + each) * width + index * LANES;
                if constexpr (AHEAD > 0) {
                    _mm_prefetch(reinterpret_cast<const char *>(from) + AHEAD, _MM_HINT_T1);
                }
                const auto weight = _mm512_loadu_si512(from);
                sums[each][index] = Words::add(sums[each][index], weight, factor);
            }
        }
    }
    for (; step < steps; ++step) {
        const auto factor = _mm512_set1_epi32(input[step]);
#pragma GCC unroll 4
        for (int index = 0; index < REGISTERS; ++index) {
            sums[0][index] = Words::add(sums[0][index], _mm512_loadu_si512(words + step * width + index * LANES), factor);
        }
    }
#pragma GCC unroll 4
    for (int index = 0; index < REGISTERS; ++index) {
        const auto even = _mm512_add_ps(sums[0][index], sums[2][index]), odd = _mm512_add_ps(sums[1][index], sums[3][index]);
        _mm512_storeu_ps(output + index * LANES, _mm512_add_ps(even, odd));
    }
}

using Sum = void (*)(const uint32_t *, int64_t, const int32_t *, int64_t, float *);

template <typename Words, int64_t AHEAD>
Sum sum_of(int64_t registers) {
    constexpr Sum sums[MOST] = {sum<Words, 1, AHEAD>, sum<Words, 2, AHEAD>, sum<Words, 3, AHEAD>, sum<Words, 4, AHEAD>};
    return sums[registers - 1];
}

// Pairs in panels of so many outputs, as where there is AMX: on an Emerald Rapids processor memory gives 18 GB/s by itself, and asked so
// far ahead 24. In FP32 nothing is gained, and of other panels of pairs it is not known.
constexpr int64_t NARROW = 2 * LANES;
constexpr int64_t AHEAD_OF_NARROW = 4096;

// What one word of `weight`'s row holds: past the row's end, zeros.
uint32_t word(const Tensor &weight, int64_t output, int64_t step) {
    const int64_t row = weight.size(1) * weight.element_size(), at = step * sizeof(uint32_t);
    const auto *bytes = static_cast<const char *>(weight.const_data_ptr()) + output * row;
    uint32_t word = 0;
    memcpy(&word, bytes + at, std::min<int64_t>(sizeof word, row - at));
    return word;
}

}  // namespace

std::optional<Panels> Panels::of(const Tensor &weight, Tensor packed) {
    const auto kind = weight.scalar_type();
    const bool has_instructions = at::get_cpu_capability() == "AVX512" && (kind == at::kFloat || __builtin_cpu_supports("avx512bf16"));
    if (!has_instructions || (kind != at::kFloat && kind != at::kBFloat16)) {
        return std::nullopt;
    }
    const int64_t bytes = at::native::nbytes_from_mkldnn(packed);
    for (int64_t width = MOST * LANES; width > 0; width -= LANES) {
        const int64_t bytes_of_step = up(weight.size(0), width) * width * sizeof(uint32_t);
        const Panels panels(weight, packed, width, bytes / bytes_of_step);
        if (bytes % bytes_of_step == 0 && panels.hold(weight)) {
            return panels;
        }
    }
    return std::nullopt;
}

Panels::Panels(const Tensor &weight, Tensor as_packed, int64_t width, int64_t steps)
    : packed(std::move(as_packed)),
      words(static_cast<const uint32_t *>(at::native::data_ptr_from_mkldnn(packed))),
      outputs(weight.size(0)),
      inputs(weight.size(1)),
      width(width),
      steps(steps),
      are_pairs(weight.scalar_type() == at::kBFloat16) {}

// Looks up the whole first panel, and of every other output four words.
bool Panels::hold(const Tensor &weight) const {
    const int64_t needed = up(inputs, are_pairs ? 2 : 1);
    if (steps < needed) {
        return false;
    }
    for (int64_t output = 0; output < outputs; ++output) {
        const int64_t panel = output / width, lane = output % width;
        for (int64_t step = 0; step < needed; step += panel == 0 ? 1 : up(needed, 4)) {
            if (words[(panel * steps + step) * width + lane] != word(weight, output, step)) {
                return false;
            }
        }
    }
    return true;
}

Tensor Panels::linear(const Tensor &input) const {
    const auto kind = are_pairs ? at::kBFloat16 : at::kFloat;
    TORCH_CHECK(input.scalar_type() == kind && input.dim() > 0 && input.size(-1) == inputs && input.numel() == inputs,
                "a single row of ", inputs, " numbers in ", kind, ", not ", input.sizes(), " in ", input.scalar_type());
    const int64_t needed = up(inputs, are_pairs ? 2 : 1);
    const Tensor row = input.contiguous();
    // The last pair may be half of one.
    std::vector<int32_t> factors(needed);
    memcpy(factors.data(), row.const_data_ptr(), inputs * row.element_size());

    auto sizes = input.sizes().vec();
    sizes.back() = outputs;
    Tensor sums = at::empty(sizes, input.options().dtype(at::kFloat));
    auto *output = sums.mutable_data_ptr<float>();

    // Where threads would have unequal numbers of few panels, a register's outputs are the unit.
    const int64_t panels = up(outputs, width), threads = at::get_num_threads();
    const bool whole = panels % threads == 0 || panels >= 8 * threads;
    const int64_t unit = whole ? width : LANES;
    const Sum some = !are_pairs        ? sum_of<Floats, 0>(unit / LANES)
                     : width == NARROW ? sum_of<Pairs, AHEAD_OF_NARROW>(unit / LANES)
                                       : sum_of<Pairs, 0>(unit / LANES);
    const int64_t grain = std::max<int64_t>(1, WORTH_A_THREAD / (unit * inputs));
    at::parallel_for(0, up(outputs, unit), grain, [&](int64_t begin, int64_t end) {
        for (int64_t first = begin * unit; first < std::min(end * unit, outputs); first += unit) {
            const auto *from = words + first / width * width * steps + first % width;
            if (first + unit <= outputs) {
                some(from, width, factors.data(), needed, output + first);
            } else {
                float last[MOST * LANES];
                some(from, width, factors.data(), needed, last);
                std::copy_n(last, outputs - first, output + first);
            }
        }
    });
    return sums.to(kind);
}

#else

std::optional<Panels> Panels::of(const Tensor &, Tensor) {
    return std::nullopt;
}

Tensor Panels::linear(const Tensor &) const {
    TORCH_CHECK(false, "panels are AVX-512's");
}

#endif
