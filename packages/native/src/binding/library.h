// Our operators and kernels, registered with libtorch once in a process: by the first load of the addon, whichever
// thread or context it is for. What TORCH_LIBRARY and its like do while a library loads, these note down for
// `registerLibrary`, so that a second copy of the addon can be loaded, looked at and refused.
#pragma once
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <optional>
#include <stdexcept>
#include <string>

namespace nbit {

class Registration {
 public:
  using Fill = void (*)(torch::Library&);
  Registration(torch::Library::Kind kind, const char* space, std::optional<c10::DispatchKey> key, Fill fill,
               const char* file, int line);
};

/** Registers all that was noted, once. @throws SecondCopy where another copy of the addon has done so. */
void registerLibrary();

/** While one lives, libtorch's warnings are dropped: replacing a kernel on purpose is worth none. */
class Quiet : public c10::WarningHandler {
 public:
  void process(const c10::Warning&) override {}

 private:
  const c10::WarningUtils::WarningHandlerGuard guard_{this};
};

/** Another file of the addon was loaded into this process before. */
struct SecondCopy : std::runtime_error {
  explicit SecondCopy(std::string first)
      : std::runtime_error("another copy of the addon is loaded in this process: " + first), path(std::move(first)) {}
  const std::string path;
};

}  // namespace nbit

#define NBIT_REGISTER_AS(id, kind, space, key, m)                                                        \
  static void id(torch::Library& m);                                                                     \
  static const ::nbit::Registration id##Noted(torch::Library::kind, space, key, id, __FILE__, __LINE__); \
  static void id(torch::Library& m)
/** Schemas of our operators. */
#define NBIT_OPERATORS(m) NBIT_REGISTER_AS(defineOperators, FRAGMENT, "nbit", std::nullopt, m)
/** Kernels at a dispatch key, of our operators or of libtorch's. */
#define NBIT_KERNELS(space, key, m) NBIT_REGISTER_AS(implement##space##key, IMPL, #space, c10::DispatchKey::key, m)
