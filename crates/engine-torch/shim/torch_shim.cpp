// The parts of libtorch beside tensors and their operators, as C functions for src/shim.rs. Each returns null, or what went wrong as
// a text for free(); no C++ exception leaves this file.

#include <functional>
#include <vector>

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/Event.h>
#include <caffe2/core/common.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>
#include <torch/library.h>

#include "attempt.h"

using at::Tensor;
using torch::jit::Module;

namespace accelerator = at::accelerator;

using AllReduce = char *(*)(void *start, size_t len, int kind, int gpu);

static AllReduce all_reduce = nullptr;

// Sums over all ranks, in place: what a script calls as llama2_bench.all_reduce_.
static Tensor sum_over_ranks(Tensor terms) {
    TORCH_CHECK(all_reduce != nullptr, "no ranks to sum over");
    TORCH_CHECK(terms.is_contiguous(), "the sum over ranks needs a contiguous tensor");
    const int gpu = terms.is_cpu() ? -1 : terms.device().index();
    char *error = all_reduce(terms.data_ptr(), static_cast<size_t>(terms.numel()), static_cast<int>(terms.scalar_type()), gpu);
    if (error != nullptr) {
        std::string text(error);
        free(error);
        TORCH_CHECK(false, text);
    }
    return terms;
}

TORCH_LIBRARY(llama2_bench, library) {
    library.def("all_reduce_(Tensor(a!) terms) -> Tensor(a!)");
    library.impl("all_reduce_", c10::DispatchKey::CompositeExplicitAutograd, &sum_over_ranks);
}

namespace {

// What names outside a script mean: libtorch's operators, and ours.
struct Names : torch::jit::Resolver {
    std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string &name, torch::jit::GraphFunction &,
                                                           const torch::jit::SourceRange &) override {
        if (name == "torch") {
            return std::make_shared<torch::jit::BuiltinModule>("aten");
        }
        return name == "llama2_bench" ? std::make_shared<torch::jit::BuiltinModule>(name) : nullptr;
    }
};

}  // namespace

