// The driver's functions are taken by name, in the form that they had in CUDA 11: it is the same in every driver since,
// while that of the runtime's differs between CUDA 12 and 13.
#include "cuda/memset_nodes.h"

#include "cuda/kernel_options.h"
#include "cuda/nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <vector>

namespace nbit {
namespace {

using Node = void*;
struct MemsetParams {
  unsigned long long to;
  size_t pitch;
  unsigned value, elementSize;
  size_t width, height;
};
struct KernelParams {
  void* function;
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  void** arguments;
  void** extra;
};
struct Api {
  int (*getNodes)(void*, Node*, size_t*) = nullptr;
  int (*getType)(Node, int*) = nullptr;
  int (*memsetParams)(Node, MemsetParams*) = nullptr;
  int (*dependencies)(Node, Node*, size_t*) = nullptr;
  int (*dependents)(Node, Node*, size_t*) = nullptr;
  int (*addKernel)(Node*, void*, const Node*, size_t, const KernelParams*) = nullptr;
  int (*addDependencies)(void*, const Node*, const Node*, size_t) = nullptr;
  int (*destroy)(Node) = nullptr;
  bool complete = false;
};
const Api& api() {
  static const Api loaded = [] {
    Api a;
    void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    const auto load = [&](auto& target, const char* name) {
      target = driver ? reinterpret_cast<std::remove_reference_t<decltype(target)>>(dlsym(driver, name)) : nullptr;
      return target != nullptr;
    };
    a.complete = load(a.getNodes, "cuGraphGetNodes") & load(a.getType, "cuGraphNodeGetType") &
                 load(a.memsetParams, "cuGraphMemsetNodeGetParams") &
                 load(a.dependencies, "cuGraphNodeGetDependencies") &
                 load(a.dependents, "cuGraphNodeGetDependentNodes") & load(a.addKernel, "cuGraphAddKernelNode") &
                 load(a.addDependencies, "cuGraphAddDependencies") & load(a.destroy, "cuGraphDestroyNode");
    return a;
  }();
  return loaded;
}

constexpr int kMemset = 2;
constexpr size_t kMostBytes = 1 << 20;  // of more, the memset itself is what takes the time

template <class F>
bool listOf(F&& get, std::vector<Node>& to) {
  size_t n = 0;
  if (get(nullptr, &n) != 0) return false;
  to.resize(n);
  return n == 0 || get(to.data(), &n) == 0;
}

bool replace(void* graph, Node node) {
  MemsetParams m{};
  if (api().memsetParams(node, &m) != 0 || m.height != 1 || m.width == 0 || m.width * m.elementSize > kMostBytes ||
      (m.elementSize != 1 && m.elementSize != 2 && m.elementSize != 4))
    return false;
  std::vector<Node> before, after;
  if (!listOf([&](Node* to, size_t* n) { return api().dependencies(node, to, n); }, before) ||
      !listOf([&](Node* to, size_t* n) { return api().dependents(node, to, n); }, after))
    return false;
  const nvrtc::Kernel& kernel = nvrtc::get(kernels::fill, "fill", {define("SIZE", m.elementSize)});
  auto* to = reinterpret_cast<void*>(m.to);
  long long count = static_cast<long long>(m.width);
  void* arguments[] = {&to, &m.value, &count};
  const KernelParams k{kernel.function,
                       static_cast<unsigned>(std::min<size_t>((m.width + 1023) / 1024, 256)),
                       1,
                       1,
                       256,
                       1,
                       1,
                       0,
                       arguments,
                       nullptr};
  Node made = nullptr;
  if (api().addKernel(&made, graph, before.data(), before.size(), &k) != 0) return false;
  const std::vector<Node> from(after.size(), made);
  if (!after.empty() && api().addDependencies(graph, from.data(), after.data(), after.size()) != 0) {
    api().destroy(made);
    return false;
  }
  return api().destroy(node) == 0;
}

}  // namespace

int memsetsToKernels(cudaGraph_t graph) {
  std::vector<Node> nodes;
  if (!api().complete || !listOf([&](Node* to, size_t* n) { return api().getNodes(graph, to, n); }, nodes)) return 0;
  int replaced = 0;
  for (const Node node : nodes) {
    int type = -1;
    if (api().getType(node, &type) == 0 && type == kMemset && replace(graph, node)) replaced++;
  }
  return replaced;
}

}  // namespace nbit
