// The words of which manifest/guards.json is made, and the guards that hold for every operator with a certain
// signature.
#include "binding/guards.h"
#include "binding/checks.h"

#include <ATen/Functions.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>

namespace nbit {

const c10::IValue* Arguments::find(const char* name) const {
  for (size_t i = 0; i < schema.arguments().size(); i++)
    if (schema.arguments()[i].name() == name) return at(i).isNone() ? nullptr : &at(i);
  return nullptr;
}
at::Tensor Arguments::tensor(const char* name) const {
  const c10::IValue* v = find(name);
  return v != nullptr && v->isTensor() ? v->toTensor() : at::Tensor();
}

namespace guards {
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

template <class F>
void eachTensor(const Arguments& call, F f) {
  for (size_t i = 0; i < call.schema.arguments().size(); i++) {
    const c10::IValue& v = call.at(i);
    if (v.isTensor() && v.toTensor().defined()) f(v.toTensor(), call.schema.arguments()[i]);
    else if (v.isList())
      for (const c10::IValue& e : v.toListRef())
        if (e.isTensor() && e.toTensor().defined()) f(e.toTensor(), call.schema.arguments()[i]);
  }
}
/** Numbers of an argument: one, or a list. */
template <class F>
void eachNumber(const c10::IValue* v, F f) {
  if (v == nullptr) return;
  if (v->isInt()) f(v->toInt());
  else if (v->isIntList())
    for (const int64_t e : v->toIntVector()) f(e);
}

// ---------------------------------------------------------------- the words
/** Nobody needs it from JavaScript, and it trusts its callers. */
Guard refused(const char* instead) {
  return [=](const Arguments& call) {
    TORCH_CHECK_NOT_IMPLEMENTED(false, "expected an operator for use from JavaScript. Received: ", call.schema.name(),
                                ", which is internal to libtorch. ", instead);
  };
}
/** A list with at least one element. */
Guard notEmpty(const char* name) {
  return [=](const Arguments& call) {
    const auto* v = call.find(name);
    TORCH_CHECK_VALUE(v == nullptr || !v->isList() || !v->toListRef().empty(), "expected ", name,
                      " to have an element at least. Received: []");
  };
}
/** A list of so many elements: kernels read that many. */
Guard length(const char* name, size_t n) {
  return [=](const Arguments& call) {
    const auto* v = call.find(name);
    TORCH_CHECK_VALUE(v == nullptr || !v->isList() || v->toListRef().size() == n, "expected ", name, " to have ", n,
                      " elements. Received: ", v->toListRef().size());
  };
}
/** Whole numbers from `low` to `high`, alone or in a list. */
Guard within(const char* name, int64_t low, int64_t high) {
  return [=](const Arguments& call) {
    eachNumber(call.find(name), [&](int64_t n) {
      TORCH_CHECK_VALUE(n >= low && n <= high, "expected ", name, " from ", low, " to ", high, ". Received: ", n);
    });
  };
}
/** A floating-point number that is finite and above 0. */
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
/** Every tensor with elements in memory, one after the other or in strides. */
Guard strided() {
  return [](const Arguments& call) {
    eachTensor(call, [](const at::Tensor& t, const c10::Argument& a) {
      NBIT_EXPECT(t.layout() == c10::kStrided && !t.is_quantized(), t, a.name(), " to be strided");
    });
  };
}
/** No NaN and no infinity. */
Guard finite(const char* name) {
  return [=](const Arguments& call) {
    const at::Tensor t = call.tensor(name);
    if (!isRead(t) || !(t.is_floating_point() || t.is_complex())) return;
    const Aside aside;
    NBIT_EXPECT(at::isfinite(t).all().item<bool>(), t, name, " to be finite");
  };
}
/** Two tensors of one shape. */
Guard sameShape(const char* name, const char* like) {
  return [=](const Arguments& call) {
    const at::Tensor a = call.tensor(name), b = call.tensor(like);
    if (a.defined() && b.defined()) checks::shapeOf(a, name, b, like);
  };
}
/** The number of elements of each tensor, where it is given. */
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
/** Statistics that were gathered before, where none are computed now. */
Guard statisticsUnlessTraining() {
  return [](const Arguments& call) {
    const auto* training = call.find("training");
    if (training != nullptr && training->isBool() && training->toBool()) return;
    for (const char* name : {"running_mean", "running_var"})
      TORCH_CHECK_VALUE(call.tensor(name).defined(), "expected ", name, " where training is false. Received: none");
  };
}
/** Division of the least integer by -1, truncating, has no result in its dtype, and is a trap of the processor. */
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
/** Neither has the least integer, whose magnitude its dtype does not hold. */
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
/** A number, or a tensor of them, whose magnitude is the time that each element takes. */
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
/** Elements from `low` to `high`, which is the size of a dimension of another tensor where that is named. */
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

/** Sizes of the last dimensions as an argument says them. */
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

/** The last element of a view lies less than 2^62 bytes after its first: products that overflow would pass the check of
 * bounds. */
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
/** Two lists of one length. */
Guard sameLength(const char* name, const char* like) {
  return [=](const Arguments& call) {
    const auto *a = call.find(name), *b = call.find(like);
    if (a == nullptr || b == nullptr || !a->isList() || !b->isList()) return;
    TORCH_CHECK_VALUE(a->toListRef().size() == b->toListRef().size(), "expected as many tensors in ", name, " as in ",
                      like, ", ", b->toListRef().size(), ". Received: ", a->toListRef().size());
  };
}
/** What optimizers' steps go over side by side, where there is no direct call that checks it. */
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
/** A tensor cut into no more parts than there can be tensors. */
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

// ---------------------------------------------------------------- of single operators
/** `native_group_norm` and its backward divide by what `group_norm` has checked. */
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
/** An integer result would be walked in steps that are rounded to 0. */
Guard wholeSteps() {
  return [](const Arguments& call) {
    const at::Tensor out = call.tensor("out");
    const auto* step = call.find("step");
    if (!out.defined() || step == nullptr || !at::isIntegralType(out.scalar_type(), true)) return;
    TORCH_CHECK_VALUE(!step->toScalar().isFloatingPoint() || std::abs(step->toScalar().toDouble()) >= 1,
                      "expected a step of 1 or more for integers. Received: ", step->toScalar().toDouble());
  };
}
/** Row numbers, from 1, as a factorization gives them. */
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
/** Counts of a binomial distribution: what is not a number is drawn for ever. */
Guard counts(const char* name, const char* probability) {
  return [=](const Arguments& call) {
    const at::Tensor n = call.tensor(name), p = call.tensor(probability);
    if (!isRead(n) || !isRead(p)) return;
    const Aside aside;
    NBIT_EXPECT(n.isfinite().logical_and(n.ge(0)).all().item<bool>(), n, name, " to be finite and ≥ 0");
    NBIT_EXPECT(p.ge(0).logical_and(p.le(1)).all().item<bool>(), p, probability, " from 0 to 1");
  };
}

struct Row {
  const char* operators;
  Guard guard;
};
const std::vector<Row>& rows() {
  static const std::vector<Row>& all = *new std::vector<Row>{
#include "guards.inc"
  };
  return all;
}

// ---------------------------------------------------------------- of every operator
/** libtorch makes a written view that is conjugated or negated plain before the call, and afterwards writes what the
 * operator returns. It must return it. */
void writtenViews(const Arguments& call) {
  eachTensor(call, [](const at::Tensor& t, const c10::Argument& a) {
    if (a.alias_info() != nullptr && a.alias_info()->isWrite())
      NBIT_EXPECT(!t.is_conj() && !t.is_neg(), t, a.name(),
                  " to be written as it lies in memory, not a conjugated or negated view (resolve it first)");
  });
}
bool ofRows(c10::Layout layout) {
  return layout == c10::kSparseCsr || layout == c10::kSparseCsc || layout == c10::kSparseBsr ||
         layout == c10::kSparseBsc;
}
/** Most results given as `out` are resized and copied to by code that was written for memory in strides; where an
 * operator has a kernel of another layout, that kernel knows what it writes. */
Guard writableLayout(const c10::FunctionSchema& schema) {
  const auto op = c10::Dispatcher::singleton().findSchema(schema.operator_name());
  const auto has = [&](c10::DispatchKey key) { return op.has_value() && op->hasKernelForDispatchKey(key); };
  const bool rows = has(c10::DispatchKey::SparseCsrCPU) || has(c10::DispatchKey::SparseCsrCUDA),
             mkldnn = has(c10::DispatchKey::MkldnnCPU);
  return [=](const Arguments& call) {
    eachTensor(call, [=](const at::Tensor& t, const c10::Argument& a) {
      if (a.alias_info() == nullptr || !a.alias_info()->isWrite() || !a.kwarg_only()) return;
      NBIT_EXPECT(rows || !ofRows(t.layout()), t, a.name(), " to be strided: this operator writes no other layout");
      NBIT_EXPECT(mkldnn || t.layout() != c10::kMkldnn, t, a.name(),
                  " to be strided: this operator writes no other layout");
    });
  };
}
bool hasOut(const c10::FunctionSchema& schema) {
  return std::any_of(schema.arguments().begin(), schema.arguments().end(), [](const c10::Argument& a) {
    return a.kwarg_only() && a.alias_info() != nullptr && a.alias_info()->isWrite();
  });
}
bool writesUnreturned(const c10::FunctionSchema& schema) {
  size_t written = 0;
  for (const auto& a : schema.arguments())
    written += a.alias_info() != nullptr && a.alias_info()->isWrite() && a.type()->kind() != c10::TypeKind::ListType;
  return written > schema.returns().size() || (schema.is_mutable() && schema.operator_name().getNamespace() == "nbit");
}

}  // namespace
}  // namespace guards

std::vector<Guard> guardsOf(const c10::FunctionSchema& schema) {
  static const auto& table = *[] {
    auto* made = new std::unordered_multimap<std::string, const Guard*>();
    for (const guards::Row& row : guards::rows()) {
      const std::string names = row.operators;
      for (size_t from = 0; from < names.size();) {
        const size_t to = std::min(names.find(' ', from), names.size());
        made->emplace("aten::" + names.substr(from, to - from), &row.guard);
        from = to + 1;
      }
    }
    return made;
  }();
  std::vector<Guard> found;
  const auto add = [&](const std::string& key) {
    const auto [from, to] = table.equal_range(key);
    for (auto row = from; row != to; ++row) found.push_back(*row->second);
  };
  add(schema.name());
  if (!schema.overload_name().empty()) add(schema.name() + "." + schema.overload_name());
  if (guards::writesUnreturned(schema)) found.emplace_back(guards::writtenViews);
  if (guards::hasOut(schema)) found.push_back(guards::writableLayout(schema));
  return found;
}

}  // namespace nbit
