// The longer ones of the checks of our own operators, and what answers where an operator of ours has no kernel.
#include "binding/checks.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <string_view>

namespace nbit {

std::string described(const at::Tensor& t) {
  if (!t.defined()) return "none";
  std::string text = c10::str(c10::getDtypeNames(t.scalar_type()).first, " ", t.sizes(), " on ", t.device());
  if (t.layout() != c10::kStrided) return text + c10::str(", ", t.layout());
  if (t.is_quantized()) return text + ", quantized";
  if (t._is_zerotensor()) return text + ", without memory (it is zero everywhere)";
  if (!t.is_contiguous()) text += c10::str(", strides ", t.strides());
  return text;
}

namespace checks {

namespace {
bool overlap(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined() || !a.has_storage() || !b.has_storage() || a.numel() == 0 || b.numel() == 0 ||
      a.device() != b.device())
    return false;
  const auto* first = static_cast<const char*>(a.const_data_ptr());
  const auto* second = static_cast<const char*>(b.const_data_ptr());
  return first < second + b.nbytes() && second < first + a.nbytes();
}
}  // namespace

void apart(const std::vector<Named>& written, const std::vector<Named>& read) {
  for (size_t i = 0; i < written.size(); i++) {
    for (size_t j = i + 1; j < written.size(); j++)
      NBIT_EXPECT(!overlap(*written[i].tensor, *written[j].tensor), *written[j].tensor, written[j].name,
                  " in memory of its own, as ", written[i].name, " is written too");
    for (const Named& r : read)
      NBIT_EXPECT(!overlap(*written[i].tensor, *r.tensor), *r.tensor, r.name, " in memory of its own, as ",
                  written[i].name, " is written");
  }
}

}  // namespace checks

void checkSideBySide(std::initializer_list<NamedList> lists) {
  const NamedList& first = *lists.begin();
  for (const NamedList& list : lists) {
    const bool steps = std::string_view(list.name) == "state_steps";
    TORCH_CHECK_VALUE(list.tensors.size() == first.tensors.size() || (list.tensors.empty() && &list != &first),
                      "expected ", first.tensors.size(), " tensors in ", list.name, ", as in ", first.name,
                      ". Received: ", list.tensors.size());
    for (size_t i = 0; i < list.tensors.size(); i++) {
      const at::Tensor& t = list.tensors[i];
      if (steps) {
        NBIT_EXPECT(t.defined() && t.numel() == 1, t, list.name, " of one element each");
      } else {
        NBIT_EXPECT(t.defined() && t.layout() == c10::kStrided && t.numel() == first.tensors[i].numel() &&
                        (t.is_non_overlapping_and_dense() || t.numel() <= 1),
                    t, list.name, " in one piece of memory, of ", first.tensors[i].numel(), " elements, as ",
                    first.name);
      }
    }
  }
}

namespace {

bool hasTensors(const c10::FunctionSchema& schema) {
  for (const auto& a : schema.arguments())
    if (a.type()->str().find("Tensor") != std::string::npos) return true;
  return false;
}
const char* placesOf(const c10::OperatorHandle& op) {
  const bool cpu = op.hasKernelForDispatchKey(c10::DispatchKey::CPU),
             cuda = op.hasKernelForDispatchKey(c10::DispatchKey::CUDA);
  return cpu && cuda ? "the CPU, or all on one GPU"
         : cpu       ? "the CPU"
         : cuda      ? "one GPU"
                     : "a device that this build has kernels for";
}
/** The argument that led here: the first that lies elsewhere or otherwise than a kernel can read, else the first of
 * all. */
void refuse(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& arguments = op.schema().arguments();
  const at::Tensor* first = nullptr;
  std::string name;
  bool found = false;
  for (size_t i = 0; i < arguments.size() && !found; i++) {
    const c10::IValue& v = torch::jit::peek(*stack, i, arguments.size());
    std::vector<const at::Tensor*> tensors;
    if (v.isTensor()) tensors.push_back(&v.toTensor());
    if (v.isTensorList())
      for (const c10::IValue& e : v.toListRef()) tensors.push_back(&e.toTensor());
    for (const at::Tensor* t : tensors) {
      if (!t->defined()) continue;
      const bool odd = t->layout() != c10::kStrided || t->is_quantized() || !(t->is_cpu() || t->is_cuda()) ||
                       (first != nullptr && t->device() != first->device());
      if (first != nullptr && !odd) continue;
      first = t;
      name = arguments[i].name();
      found = odd;
      if (found) break;
    }
  }
  NBIT_EXPECT(false, first == nullptr ? at::Tensor() : *first, name, " to be strided, with all tensors on ",
              placesOf(op));
}
}  // namespace

void refuseWhereThereIsNoKernel() {
  static torch::Library library(torch::Library::IMPL, "nbit", c10::DispatchKey::CompositeExplicitAutograd, __FILE__,
                                __LINE__);
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (name.getNamespace() != "nbit") continue;
    const auto op = c10::Dispatcher::singleton().findSchema(name);
    if (op && hasTensors(op->schema()))
      library.impl(c10::toString(name).c_str(), torch::CppFunction::makeFromBoxedFunction<&refuse>());
  }
}

}  // namespace nbit
