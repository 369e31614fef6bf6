#include "binding/library.h"

#include "binding/checks.h"
#include "binding/core.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>

#include <mutex>
#include <vector>

namespace nbit {
namespace {

struct Noted {
  torch::Library::Kind kind;
  const char* space;
  std::optional<c10::DispatchKey> key;
  Registration::Fill fill;
  const char* file;
  int line;
};
std::vector<Noted>& noted() {
  static auto& list = *new std::vector<Noted>;
  return list;
}

/** The file that this copy of the addon is. */
std::string ownPath() {
  Dl_info info;
  return dladdr(reinterpret_cast<const void*>(&ownPath), &info) != 0 && info.dli_fname ? info.dli_fname : "";
}

// By this operator copies of the addon, which share nothing but libtorch, know of each other.
constexpr const char* kPath = "path";
const c10::OperatorName kPathName{"nbit_library::path", ""};

void registerOnce() {
  if (const auto first = c10::Dispatcher::singleton().findSchema(kPathName)) {
    torch::jit::Stack stack;
    first->callBoxed(stack);
    throw SecondCopy(stack.front().toStringRef());
  }
  // They stay registered until the process has ended.
  auto& libraries = *new std::vector<std::unique_ptr<torch::Library>>;
  const auto add = [&](const Noted& n) {
    libraries.push_back(std::make_unique<torch::Library>(n.kind, n.space, n.key, n.file, n.line));
    n.fill(*libraries.back());
  };
  add({torch::Library::FRAGMENT, "nbit_library", std::nullopt,
       [](torch::Library& m) { m.def(kPath, [] { return ownPath(); }); }, __FILE__, __LINE__});
  for (const auto kind : {torch::Library::FRAGMENT, torch::Library::IMPL})
    for (const Noted& n : noted())
      if (n.kind == kind) add(n);
  refuseWhereThereIsNoKernel();
}

}  // namespace

Registration::Registration(torch::Library::Kind kind, const char* space, std::optional<c10::DispatchKey> key, Fill fill,
                           const char* file, int line) {
  noted().push_back({kind, space, key, fill, file, line});
}

void registerLibrary() {
  static std::once_flag once;
  std::call_once(once, registerOnce);
}

}  // namespace nbit
