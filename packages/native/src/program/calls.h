// What calls of JavaScript's are compared by, and what it is given.
#pragma once
#include "binding/boxed_values.h"
#include "binding/core.h"
#include "binding/signature.h"
#include "program/program.h"

#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <bit>
#include <vector>

namespace nbit::program {

inline uint64_t modesNow() {
  return uint64_t{c10::GradMode::is_enabled()} | uint64_t{at::autocast::is_autocast_enabled(c10::kCPU)} << 1 |
         uint64_t{at::autocast::is_autocast_cache_enabled()} << 2 | uint64_t{c10::InferenceMode::is_enabled()} << 3 |
         static_cast<uint64_t>(at::autocast::get_autocast_dtype(c10::kCPU)) << 8 |
         static_cast<uint64_t>(c10::get_default_dtype_as_scalartype()) << 16;
}

/** While it lives, the modes are those of a call. */
struct Modes {
  const uint64_t before = modesNow();
  explicit Modes(uint64_t modes) { set(modes); }
  ~Modes() { set(before); }
  static void set(uint64_t modes) {
    c10::GradMode::set_enabled((modes & 1) != 0);
    at::autocast::set_autocast_enabled(c10::kCPU, (modes & 2) != 0);
    at::autocast::set_autocast_cache_enabled((modes & 4) != 0);
    at::autocast::set_autocast_dtype(c10::kCPU, static_cast<at::ScalarType>(modes >> 8 & 0xff));
    c10::set_default_dtype(c10::scalarTypeToTypeMeta(static_cast<at::ScalarType>(modes >> 16)));
  }
};

/**
 * What JavaScript is given of a value, `shift` elements further than it was recorded: with a graph's node in place of
 * its own, where it is to require gradients.
 */
at::Tensor given(c10::intrusive_ptr<c10::StorageImpl> storage, const Value& v, int64_t shift, bool requiresGrad);

/** Calls `use` with the position of every tensor of a message, and its handle. */
template <class Use>
void eachTensor(const double* from, const double* end, const std::vector<Kind>& kinds, Use use) {
  Reader in(from, end);
  torch::jit::Stack skipped;
  const auto one = [&] {
    const double h = in.peek();
    const auto at = static_cast<uint32_t>(in.at - from);
    in.number();
    if (h != h) in.scalar();
    else if (h != 0) use(at, h);
  };
  for (const Kind& k : kinds) {
    if (k.kind != 't') {
      readArgument(in, k, skipped);
      skipped.clear();
    } else if (!k.list) {
      one();
    } else if (in.peek() < 0) {
      in.number();
    } else {
      for (size_t n = in.count(); n > 0; n--) one();
    }
  }
}
/** The lists of a backward's message: tensors, gradients, inputs. */
inline const std::vector<Kind>& backwardKinds() {
  static const std::vector<Kind> kinds(3, Kind{'t', false, true, true});
  return kinds;
}

inline bool equalBits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }
inline bool sameForm(const Value& v, const at::Tensor& t) {
  return t.scalar_type() == v.dtype && t.sizes() == v.sizes && t.strides() == v.strides &&
         t.layout() == c10::kStrided && t.device().is_cpu() && t.has_storage();
}

}  // namespace nbit::program
