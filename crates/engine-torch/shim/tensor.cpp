// libtorch's tensors and operators as C functions for src/tensor.rs, whose errors are as in torch_shim.cpp. Every operator includes
// its own header, or is a method: torch/torch.h would take a minute to compile.

#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_convert_weight_to_int4pack.h>
#include <ATen/ops/_convert_weight_to_int4pack_for_cpu.h>
#include <ATen/ops/_weight_int4pack_mm.h>
#include <ATen/ops/_weight_int4pack_mm_for_cpu.h>
#include <ATen/ops/_weight_int8pack_mm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "attempt.h"

using at::Tensor;

namespace {

// An `&[i64]` of Rust.
struct Ints {
    const int64_t *first;
    size_t count;

    operator at::IntArrayRef() const {
        return {first, count};
    }
};

// Has `*output` own what `body` returns.
template <typename Body>
char *make(Tensor **output, Body &&body) noexcept {
    return attempt([&] { *output = new Tensor(body()); });
}

at::ScalarType dtype(int kind) {
    return static_cast<at::ScalarType>(kind);
}

// `gpu` is -1 for the CPU.
at::Device device(int gpu) {
    return gpu < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(gpu));
}

at::TensorOptions options(int kind, int gpu) {
    return at::device(device(gpu)).dtype(dtype(kind));
}

}  // namespace

