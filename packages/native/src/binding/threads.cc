// Threads that load data, beside the one that trains. Tensors go from one to the other as they are: the memory stays
// where it is, and what each thread holds of it is its own. Such a thread draws from a generator of its own, or the
// order of draws, and so every result, would depend on who comes first.
#include "binding/core.h"
#include "binding/library.h"
#include "binding/random.h"
#include "entries/threads.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <omp.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

namespace nbit {
namespace {

// ---------------------------------------------------------------- tensors between threads
struct HandedOver {
  at::Tensor tensor;
  double group;
};
struct Waiting {
  std::mutex mutex;
  std::unordered_map<uint64_t, HandedOver> at;
  uint64_t last = 0;
};
/** Stays until the process has ended: a thread may end later than whatever would take it apart. */
Waiting& waiting() {
  static auto& all = *new Waiting;
  return all;
}

/** The same memory under a name of its own: no thread changes shape, version or gradient of another's tensor. */
at::Tensor shared(const at::Tensor& t) {
  at::Tensor other(t.unsafeGetTensorImpl()->shallow_copy_and_detach(c10::VariableVersion(0), true));
  if (t.requires_grad()) other.set_requires_grad(true);
  return other;
}

// ---------------------------------------------------------------- draws of one thread
// A key that libtorch knows and leaves unused. Where a thread includes it, operators that take a generator and were
// given none come by here; all others pass without a stop.
constexpr auto kKey = c10::DispatchKey::DeferredInit;
thread_local at::Generator own;

bool takesGenerator(const c10::FunctionSchema& schema) {
  for (const auto& argument : schema.arguments())
    if (argument.name() == "generator") return true;
  return false;
}

bool isElsewhere(const c10::IValue& v) {
  if (v.isTensor()) return v.toTensor().defined() && !v.toTensor().device().is_cpu();
  return v.isDevice() && !v.toDevice().is_cpu();
}

void drawOwn(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const auto& arguments = op.schema().arguments();
  const size_t first = stack->size() - arguments.size();
  const bool elsewhere = std::any_of(stack->begin() + static_cast<int64_t>(first), stack->end(), isElsewhere);
  for (size_t i = 0; i < arguments.size() && own.defined() && !elsewhere; i++) {
    c10::IValue& v = (*stack)[first + i];
    if (v.isNone() && arguments[i].name() == "generator") v = own;
  }
  op.redispatchBoxed(keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kKey), stack);
}

NBIT_KERNELS(_, DeferredInit, m) { m.fallback(torch::CppFunction::makeFallthrough()); }
NBIT_KERNELS(aten, DeferredInit, m) {
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (!name.name.starts_with("aten::")) continue;
    const auto op = c10::Dispatcher::singleton().findSchema(name);
    if (op && takesGenerator(op->schema()))
      m.impl(c10::toString(name).c_str(), torch::CppFunction::makeFromBoxedFunction<&drawOwn>());
  }
}

}  // namespace

at::Generator* ownGenerator() { return own.defined() ? &own : nullptr; }

double entries::handOver(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  if (!t.device().is_cpu())
    fail("ERR_ARGUMENT", "expected tensors on the CPU, which threads share. Received: one on " + t.device().str() +
                             ". Move batches to a device in the thread that trains.");
  if (t.grad_fn())
    fail("ERR_ARGUMENT", "expected tensors without a graph, which stays with its thread. Received: one that " +
                             t.grad_fn()->name() + " made. Detach it first.");
  Waiting& all = waiting();
  HandedOver one{shared(t), a.number(1)};
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.at.emplace(++all.last, std::move(one));
  return static_cast<double>(all.last);
}
double entries::takeOver(const Args& a) {
  const auto id = static_cast<uint64_t>(a.integer(0));
  reserveSlots(1);
  Waiting& all = waiting();
  at::Tensor tensor;
  {
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.at.find(id);
    if (found == all.at.end()) fail("ERR_ARGUMENT", "expected a tensor that was handed over and not taken yet");
    tensor = std::move(found->second.tensor);
    all.at.erase(found);
  }
  return newHandle(std::move(tensor));
}
double entries::dropHandedOver(const Args& a) {
  const double group = a.number(0);
  std::vector<at::Tensor> gone;
  Waiting& all = waiting();
  const std::lock_guard<std::mutex> lock(all.mutex);
  for (auto i = all.at.begin(); i != all.at.end();) {
    if (i->second.group != group) {
      ++i;
      continue;
    }
    gone.push_back(std::move(i->second.tensor));
    i = all.at.erase(i);
  }
  return static_cast<double>(gone.size());
}

void entries::drawAlone() {
  if (!own.defined()) {
    own = copyOf(at::globalContext().defaultGenerator(at::kCPU));
    replaceDefaultGenerators(own);
    c10::impl::tls_set_dispatch_key_included(kKey, true);
  }
  // The number of this thread alone: libtorch's own setting would be that of all threads to come.
  at::get_num_threads();
  omp_set_num_threads(1);
}

}  // namespace nbit
