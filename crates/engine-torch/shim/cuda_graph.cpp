// CUDA graphs, as C functions for src/cuda_graph.rs. A library of its own, opened when libtorch_cuda.so is: what it needs of
// that is not there on a machine without a GPU. Errors are as in torch_shim.cpp.

#include <map>

#include <ATen/cuda/CUDAGraph.h>
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

// From here to graph_end() work is kept, not done.
char *graph_begin(Graph *graph) {
    return attempt([&] { graph->graph.capture_begin(); });
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

}  // extern "C"