extern "C" {

// Tensors.

void tensor_free(Tensor *self) {
    delete self;
}

// Another handle of the same tensor.
Tensor *tensor_shallow_clone(const Tensor &self) noexcept {
    return new Tensor(self);
}

int tensor_kind(const Tensor &self) noexcept {
    return static_cast<int>(self.scalar_type());
}

int tensor_gpu(const Tensor &self) noexcept {
    return self.is_cpu() ? -1 : self.device().index();
}

size_t tensor_dim(const Tensor &self) noexcept {
    return static_cast<size_t>(self.dim());
}

size_t tensor_numel(const Tensor &self) noexcept {
    return static_cast<size_t>(self.numel());
}

size_t tensor_nbytes(const Tensor &self) noexcept {
    return self.nbytes();
}

char *tensor_size(const Tensor &self, int64_t dim, int64_t *size) {
    return attempt([&] { *size = self.size(dim); });
}

char *tensor_data_ptr(const Tensor &self, void **data) {
    return attempt([&] { *data = self.data_ptr(); });
}

// A copy of `count` numbers, as a tensor of one dimension.
char *tensor_from_data(const void *data, size_t count, int kind, Tensor **output) {
    return make(output, [&] {
        return at::from_blob(const_cast<void *>(data), {static_cast<int64_t>(count)}, dtype(kind)).clone();
    });
}

// Copies all numbers, row after row.
char *tensor_copy_data(const Tensor &self, void *data, size_t bytes) {
    return attempt([&] {
        const Tensor numbers = self.to(at::kCPU).contiguous();
        TORCH_CHECK(bytes == numbers.nbytes(), "room for ", bytes, " bytes, not ", numbers.nbytes());
        memcpy(data, numbers.const_data_ptr(), bytes);
    });
}

char *tensor_arange(int64_t start, int64_t end, int kind, int gpu, Tensor **output) {
    return make(output, [&] { return at::arange(start, end, options(kind, gpu)); });
}

char *tensor_empty(Ints size, int kind, int gpu, Tensor **output) {
    return make(output, [&] { return at::empty(size, options(kind, gpu)); });
}

char *tensor_randn(Ints size, int kind, int gpu, Tensor **output) {
    return make(output, [&] { return at::randn(size, options(kind, gpu)); });
}

char *tensor_zeros(Ints size, int kind, int gpu, Tensor **output) {
    return make(output, [&] { return at::zeros(size, options(kind, gpu)); });
}

// Operators, by name.

char *tensor_add(const Tensor &self, const Tensor &other, Tensor **output) {
    return make(output, [&] { return self.add(other); });
}

char *tensor_add_scalar(const Tensor &self, double other, Tensor **output) {
    return make(output, [&] { return self.add(other); });
}

char *tensor_cat(const Tensor *const *tensors, size_t count, int64_t dim, Tensor **output) {
    return make(output, [&] {
        std::vector<Tensor> list;
        list.reserve(count);
        for (size_t index = 0; index < count; ++index) {
            list.push_back(*tensors[index]);
        }
        return at::cat(list, dim);
    });
}

char *tensor_contiguous(const Tensor &self, Tensor **output) {
    return make(output, [&] { return self.contiguous(); });
}

char *tensor_copy(const Tensor &self, Tensor **output) {
    return make(output, [&] { return self.to(self.scalar_type(), false, true); });
}

char *tensor_copy_(Tensor &self, const Tensor &source) {
    return attempt([&] { self.copy_(source); });
}

char *tensor_cos(const Tensor &self, Tensor **output) {
    return make(output, [&] { return self.cos(); });
}

char *tensor_embedding(const Tensor &weight, const Tensor &indices, Tensor **output) {
    return make(output, [&] { return at::embedding(weight, indices); });
}

char *tensor_expand(const Tensor &self, Ints size, Tensor **output) {
    return make(output, [&] { return self.expand(size); });
}

char *tensor_fill_(Tensor &self, int64_t value) {
    return attempt([&] { self.fill_(value); });
}

char *tensor_index_copy_(Tensor &self, int64_t dim, const Tensor &index, const Tensor &source) {
    return attempt([&] { self.index_copy_(dim, index, source); });
}

char *tensor_index_select(const Tensor &self, int64_t dim, const Tensor &index, Tensor **output) {
    return make(output, [&] { return self.index_select(dim, index); });
}

char *tensor_le(const Tensor &self, const Tensor &other, Tensor **output) {
    return make(output, [&] { return self.le(other); });
}

char *tensor_convert_weight_to_int4pack(const Tensor &self, int64_t inner_k_tiles, Tensor **output) {
    return make(output, [&] { return at::_convert_weight_to_int4pack(self, inner_k_tiles); });
}

// The CPU's kernel does not look at the tiles.
char *tensor_convert_weight_to_int4pack_for_cpu(const Tensor &self, Tensor **output) {
    return make(output, [&] { return at::_convert_weight_to_int4pack_for_cpu(self, 1); });
}

char *tensor_weight_int4pack_mm(
    const Tensor &self, const Tensor &mat2, int64_t group_size, const Tensor &scales_and_zeros, Tensor **output
) {
    return make(output, [&] { return at::_weight_int4pack_mm(self, mat2, group_size, scales_and_zeros); });
}

char *tensor_weight_int4pack_mm_for_cpu(
    const Tensor &self, const Tensor &mat2, int64_t group_size, const Tensor &scales_and_zeros, Tensor **output
) {
    return make(output, [&] { return at::_weight_int4pack_mm_for_cpu(self, mat2, group_size, scales_and_zeros); });
}

char *tensor_weight_int8pack_mm(const Tensor &self, const Tensor &mat2, const Tensor &scales, Tensor **output) {
    return make(output, [&] { return at::_weight_int8pack_mm(self, mat2, scales); });
}

char *tensor_linear(const Tensor &input, const Tensor &weight, Tensor **output) {
    return make(output, [&] { return at::linear(input, weight); });
}

char *tensor_matmul(const Tensor &self, const Tensor &other, Tensor **output) {
    return make(output, [&] { return self.matmul(other); });
}

char *tensor_max_dim(const Tensor &self, int64_t dim, bool keepdim, Tensor **values, Tensor **indices) {
    return attempt([&] {
        auto [maxima, where] = self.max(dim, keepdim);
        *values = new Tensor(std::move(maxima));
        *indices = new Tensor(std::move(where));
    });
}

char *tensor_mean(const Tensor &self, Ints dims, bool keepdim, Tensor **output) {
    return make(output, [&] { return self.mean(dims, keepdim); });
}

char *tensor_mm(const Tensor &self, const Tensor &mat2, Tensor **output) {
    return make(output, [&] { return self.mm(mat2); });
}

char *tensor_mm_out(Tensor &out, const Tensor &self, const Tensor &mat2) {
    return attempt([&] { at::mm_out(out, self, mat2); });
}

char *tensor_mul(const Tensor &self, const Tensor &other, Tensor **output) {
    return make(output, [&] { return self.mul(other); });
}

char *tensor_mul_scalar(const Tensor &self, double other, Tensor **output) {
    return make(output, [&] { return self.mul(other); });
}

char *tensor_narrow(const Tensor &self, int64_t dim, int64_t start, int64_t length, Tensor **output) {
    return make(output, [&] { return self.narrow(dim, start, length); });
}

char *tensor_neg(const Tensor &self, Tensor **output) {
    return make(output, [&] { return self.neg(); });
}

char *tensor_pow(const Tensor &self, int64_t exponent, Tensor **output) {
    return make(output, [&] { return self.pow(exponent); });
}

char *tensor_reshape(const Tensor &self, Ints shape, Tensor **output) {
    return make(output, [&] { return self.reshape(shape); });
}

char *tensor_rsqrt(const Tensor &self, Tensor **output) {
    return make(output, [&] { return self.rsqrt(); });
}

// `mask` may be null.
char *tensor_scaled_dot_product_attention(const Tensor &query, const Tensor &key, const Tensor &value, const Tensor *mask,
                                          bool is_causal, double scale, bool enable_gqa, Tensor **output) {
    return make(output, [&] {
        const auto attn_mask = mask == nullptr ? std::nullopt : std::optional<Tensor>(*mask);
        return at::scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, scale, enable_gqa);
    });
}

