// CUDA graphs, and what CUDA knows of a GPU, as C functions for src/cuda_graph.rs. A library of its own, opened when
// libtorch_cuda.so is: what it needs of that is not there on a machine without a GPU. Errors are as in torch_shim.cpp.

#include <map>

#include <ATen/Context.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include "attempt.h"

namespace {

// While it is made, work goes to a stream of its own: the default one can't be captured.
struct Graph {
    c10::DeviceIndex device;
    c10::cuda::CUDAStream before;
    at::cuda::CUDAGraph graph;

    explicit Graph(c10::DeviceIndex device) : device(device), before(c10::cuda::getCurrentCUDAStream(device)) {}
};

}  // namespace

extern "C" {

// From here to graph_leave() work goes to the graph's stream.
char *graph_enter(int device, Graph **graph) {
    return attempt([&] {
        const auto index = static_cast<c10::DeviceIndex>(device);
        c10::cuda::set_device(index);
        c10::cuda::device_synchronize();
        *graph = new Graph(index);
        // One for all graphs: libraries keep a workspace for every stream that they have seen.
        static std::map<c10::DeviceIndex, c10::cuda::CUDAStream> streams;
        const auto found = streams.find(index);
        const auto stream = found == streams.end() ? c10::cuda::getStreamFromPool(false, index) : found->second;
        streams.emplace(index, stream);
        c10::cuda::setCurrentCUDAStream(stream);
    });
}

// From here to graph_end() work is kept, not done. Memory is taken from the pool of `shared`, where that is not null.
char *graph_begin(Graph *graph, Graph *shared) {
    return attempt([&] {
        if (shared == nullptr) {
            graph->graph.capture_begin();
        } else {
            graph->graph.capture_begin(shared->graph.pool());
        }
    });
}

char *graph_end(Graph *graph) {
    return attempt([&] { graph->graph.capture_end(); });
}

char *graph_leave(Graph *graph) {
    return attempt([&] {
        c10::cuda::setCurrentCUDAStream(graph->before);
        c10::cuda::device_synchronize();
    });
}

char *graph_replay(Graph *graph) {
    return attempt([&] { graph->graph.replay(); });
}

void graph_free(Graph *graph) {
    delete graph;
}

char *device_capability(int device, int *major, int *minor) {
    return attempt([&] {
        C10_CUDA_CHECK(cudaDeviceGetAttribute(major, cudaDevAttrComputeCapabilityMajor, device));
        C10_CUDA_CHECK(cudaDeviceGetAttribute(minor, cudaDevAttrComputeCapabilityMinor, device));
    });
}

// Bytes of the device's memory, used or not: what a fraction is one of.
char *device_total_bytes(int device, size_t *bytes) {
    return attempt([&] {
        at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
        *bytes = c10::cuda::CUDACachingAllocator::get()->getMemoryInfo(static_cast<c10::DeviceIndex>(device)).second;
    });
}

// From here on the caching allocator holds no more than this fraction; what it has already stays.
char *device_set_memory_fraction(int device, double fraction) {
    return attempt([&] {
        at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
        c10::cuda::CUDACachingAllocator::setMemoryFraction(fraction, static_cast<c10::DeviceIndex>(device));
    });
}

}  // extern "C"
