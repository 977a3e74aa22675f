// Linear layers by oneDNN: what torch.compile calls where `at::linear` would call MKL, found by name, for no header declares it.
// C functions for src/onednn.rs, whose errors are as in torch_shim.cpp, and the operator that src/aoti/export.py calls.

#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_map>

#include <stdlib.h>
#include <sys/mman.h>

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include "attempt.h"
#include "panels.h"
#include "single_row.h"

using at::Tensor;

namespace {

c10::OperatorHandle find(const char *name) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

// Allocates as libtorch does on a CPU, but in huge pages where the system has some. (Its own THP_MEM_ALLOC_ENABLE would have every
// allocation of every forward there.)
struct HugePages final : c10::Allocator {
    static constexpr size_t SIZE = 2 << 20;

    c10::DataPtr allocate(size_t bytes) override {
        void *data = nullptr;
        if (bytes < SIZE || posix_memalign(&data, SIZE, bytes) != 0) {
            data = c10::alloc_cpu(bytes);
        } else {
            madvise(data, bytes, MADV_HUGEPAGE);
        }
        return {data, data, raw_deleter(), c10::Device(c10::DeviceType::CPU)};
    }

    // Both are freed alike: by free().
    c10::DeleterFnPtr raw_deleter() const override {
        return &c10::free_cpu;
    }

    void copy_data(void *to, const void *from, size_t bytes) const override {
        default_copy_data(to, from, bytes);
    }
};

// Has oneDNN, too, allocate in huge pages for as long as it lives.
class InHugePages {
  public:
    InHugePages() : usual(c10::GetCPUAllocator()) {
        static HugePages huge_pages;
        c10::SetCPUAllocator(&huge_pages);
    }
    ~InHugePages() {
        c10::SetCPUAllocator(usual);
    }
    InHugePages(const InHugePages &) = delete;
    InHugePages &operator=(const InHugePages &) = delete;

  private:
    c10::Allocator *usual;
};

// `weight` [out, in] as oneDNN wants it for so many rows of input: a tensor that only multiply() can read.
Tensor pack(const Tensor &weight, int64_t rows) {
    using Pack = Tensor(const Tensor &, std::optional<int64_t>);
    static const auto pack = find("mkldnn::_reorder_linear_weight").typed<Pack>();
    const InHugePages all_the_time;
    return pack.call(weight, rows);
}

Tensor multiply(const Tensor &input, const Tensor &packed) {
    using Linear = Tensor(const Tensor &, const Tensor &, const std::optional<Tensor> &, std::string_view,
                          c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
    static const auto linear = find("mkldnn::_linear_pointwise").typed<Linear>();
    return linear.call(input, packed, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), "");
}

// Of a single row oneDNN reads the weight slower than memory gives it. In FP16 there is nothing else.
bool is_single_row(const Tensor &input, const Tensor &weight) {
    const auto kind = weight.scalar_type();
    return input.numel() == weight.size(1) && (kind == at::kFloat || kind == at::kBFloat16);
}

struct Packed {
    Tensor tensor;
    // The same, where a single row can be multiplied with it.
    std::optional<Panels> panels;
};

// Packed weights by the addresses of those that they were made of, which stay alive: compiled code has no way to name them.
class AllPacked {
  public:
    void add(const Tensor &weight, Packed packed) {
        const std::lock_guard guard(mutex);
        const bool is_new = by_address.emplace(weight.const_data_ptr(), std::move(packed)).second;
        TORCH_CHECK(is_new, "a weight is laid out once");
    }

    Packed of(const Tensor &weight) {
        const std::lock_guard guard(mutex);
        const auto found = by_address.find(weight.const_data_ptr());
        TORCH_CHECK(found != by_address.end() && found->second.tensor.sizes() == weight.sizes(), "a weight that was not laid out");
        return found->second;
    }

    void forget(const Tensor &weight) {
        const std::lock_guard guard(mutex);
        by_address.erase(weight.const_data_ptr());
    }

    bool all_in_panels() {
        const std::lock_guard guard(mutex);
        return std::all_of(by_address.begin(), by_address.end(), [](const auto &each) { return each.second.panels.has_value(); });
    }

  private:
    std::mutex mutex;
    std::unordered_map<const void *, Packed> by_address;
};

AllPacked all_packed;

Tensor product(const Tensor &input, const Tensor &weight) {
    const Packed packed = all_packed.of(weight);
    if (!is_single_row(input, weight)) {
        return multiply(input, packed.tensor);
    }
    return packed.panels ? packed.panels->linear(input) : single_row_linear(input, weight);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(llama2_bench, library) {
    library.def("linear(Tensor input, Tensor weight) -> Tensor");
    library.impl("linear", c10::DispatchKey::CPU, &product);
}

extern "C" {

// Has onednn_linear() multiply with a copy of `weight` [out, in] that is laid out for `rows` rows. The weight stays alive until
// onednn_forget(); it is read again for single rows alone, and only where the copy is not in panels.
char *onednn_pack(const Tensor *weight, int64_t rows) {
    return attempt([&] {
        const Tensor packed = pack(*weight, rows);
        all_packed.add(*weight, {packed, Panels::of(*weight, packed)});
    });
}

bool onednn_all_in_panels() {
    return all_packed.all_in_panels();
}

void onednn_forget(const Tensor *weight) {
    all_packed.forget(*weight);
}

// input · weightᵀ.
char *onednn_linear(const Tensor *input, const Tensor *weight, Tensor **output) {
    return attempt([&] { *output = new Tensor(product(*input, *weight)); });
}

}  // extern "C"