char *tensor_select(const Tensor &self, int64_t dim, int64_t index, Tensor **output) {
    return make(output, [&] { return self.select(dim, index); });
}

char *tensor_silu(const Tensor &self, Tensor **output) {
    return make(output, [&] { return at::silu(self); });
}

char *tensor_sin(const Tensor &self, Tensor **output) {
    return make(output, [&] { return self.sin(); });
}

// `start` and `end` may be null.
char *tensor_slice(const Tensor &self, int64_t dim, const int64_t *start, const int64_t *end, Tensor **output) {
    const auto optional = [](const int64_t *number) { return number == nullptr ? std::nullopt : std::optional(*number); };
    return make(output, [&] { return self.slice(dim, optional(start), optional(end)); });
}

char *tensor_softmax(const Tensor &self, int64_t dim, int kind, Tensor **output) {
    return make(output, [&] { return self.softmax(dim, dtype(kind)); });
}

char *tensor_sub_scalar(const Tensor &self, int64_t other, Tensor **output) {
    return make(output, [&] { return self.sub(other); });
}

char *tensor_sum(const Tensor &self, int kind, Tensor **output) {
    return make(output, [&] { return self.sum(dtype(kind)); });
}

char *tensor_to_device(const Tensor &self, int gpu, Tensor **output) {
    return make(output, [&] { return self.to(device(gpu)); });
}

char *tensor_to_kind(const Tensor &self, int kind, Tensor **output) {
    return make(output, [&] { return self.to(dtype(kind)); });
}

char *tensor_transpose(const Tensor &self, int64_t dim0, int64_t dim1, Tensor **output) {
    return make(output, [&] { return self.transpose(dim0, dim1); });
}

char *tensor_unsqueeze(const Tensor &self, int64_t dim, Tensor **output) {
    return make(output, [&] { return self.unsqueeze(dim); });
}

char *tensor_view(const Tensor &self, Ints size, Tensor **output) {
    return make(output, [&] { return self.view(size); });
}

char *tensor_view_dtype(const Tensor &self, int kind, Tensor **output) {
    return make(output, [&] { return self.view(dtype(kind)); });
}

char *tensor_where_scalar_other(const Tensor &condition, const Tensor &self, double other, Tensor **output) {
    return make(output, [&] { return at::where(condition, self, other); });
}

// Settings.

// Whether operators keep what gradients would need; returns whether they did.
bool tensor_set_grad_enabled(bool enabled) {
    const bool before = c10::GradMode::is_enabled();
    c10::GradMode::set_enabled(enabled);
    return before;
}

char *tensor_set_num_threads(int threads) {
    return attempt([&] { at::set_num_threads(threads); });
}

char *tensor_set_num_interop_threads(int threads) {
    return attempt([&] { at::set_num_interop_threads(threads); });
}

}  // extern "C"
