// The dispatcher's matrix products on the CPU: 16-bit ones run here, whichever operator or gradient asks; all else is
// libtorch's. Below autograd and autocast.
#include "cpu/products.h"

#include "binding/library.h"

#include <ATen/ExpandUtils.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/Parallel.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/addmm_cpu_dispatch.h>
#include <ATen/ops/baddbmm_cpu_dispatch.h>
#include <ATen/ops/bmm_cpu_dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>

namespace nbit::cpu {
namespace {

using c10::ScalarType;
constexpr double kGrain = 1 << 20;  // multiply-adds that are worth a thread: some 10 µs

/** Memory for prepared operands, at the alignment of vectors. */
class Steps {
 public:
  explicit Steps(int64_t count)
      : memory_(c10::GetCPUAllocator()->allocate(static_cast<size_t>(std::max<int64_t>(count, 1)) * 4)) {}
  uint32_t* data() const { return static_cast<uint32_t*>(memory_.get()); }

 private:
  c10::DataPtr memory_;
};

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t grainOf(double each) { return std::max<int64_t>(1, static_cast<int64_t>(kGrain / std::max(each, 1.0))); }

Format formatOf(ScalarType held, ScalarType dtype) {
  if (held == c10::kFloat) return dtype == c10::kHalf ? Format::asHalf : Format::asBfloat;
  return held == c10::kHalf ? Format::half : Format::bfloat;
}

/** Two dimensions of a tensor as one side of a product; none where neither is dense. */
std::optional<Operand> operandOf(const at::Tensor& t, int64_t lane, int64_t depth, ScalarType dtype) {
  Operand x{t.const_data_ptr(), formatOf(t.scalar_type(), dtype), t.stride(lane), t.stride(depth)};
  // Strides along dimensions of one element mean nothing.
  if (t.size(depth) == 1 && x.lane != 1) x.depth = 1;
  if (t.size(lane) == 1) x.lane = x.depth == 1 ? std::max<int64_t>(t.size(depth), 2) : 1;
  if (x.lane != 1 && x.depth != 1) return std::nullopt;
  return x;
}

bool plain(const at::Tensor& t) {
  return t.layout() == at::kStrided && t.device().is_cpu() && t.numel() > 0 && !t.is_conj() && !t.is_neg();
}
bool sixteen(ScalarType dtype) { return dtype == c10::kHalf || dtype == c10::kBFloat16; }

/** What a product of two matrices, or two batches of them, adds. */
struct Added {
  const at::Tensor* self = nullptr;
  float alpha = 1, beta = 1;
};

/** Fills `out`, which is dense and apart from all others. */
void run(const at::Tensor& out, at::Tensor left, at::Tensor right, const Added& added, ScalarType dtype) {
  const int64_t d = left.dim() - 2, m = left.size(d), depth = left.size(d + 1), n = right.size(d + 1);
  auto a = operandOf(left, d, d + 1, dtype), b = operandOf(right, d + 1, d, dtype);
  if (!a) {
    left = left.contiguous();
    a = operandOf(left, d, d + 1, dtype);
  }
  if (!b) {
    right = right.contiguous();
    b = operandOf(right, d + 1, d, dtype);
  }
  at::Tensor self;
  Result result{out.data_ptr(),
                out.scalar_type() == c10::kFloat ? Format::float32 : formatOf(dtype, dtype),
                n,
                nullptr,
                Format::float32,
                0,
                added.alpha,
                added.beta};
  if (added.self != nullptr && added.beta != 0) {
    self = added.self->expand(out.sizes());
    if (n > 1 && self.stride(d + 1) != 1) self = self.contiguous();
    result.added = self.const_data_ptr();
    result.addedFormat = formatOf(self.scalar_type(), dtype);
    result.addedRow = self.stride(d);
  }
  const ProductKernels& kernels = productsOf(dtype);
  const int64_t batch = d == 0 ? 1 : out.size(0);
  const auto one = [&](int64_t i) {
    const auto moved = [&](const void* from, const at::Tensor& t) {
      return static_cast<const void*>(static_cast<const char*>(from) +
                                      (d == 0 ? 0 : i * t.stride(0) * static_cast<int64_t>(t.element_size())));
    };
    Operand x = *a, y = *b;
    x.data = moved(x.data, left);
    y.data = moved(y.data, right);
    Result r = result;
    r.data = const_cast<void*>(moved(r.data, out));
    if (r.added != nullptr) r.added = moved(r.added, self);
    multiply(kernels, x, y, r, m, n, depth);
  };
  if (batch < at::get_num_threads()) {
    for (int64_t i = 0; i < batch; i++) one(i);
  } else {
    at::parallel_for(0, batch, grainOf(static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(depth)),
                     [&](int64_t from, int64_t to) {
                       for (int64_t i = from; i < to; i++) one(i);
                     });
  }
}

/** How two matrices (or, of 3 dimensions, two batches) are multiplied; libtorch's way for all that is not plain, so
 * that its errors are its own. */
Way wayOfProduct(const at::Tensor& a, const at::Tensor& b, int64_t dim) {
  if (!sixteen(a.scalar_type()) || a.scalar_type() != b.scalar_type() || a.dim() != dim || b.dim() != dim ||
      !plain(a) || !plain(b) || a.size(dim - 1) != b.size(dim - 2) || (dim == 3 && a.size(0) != b.size(0)))
    return Way::libtorch;
  return wayOf(a.scalar_type(), static_cast<double>(a.numel()) * static_cast<double>(b.size(dim - 1)));
}
Way wayOfSum(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b, int64_t dim, const at::Scalar& beta,
             const at::Scalar& alpha) {
  const Way way = wayOfProduct(a, b, dim);
  if (way == Way::libtorch || beta.isComplex() || alpha.isComplex() || self.scalar_type() != a.scalar_type() ||
      !plain(self))
    return Way::libtorch;
  auto sizes = a.sizes().vec();
  sizes.back() = b.size(dim - 1);
  return at::is_expandable_to(self.sizes(), sizes) ? way : Way::libtorch;
}

std::vector<int64_t> sizesOf(const at::Tensor& a, const at::Tensor& b) {
  auto sizes = a.sizes().vec();
  sizes.back() = b.size(b.dim() - 1);
  return sizes;
}
at::Tensor wide(const at::Tensor& t) { return t.to(c10::kFloat); }

/** Whether a result and an operand have no byte in common. Results of a replay lie in one block with its operands. */
bool apart(const at::Tensor& out, const at::Tensor& t) {
  const auto range = [](const at::Tensor& x) {
    int64_t last = 0;
    for (int64_t d = 0; d < x.dim(); d++) last += (x.size(d) - 1) * x.stride(d);
    const char* const from = static_cast<const char*>(x.const_data_ptr());
    return std::pair(from, from + (last + 1) * static_cast<int64_t>(x.element_size()));
  };
  const auto [a, aEnd] = range(out);
  const auto [b, bEnd] = range(t);
  return aEnd <= b || bEnd <= a;
}
/** Each element of what is added is read before the result is written over it. */
bool same(const at::Tensor& out, const at::Tensor& self) {
  return out.const_data_ptr() == self.const_data_ptr() && out.sizes() == self.sizes() &&
         out.strides() == self.strides();
}

/** One operator in its three forms. */
template <int64_t dim>
struct Product {
  static at::Tensor widened(const at::Tensor& a, const at::Tensor& b) {
    const at::Tensor x = wide(a), y = wide(b);
    return (dim == 2 ? at::cpu::mm(x, y) : at::cpu::bmm(x, y)).to(a.scalar_type());
  }
  static at::Tensor made(Way way, const at::Tensor& a, const at::Tensor& b) {
    if (way == Way::widened) return widened(a, b);
    at::Tensor out = at::empty(sizesOf(a, b), a.options());
    run(out, a, b, {}, a.scalar_type());
    return out;
  }
  static at::Tensor call(const at::Tensor& a, const at::Tensor& b) {
    const Way way = wayOfProduct(a, b, dim);
    if (way == Way::libtorch) return dim == 2 ? at::cpu::mm(a, b) : at::cpu::bmm(a, b);
    return made(way, a, b);
  }
  static at::Tensor& into(const at::Tensor& a, const at::Tensor& b, at::Tensor& out) {
    const Way way = out.scalar_type() == a.scalar_type() && plainOut(out) ? wayOfProduct(a, b, dim) : Way::libtorch;
    if (way == Way::libtorch) return dim == 2 ? at::cpu::mm_out(out, a, b) : at::cpu::bmm_out(out, a, b);
    at::native::resize_output(out, sizesOf(a, b));
    if (way == Way::own && out.is_contiguous() && apart(out, a) && apart(out, b)) run(out, a, b, {}, a.scalar_type());
    else out.copy_(made(way, a, b));
    return out;
  }
  static bool plainOut(const at::Tensor& out) {
    return out.layout() == at::kStrided && out.device().is_cpu() && !out.is_conj() && !out.is_neg() &&
           at::has_internal_overlap(out) == at::MemOverlap::No;
  }
};

template <int64_t dim>
struct Sum {
  static at::Tensor widened(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                            const at::Scalar& alpha) {
    const at::Tensor s = wide(self), x = wide(a), y = wide(b);
    return (dim == 2 ? at::cpu::addmm(s, x, y, beta, alpha) : at::cpu::baddbmm(s, x, y, beta, alpha))
        .to(a.scalar_type());
  }
  static at::Tensor made(Way way, const at::Tensor& self, const at::Tensor& a, const at::Tensor& b,
                         const at::Scalar& beta, const at::Scalar& alpha) {
    if (way == Way::widened) return widened(self, a, b, beta, alpha);
    at::Tensor out = at::empty(sizesOf(a, b), a.options());
    run(out, a, b, {&self, alpha.to<float>(), beta.to<float>()}, a.scalar_type());
    return out;
  }
  static at::Tensor call(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                         const at::Scalar& alpha) {
    const Way way = wayOfSum(self, a, b, dim, beta, alpha);
    if (way == Way::libtorch)
      return dim == 2 ? at::cpu::addmm(self, a, b, beta, alpha) : at::cpu::baddbmm(self, a, b, beta, alpha);
    return made(way, self, a, b, beta, alpha);
  }
  static at::Tensor& into(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                          const at::Scalar& alpha, at::Tensor& out) {
    const Way way = out.scalar_type() == a.scalar_type() && Product<dim>::plainOut(out)
                        ? wayOfSum(self, a, b, dim, beta, alpha)
                        : Way::libtorch;
    if (way == Way::libtorch)
      return dim == 2 ? at::cpu::addmm_out(out, self, a, b, beta, alpha)
                      : at::cpu::baddbmm_out(out, self, a, b, beta, alpha);
    if (way == Way::widened || out.sizes() != sizesOf(a, b) || !directly(out, self, a, b, beta, alpha)) {
      const at::Tensor sum = made(way, self, a, b, beta, alpha);  // self may be out
      at::native::resize_output(out, sum.sizes());
      out.copy_(sum);
    }
    return out;
  }
  /** Whether the sum could be written where it belongs. */
  static bool directly(const at::Tensor& out, const at::Tensor& self, const at::Tensor& a, const at::Tensor& b,
                       const at::Scalar& beta, const at::Scalar& alpha) {
    if (!out.is_contiguous() || !apart(out, a) || !apart(out, b) || !(same(out, self) || apart(out, self)))
      return false;
    run(out, a, b, {&self, alpha.to<float>(), beta.to<float>()}, a.scalar_type());
    return true;
  }
  static at::Tensor& inPlace(at::Tensor& self, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta,
                             const at::Scalar& alpha) {
    const Way way = Product<dim>::plainOut(self) ? wayOfSum(self, a, b, dim, beta, alpha) : Way::libtorch;
    if (way == Way::libtorch || self.sizes() != sizesOf(a, b))
      return dim == 2 ? at::cpu::addmm_(self, a, b, beta, alpha) : at::cpu::baddbmm_(self, a, b, beta, alpha);
    if (way == Way::widened || !directly(self, self, a, b, beta, alpha)) self.copy_(made(way, self, a, b, beta, alpha));
    return self;
  }
};

NBIT_KERNELS(aten, CPU, m) {
  const Quiet replacing;
  m.impl("mm", Product<2>::call);
  m.impl("mm.out", Product<2>::into);
  m.impl("bmm", Product<3>::call);
  m.impl("bmm.out", Product<3>::into);
  m.impl("addmm", Sum<2>::call);
  m.impl("addmm.out", Sum<2>::into);
  m.impl("addmm_", Sum<2>::inPlace);
  m.impl("baddbmm", Sum<3>::call);
  m.impl("baddbmm.out", Sum<3>::into);
  m.impl("baddbmm_", Sum<3>::inPlace);
}

}  // namespace

void multiply(const ProductKernels& kernels, const Operand& left, const Operand& right, const Result& result, int64_t m,
              int64_t n, int64_t depth) {
  const int64_t steps = ceilDiv(depth, kernels.perStep);
  // Pairs of bfloat16 that lie side by side are read where they are.
  const bool inPlace = kernels.perStep == 2 && left.format == Format::bfloat && left.depth == 1 && depth % 2 == 0 &&
                       left.lane % 2 == 0 && reinterpret_cast<uintptr_t>(left.data) % 4 == 0;
  const Steps prepared(inPlace ? 0 : m * steps);
  const uint32_t* const rows = inPlace ? static_cast<const uint32_t*>(left.data) : prepared.data();
  const int64_t stride = inPlace ? left.lane / 2 : steps;
  if (!inPlace)
    at::parallel_for(0, ceilDiv(m, 16), grainOf(64.0 * static_cast<double>(depth)), [&](int64_t from, int64_t to) {
      kernels.left(left, from * 16, std::min(m, to * 16) - from * 16, depth, prepared.data() + from * 16 * steps);
    });
  // Tasks: a panel with a group of rows. More than one group only where there are fewer panels than threads would want.
  const int64_t panels = ceilDiv(n, kLanes), wanted = 4 * at::get_num_threads();
  const int64_t groups = std::clamp<int64_t>(wanted / panels, 1, std::max<int64_t>(1, m / 96));
  const int64_t perGroup = ceilDiv(m, groups);
  const double each =
      static_cast<double>(perGroup) * static_cast<double>(std::min(n, kLanes)) * static_cast<double>(depth);
  at::parallel_for(0, panels * groups, grainOf(each), [&](int64_t from, int64_t to) {
    const Steps panel(steps * kLanes);
    int64_t held = -1;
    for (int64_t task = from; task < to; task++) {
      const int64_t column = task / groups * kLanes, columns = std::min(kLanes, n - column);
      if (held != column) kernels.panel(right, column, columns, depth, panel.data());
      held = column;
      const int64_t first = task % groups * perGroup, last = std::min(m, first + perGroup);
      if (first >= last) continue;
      const int64_t tiles = ceilDiv(last - first, kRows), tall = ceilDiv(last - first, tiles);
      for (int64_t row = first; row < last; row += tall)
        kernels.tile(rows + row * stride, stride, panel.data(), steps, std::min(tall, last - row), columns, result, row,
                     column);
    }
  });
}

at::Tensor roundedProduct(const at::Tensor& left, const at::Tensor& right, const at::Tensor& added, ScalarType dtype,
                          ScalarType result) {
  const auto takes = [&](const at::Tensor& t) {
    return plain(t) && (t.scalar_type() == dtype || t.scalar_type() == c10::kFloat);
  };
  if (!takes(left) || !takes(right) || (added.defined() && !takes(added)) ||
      wayOf(dtype, static_cast<double>(left.numel()) * static_cast<double>(right.size(1))) != Way::own)
    return {};
  at::Tensor out = at::empty({left.size(0), right.size(1)}, left.options().dtype(result));
  run(out, left, right, {added.defined() ? &added : nullptr}, dtype);
  return out;
}

}  // namespace nbit::cpu
