// Guards that look at the form of a call: sizes, lists, numbers, layouts.
#include "binding/checks.h"
#include "binding/guard_words.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace nbit::guards {
namespace {

/** Numbers of an argument: one, or a list. */
template <class F>
void eachNumber(const c10::IValue* v, F f) {
  if (v == nullptr) return;
  if (v->isInt()) f(v->toInt());
  else if (v->isIntList())
    for (const int64_t e : v->toIntVector()) f(e);
}

}  // namespace

Guard refused(const char* instead) {
  return [=](const Arguments& call) {
    TORCH_CHECK_NOT_IMPLEMENTED(false, "expected an operator for use from JavaScript. Received: ", call.schema.name(),
                                ", which is internal to libtorch. ", instead);
  };
}

Guard notEmpty(const char* name) {
  return [=](const Arguments& call) {
    const auto* v = call.find(name);
    TORCH_CHECK_VALUE(v == nullptr || !v->isList() || !v->toListRef().empty(), "expected ", name,
                      " to have an element at least. Received: []");
  };
}

Guard length(const char* name, size_t n) {
  return [=](const Arguments& call) {
    const auto* v = call.find(name);
    TORCH_CHECK_VALUE(v == nullptr || !v->isList() || v->toListRef().size() == n, "expected ", name, " to have ", n,
                      " elements. Received: ", v->toListRef().size());
  };
}

Guard within(const char* name, int64_t low, int64_t high) {
  return [=](const Arguments& call) {
    eachNumber(call.find(name), [&](int64_t n) {
      TORCH_CHECK_VALUE(n >= low && n <= high, "expected ", name, " from ", low, " to ", high, ". Received: ", n);
    });
  };
}

Guard positive(const char* name) {
  return [=](const Arguments& call) {
    const auto check = [&](double d) {
      TORCH_CHECK_VALUE(d > 0 && d < std::numeric_limits<double>::infinity(), "expected ", name,
                        " to be finite and above 0. Received: ", d);
    };
    const auto* v = call.find(name);
    if (v == nullptr) return;
    if (v->isDouble()) check(v->toDouble());
    else if (v->isDoubleList())
      for (const double d : v->toDoubleVector()) check(d);
  };
}

Guard strided() {
  return [](const Arguments& call) {
    call.eachTensor([](const at::Tensor& t, const c10::Argument& a) {
      NBIT_EXPECT(t.layout() == c10::kStrided && !t.is_quantized(), t, a.name(), " to be strided");
    });
  };
}

Guard sameShape(const char* name, const char* like) {
  return [=](const Arguments& call) {
    const at::Tensor a = call.tensor(name), b = call.tensor(like);
    if (a.defined() && b.defined()) checks::shapeOf(a, name, b, like);
  };
}

Guard channels(const char* input, std::vector<const char*> names) {
  return [=](const Arguments& call) {
    const at::Tensor x = call.tensor(input);
    if (!x.defined()) return;
    NBIT_EXPECT(x.dim() >= 2 && x.numel() > 0 && (x.is_floating_point()), x, input,
                " to be floating point, [N, C, …], with elements");
    for (const char* name : names) {
      const at::Tensor t = call.tensor(name);
      if (!t.defined()) continue;
      checks::vector(t, name, x.size(1));
      NBIT_EXPECT_TYPE(t.is_floating_point(), t, name, " to be floating point");
    }
  };
}

Guard statisticsUnlessTraining() {
  return [](const Arguments& call) {
    const auto* training = call.find("training");
    if (training != nullptr && training->isBool() && training->toBool()) return;
    for (const char* name : {"running_mean", "running_var"})
      TORCH_CHECK_VALUE(call.tensor(name).defined(), "expected ", name, " where training is false. Received: none");
  };
}

Guard lastSizes(const char* name, const char* sizes) {
  return [=](const Arguments& call) {
    const at::Tensor t = call.tensor(name);
    const auto* v = call.find(sizes);
    if (!t.defined() || v == nullptr || !v->isIntList()) return;
    const auto wanted = v->toIntVector();
    NBIT_EXPECT(t.dim() >= static_cast<int64_t>(wanted.size()) &&
                    t.sizes().slice(t.dim() - wanted.size()) == at::IntArrayRef(wanted),
                t, name, " whose last sizes are ", sizes, ", ", at::IntArrayRef(wanted));
  };
}

