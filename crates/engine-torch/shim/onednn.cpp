// oneDNN's linear layer, as C functions for src/onednn.rs: what torch.compile calls where `at::linear` would call MKL, found by
// name, for no header declares it. Errors are as in torch_shim.cpp.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "attempt.h"

using at::Tensor;

static c10::OperatorHandle find(const char *name) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

extern "C" {

// `weight` [out, in] as oneDNN wants it for so many rows of input: a tensor that only onednn_linear() can read.
char *onednn_pack(const Tensor *weight, int64_t rows, Tensor **packed) {
    return attempt([&] {
        using Pack = Tensor(const Tensor &, std::optional<int64_t>);
        static const auto pack = find("mkldnn::_reorder_linear_weight").typed<Pack>();
        *packed = new Tensor(pack.call(*weight, rows));
    });
}

// input · weightᵀ; `weight` is [out, in], or packed.
char *onednn_linear(const Tensor *input, const Tensor *weight, Tensor **output) {
    return attempt([&] {
        using Linear = Tensor(const Tensor &, const Tensor &, const std::optional<Tensor> &, std::string_view,
                              c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
        static const auto linear = find("mkldnn::_linear_pointwise").typed<Linear>();
        *output = new Tensor(linear.call(*input, *weight, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), ""));
    });
}

}  // extern "C"
