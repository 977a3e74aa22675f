// A graph of a package of AOTInductor, as C functions for src/aoti/graph.rs. Errors are as in torch_shim.cpp.

#include <iostream>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include "attempt.h"

using at::Tensor;

namespace {

struct Graph {
    torch::inductor::AOTIModelPackageLoader loader;
    // Compiled code keeps the addresses of these tensors, not references.
    std::unordered_map<std::string, Tensor> weights;

    Graph(const char *path, const char *name, c10::DeviceIndex device) : loader(path, name, true, 1, device) {}
};

// Compiled code throws nothing: it writes to std::cerr what went wrong, and returns a code, of which the loader makes an
// exception that names neither. So what was written is the error's text.
template <typename Body>
char *attempt_compiled(Body &&body) noexcept {
    std::ostringstream said;
    auto *const before = std::cerr.rdbuf(said.rdbuf());
    char *error = attempt(body);
    std::cerr.rdbuf(before);
    const std::string text = said.str();
    if (error == nullptr) {
        std::cerr << text;
        return nullptr;
    }
    const std::string mark = "Exception in aoti_torch: ";
    const auto start = text.find(mark);
    if (text.empty()) {
        return error;
    }
    free(error);
    return strdup(text.c_str() + (start == std::string::npos ? 0 : start + mark.size()));
}

}  // namespace

extern "C" {

// `device` is -1 for the CPU.
char *aoti_open(const char *path, const char *name, int device, Graph **graph) {
    return attempt_compiled([&] { *graph = new Graph(path, name, static_cast<c10::DeviceIndex>(device)); });
}

void aoti_free(Graph *graph) {
    delete graph;
}

// All of the graph's weights, by their names. They are used where they are, and kept until the graph is freed.
char *aoti_set_weights(Graph *graph, const char *const *names, Tensor *const *tensors, size_t count) {
    return attempt_compiled([&] {
        graph->weights.clear();
        for (size_t index = 0; index < count; ++index) {
            graph->weights.emplace(names[index], *tensors[index]);
        }
        graph->loader.load_constants(graph->weights, false, true, true);
    });
}

// The graph's only output.
char *aoti_run(Graph *graph, Tensor *const *inputs, size_t count, Tensor **output) {
    return attempt_compiled([&] {
        std::vector<Tensor> all;
        all.reserve(count);
        for (size_t index = 0; index < count; ++index) {
            all.push_back(*inputs[index]);
        }
        auto outputs = graph->loader.boxed_run(std::move(all));
        *output = new Tensor(std::move(outputs.at(0)));
    });
}

}  // extern "C"
