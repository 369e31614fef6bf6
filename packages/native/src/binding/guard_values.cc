// Guards that read elements: of tensors on a GPU, they wait for it.
#include "binding/checks.h"
#include "binding/guard_words.h"

#include <ATen/Functions.h>
#include <ATen/record_function.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <limits>

namespace nbit::guards {
namespace {

/** What a guard computes with operators is no part of the program: not traced, not recorded for backward. */
struct Aside {
  const at::NoGradGuard noGrad;
  const at::DisableRecordFunctionGuard untraced;
};
bool isRead(const at::Tensor& t) { return t.defined() && t.layout() == c10::kStrided && (t.is_cpu() || t.is_cuda()); }
double largest(const at::Tensor& t) {
  return t.numel() == 0 ? 0 : at::nan_to_num(t.detach().to(at::kDouble).abs()).max().item<double>();
}

}  // namespace

Guard finite(const char* name) {
  return [=](const Arguments& call) {
    const at::Tensor t = call.tensor(name);
    if (!isRead(t) || !(t.is_floating_point() || t.is_complex())) return;
    const Aside aside;
    NBIT_EXPECT(at::isfinite(t).all().item<bool>(), t, name, " to be finite");
  };
}

Guard quotientFits(const char* left, const char* right) {
  return [=](const Arguments& call) {
    const auto* mode = call.find("rounding_mode");
    if (mode == nullptr || mode->toStringRef() != "trunc") return;
    const at::Tensor a = call.tensor(left);
    const auto* v = call.find(right);
    if (!isRead(a) || !a.is_cpu() || v == nullptr) return;
    const Aside aside;
    at::Tensor b = v->isTensor() ? v->toTensor() : at::scalar_tensor(v->toScalar());
    if (!isRead(b) || !b.is_cpu()) return;
    const auto type = v->isTensor() ? at::result_type(a, b) : at::result_type(a, v->toScalar());
    if (type != at::kInt && type != at::kLong) return;
    const int64_t least = type == at::kInt ? std::numeric_limits<int32_t>::min() : std::numeric_limits<int64_t>::min();
    if (!b.eq(-1).any().item<bool>() || !a.eq(least).any().item<bool>()) return;
    TORCH_CHECK_VALUE(!a.to(type).eq(least).logical_and(b.eq(-1)).any().item<bool>(), "expected quotients that ",
                      c10::getDtypeNames(type).first, " holds. Received: ", least, " divided by -1. Convert to ",
                      type == at::kInt ? "int64" : "float64", " first.");
  };
}

Guard notLeast(std::vector<const char*> names) {
  return [=](const Arguments& call) {
    for (const char* name : names) {
      const at::Tensor t = call.tensor(name);
      if (!isRead(t) || !t.is_cpu() || (t.scalar_type() != at::kInt && t.scalar_type() != at::kLong)) continue;
      const Aside aside;
      const int64_t least =
          t.scalar_type() == at::kInt ? std::numeric_limits<int32_t>::min() : std::numeric_limits<int64_t>::min();
      TORCH_CHECK_VALUE(!t.eq(least).any().item<bool>(), "expected ", name,
                        " above the least number of its dtype. Received: ", least);
    }
  };
}

Guard bounded(const char* name, double most) {
  return [=](const Arguments& call) {
    const auto* v = call.find(name);
    if (v == nullptr) return;
    double n = 0;
    if (v->isTensor()) {
      if (!isRead(v->toTensor())) return;
      const Aside aside;
      n = largest(v->toTensor());
    } else if (v->isScalar()) {
      n = std::abs(v->toScalar().toDouble());
    }
    TORCH_CHECK_VALUE(!(n > most), "expected ", name, " of a magnitude up to ", most, ". Received: ", n);
  };
}

Guard indicesOf(const char* name, const char* self, int64_t lastDims) {
  return [=](const Arguments& call) {
    const at::Tensor t = call.tensor(name), of = call.tensor(self);
    if (!isRead(t) || !of.defined() || t.numel() == 0) return;
    NBIT_EXPECT(of.dim() >= lastDims, of, self, " with ", lastDims, " dimensions at least");
    int64_t n = 1;
    for (int64_t d = 1; d <= lastDims; d++) n *= of.size(-d);
    const Aside aside;
    NBIT_EXPECT_TYPE(at::isIntegralType(t.scalar_type(), false), t, name, " to be integers");
    TORCH_CHECK_INDEX(t.min().item<int64_t>() >= 0 && t.max().item<int64_t>() < n, "expected ", name, " from 0 to ",
                      n - 1, ". Received: from ", t.min().item<int64_t>(), " to ", t.max().item<int64_t>());
  };
}

Guard pivots() {
  return [](const Arguments& call) {
    const at::Tensor lu = call.tensor("LU_data"), p = call.tensor("LU_pivots");
    if (!lu.defined() || !p.defined()) return;
    NBIT_EXPECT(lu.dim() >= 2, lu, "LU_data to be matrices");
    auto wanted = lu.sizes().slice(0, lu.dim() - 2).vec();
    wanted.push_back(std::min(lu.size(-1), lu.size(-2)));
    NBIT_EXPECT(p.sizes() == at::IntArrayRef(wanted), p, "LU_pivots of shape ", at::IntArrayRef(wanted));
    NBIT_EXPECT_TYPE(p.scalar_type() == at::kInt, p, "LU_pivots in int32");
    if (!isRead(p) || p.numel() == 0) return;
    const Aside aside;
    TORCH_CHECK_INDEX(p.min().item<int64_t>() >= 1 && p.max().item<int64_t>() <= lu.size(-2),
                      "expected LU_pivots from 1 to ", lu.size(-2), ". Received: from ", p.min().item<int64_t>(),
                      " to ", p.max().item<int64_t>());
  };
}

Guard counts(const char* name, const char* probability) {
  return [=](const Arguments& call) {
    const at::Tensor n = call.tensor(name), p = call.tensor(probability);
    if (!isRead(n) || !isRead(p)) return;
    const Aside aside;
    NBIT_EXPECT(n.isfinite().logical_and(n.ge(0)).all().item<bool>(), n, name, " to be finite and ≥ 0");
    NBIT_EXPECT(p.ge(0).logical_and(p.le(1)).all().item<bool>(), p, probability, " from 0 to 1");
  };
}

}  // namespace nbit::guards