Guard reach() {
  return [](const Arguments& call) {
    const auto *size = call.find("size"), *stride = call.find("stride");
    const at::Tensor self = call.tensor("self");
    if (size == nullptr || stride == nullptr || !size->isIntList() || !stride->isIntList()) return;
    const auto sizes = size->toIntVector(), strides = stride->toIntVector();
    const int64_t bytes = self.defined() ? static_cast<int64_t>(self.element_size()) : 1;
    int64_t last = 0;
    for (size_t i = 0; i < std::min(sizes.size(), strides.size()); i++) {
      int64_t step = 0;
      const bool overflows =
          sizes[i] > 1 && (__builtin_mul_overflow(sizes[i] - 1, strides[i], &step) ||
                           __builtin_mul_overflow(step, bytes, &step) || __builtin_add_overflow(last, step, &last));
      TORCH_CHECK_VALUE(!overflows && last < (int64_t{1} << 62),
                        "expected sizes and strides within memory. Received: size ", at::IntArrayRef(sizes),
                        " with stride ", at::IntArrayRef(strides));
    }
  };
}

Guard sameLength(const char* name, const char* like) {
  return [=](const Arguments& call) {
    const auto *a = call.find(name), *b = call.find(like);
    if (a == nullptr || b == nullptr || !a->isList() || !b->isList()) return;
    TORCH_CHECK_VALUE(a->toListRef().size() == b->toListRef().size(), "expected as many tensors in ", name, " as in ",
                      like, ", ", b->toListRef().size(), ". Received: ", a->toListRef().size());
  };
}

Guard sideBySide(std::vector<const char*> names) {
  return [=](const Arguments& call) {
    std::vector<std::vector<at::Tensor>> kept;
    for (const char* name : names) {
      const auto* v = call.find(name);
      kept.push_back(v != nullptr && v->isTensorList() ? v->toTensorVector() : std::vector<at::Tensor>());
    }
    const auto list = [&](size_t i) {
      return NamedList{i < names.size() ? names[i] : "", i < kept.size() ? at::TensorList(kept[i]) : at::TensorList()};
    };
    checkSideBySide({list(0), list(1), list(2), list(3), list(4), list(5)});
  };
}

Guard pieces() {
  return [](const Arguments& call) {
    constexpr int64_t most = 1 << 22;
    const auto* of = call.find("self");
    if (of == nullptr || !of->isTensor() || of->toTensor().dim() == 0) return;
    const at::Tensor t = of->toTensor();
    const auto number = [&](const char* name, int64_t otherwise) {
      const auto* v = call.find(name);
      return v != nullptr && v->isInt() ? v->toInt() : otherwise;
    };
    const int64_t dim = number("dim", 0), size = dim >= -t.dim() && dim < t.dim() ? t.size(dim) : 0,
                  step = number("split_size", 1);
    // Where the parts are listed, there are as many as the list says.
    for (const char* name : {"indices", "split_sizes", "tensor_indices_or_sections"})
      if (call.find(name) != nullptr) return;
    if (const auto* v = call.find("split_size"); v != nullptr && !v->isInt()) return;
    const int64_t parts = number("sections", std::min(number("chunks", size), step > 0 ? size / step : 0));
    TORCH_CHECK_VALUE(parts <= most, "expected at most ", most, " parts. Received: ", parts);
  };
}

Guard groups(const char* input) {
  return [=](const Arguments& call) {
    const at::Tensor x = call.tensor(input);
    const auto number = [&](const char* name) { return call.find(name)->toInt(); };
    const int64_t n = number("N"), c = number("C"), rest = number("HxW"), group = number("group");
    TORCH_CHECK_VALUE(group >= 1 && c >= 1 && c % group == 0, "expected group to divide C, ", c, ". Received: ", group);
    // Factor by factor: products of large ones have no place in 64 bits.
    const bool fits = n >= 0 && rest >= 0 &&
                      (x.numel() == 0 ? n == 0 || rest == 0
                                      : n > 0 && rest > 0 && x.numel() % n == 0 && x.numel() / n % c == 0 &&
                                            x.numel() / n / c == rest);
    NBIT_EXPECT(fits && x.is_floating_point(), x, input, " to be floating point, of N × C × HxW = ", n, " × ", c, " × ",
                rest, " elements");
    for (const char* name : {"weight", "bias"}) {
      const at::Tensor t = call.tensor(name);
      if (t.defined()) checks::count(t, name, c);
    }
    for (const char* name : {"mean", "rstd"}) {
      const at::Tensor t = call.tensor(name);
      if (t.defined()) checks::count(t, name, n * group);
    }
    const at::Tensor grad = call.tensor("grad_out");
    if (grad.defined()) checks::count(grad, "grad_out", x.numel());
  };
}

Guard wholeSteps() {
  return [](const Arguments& call) {
    const at::Tensor out = call.tensor("out");
    const auto* step = call.find("step");
    if (!out.defined() || step == nullptr || !at::isIntegralType(out.scalar_type(), true)) return;
    TORCH_CHECK_VALUE(!step->toScalar().isFloatingPoint() || std::abs(step->toScalar().toDouble()) >= 1,
                      "expected a step of 1 or more for integers. Received: ", step->toScalar().toDouble());
  };
}

}  // namespace nbit::guards