extern "C" {

// Bytes that someone else owns, as a tensor of uint8. `release(owner)` is called when the last tensor over them is gone,
// and also where this fails.
char *shim_tensor_over(void *bytes, int64_t len, void *owner, void (*release)(void *), Tensor **tensor) {
    return attempt([&] {
        std::shared_ptr<void> held(owner, release);
        *tensor = new Tensor(at::from_blob(bytes, {len}, [held](void *) {}, at::kByte));
    });
}

// libtorch's version, for free(). Of its build settings, and not of show_config(), which looks for the CUDA part: once in a process,
// and this is called before that is loaded.
char *shim_version(char **text) {
    return attempt([&] { *text = strdup(caffe2::GetBuildOptions().at("TORCH_VERSION").c_str()); });
}

// libtorch's account of itself: versions and build settings, for free().
char *shim_config(char **text) {
    return attempt([&] { *text = strdup(at::show_config().c_str()); });
}

// A TorchScript module without attributes and methods, in evaluation mode.
char *shim_script_new(const char *class_name, Module **module) {
    return attempt([&] {
        // With the default strategy a kernel is fused for fixed sizes twice and for any size ten times, and from then on
        // not at all; here sizes change with every cell and every token.
        torch::jit::FusionStrategy any_size{{torch::jit::FusionBehavior::DYNAMIC, 20}};
        torch::jit::setFusionStrategy(any_size);
        *module = new Module(class_name);
        (*module)->register_attribute("training", c10::BoolType::get(), false);
    });
}

void shim_script_free(Module *module) {
    delete module;
}

char *shim_script_set_int(Module *module, const char *name, int64_t value) {
    return attempt([&] { module->register_attribute(name, c10::IntType::get(), value); });
}

char *shim_script_set_float(Module *module, const char *name, double value) {
    return attempt([&] { module->register_attribute(name, c10::FloatType::get(), value); });
}

char *shim_script_set_bool(Module *module, const char *name, bool value) {
    return attempt([&] { module->register_attribute(name, c10::BoolType::get(), value); });
}

char *shim_script_set_tensor(Module *module, const char *name, const Tensor *value) {
    return attempt([&] { module->register_attribute(name, c10::TensorType::get(), *value); });
}

static c10::List<Tensor> list_of(Tensor *const *tensors, size_t count) {
    c10::List<Tensor> list;
    list.reserve(count);
    for (size_t index = 0; index < count; ++index) {
        list.push_back(*tensors[index]);
    }
    return list;
}

char *shim_script_set_tensors(Module *module, const char *name, Tensor *const *values, size_t count) {
    return attempt([&] {
        module->register_attribute(name, c10::ListType::ofTensors(), list_of(values, count));
    });
}

// Compiles the functions in `source` as methods.
char *shim_script_define(Module *module, const char *source) {
    return attempt([&] { module->define(source, std::make_shared<Names>()); });
}

// Makes constants of all attributes and inlines all methods into `forward`. The other methods are kept: freezing would free
// them, and where an operator fails, as it does when memory runs out, the interpreter asks them for their names.
char *shim_script_freeze(Module *module) {
    return attempt([&] {
        std::vector<std::string> methods;
        for (const auto &method : module->get_methods()) {
            if (method.name() != "forward") {
                methods.push_back(method.name());
            }
        }
        *module = torch::jit::freeze(*module, methods);
    });
}

// forward(input_ids, past_length, keys, values) -> logits. The script replaces items of the two lists; what they are in
// the end replaces the caller's tensors.
char *shim_script_forward(Module *module, const Tensor *input_ids, int64_t past_length, Tensor *const *keys,
                          Tensor *const *values, size_t layers, Tensor **logits) {
    return attempt([&] {
        auto key_list = list_of(keys, layers);
        auto value_list = list_of(values, layers);
        auto output = module->forward({*input_ids, past_length, key_list, value_list}).toTensor();
        for (size_t layer = 0; layer < layers; ++layer) {
            *keys[layer] = key_list.get(layer);
            *values[layer] = value_list.get(layer);
        }
        *logits = new Tensor(std::move(output));
    });
}

void shim_set_all_reduce(AllReduce function) {
    all_reduce = function;
}

// The native handle of the stream that operators on `device` go to.
char *shim_current_stream(int device, void **stream) {
    return attempt([&] {
        *stream = accelerator::getCurrentStream(static_cast<c10::DeviceIndex>(device)).native_handle();
    });
}

// Whether scaled_dot_product_attention may choose cuDNN's kernels.
char *shim_set_cudnn_attention(bool allowed) {
    return attempt([&] { at::globalContext().setSDPUseCuDNN(allowed); });
}

// Attention of queries that are the last ones of a sequence, the last of them attending to all keys. Flash attention's own operator
// takes `is_causal` so; scaled_dot_product_attention would let the first query attend to the first key alone. On a CPU that
// operator is not there, and a mask says the same.
char *shim_causal_attention(const Tensor *query, const Tensor *key, const Tensor *value, double scale, Tensor **output) {
    return attempt([&] {
        if (query->is_cuda()) {
            *output = new Tensor(std::get<0>(
                at::_scaled_dot_product_flash_attention(*query, *key, *value, 0.0, true, false, scale)));
            return;
        }
        const int64_t queries = query->size(2), keys = key->size(2);
        const Tensor mask = at::ones({queries, keys}, query->options().dtype(at::kBool)).tril(keys - queries);
        const bool enable_gqa = query->size(1) != key->size(1);
        *output = new Tensor(
            at::scaled_dot_product_attention(*query, *key, *value, mask, 0.0, false, scale, enable_gqa));
    });
}

// How many accelerators libtorch sees; libtorch_cuda.so must be loaded before the first call.
int shim_device_count() {
    return accelerator::deviceCount();
}

char *shim_device_synchronize(int device) {
    return attempt([&] { accelerator::synchronizeDevice(static_cast<c10::DeviceIndex>(device)); });
}

// Gives what the caching allocator holds unused back, and lets the peak start anew.
char *shim_device_empty_cache(int device) {
    return attempt([&] {
        accelerator::emptyCache();
        accelerator::resetPeakStats(static_cast<c10::DeviceIndex>(device));
    });
}

// The most that the caching allocator held since then, used or not.
char *shim_device_peak_bytes(int device, int64_t *bytes) {
    return attempt([&] {
        auto stats = accelerator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
        *bytes = stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
    });
}

// An event of accelerator `device` that notes when its current stream gets there.
char *shim_event_new(c10::Event **event) {
    return attempt([&] {
        *event = new c10::Event(accelerator::getAccelerator(true).value(), c10::EventFlag::BACKEND_DEFAULT);
    });
}

void shim_event_free(c10::Event *event) {
    delete event;
}

char *shim_event_record(c10::Event *event, int device) {
    return attempt([&] { event->record(accelerator::getCurrentStream(static_cast<c10::DeviceIndex>(device))); });
}

// Both must have happened.
char *shim_event_seconds(const c10::Event *from, const c10::Event *to, double *seconds) {
    return attempt([&] { *seconds = from->elapsedTime(*to) / 1e3; });
}

}  // extern "C"
