// Batch norm in training, of 16-bit inputs with float32 parameters (as under autocast): statistics, output and
// gradients in float32, rounded once. Evaluation, other dtypes and other layouts are libtorch's.
#include "binding/library.h"
#include "cpu/kernels.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_batch_norm_backward_native.h>
#include <ATen/ops/native_batch_norm_native.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace nbit::cpu {
namespace {

using Maybe = std::optional<at::Tensor>;
constexpr int64_t kRowsAtOnce = 256;  // so few float32 numbers are summed before float64 takes over
constexpr int64_t kWorthAThread = 1 << 15;

bool floats(const Maybe& t, int64_t channels) {
  return !t || !t->defined() || (t->scalar_type() == c10::kFloat && t->is_contiguous() && t->numel() == channels);
}
const float* valuesOf(const Maybe& t) { return t && t->defined() ? t->const_data_ptr<float>() : nullptr; }

/** Memory as the kernels walk it: channel by channel, or rows of all channels. */
struct Layout {
  bool known = false, ofRows = false;
  Format format = Format::half;
  int64_t channels = 0, images = 0, pixels = 0;
  int64_t count() const { return images * pixels; }
  Channel channel() const { return {format, images, pixels, channels * pixels}; }
};
Layout layoutOf(const at::Tensor& x) {
  Layout l;
  if (x.dim() < 2 || x.layout() != at::kStrided || x.numel() == 0) return l;
  l.format = x.scalar_type() == c10::kHalf ? Format::half : Format::bfloat;
  l.channels = x.size(1);
  l.images = x.size(0);
  l.pixels = x.numel() / (l.images * l.channels);
  l.ofRows = x.dim() == 2 || (!x.is_contiguous() && (x.is_contiguous(at::MemoryFormat::ChannelsLast) ||
                                                     x.is_contiguous(at::MemoryFormat::ChannelsLast3d)));
  l.known = l.ofRows ? x.dim() > 2 || x.is_contiguous() : x.is_contiguous();
  return l;
}

/** fn(channel) for all, several threads at a time. */
template <class Fn>
void eachChannel(const Layout& l, Fn fn) {
  at::parallel_for(0, l.channels, std::max<int64_t>(1, kWorthAThread / l.count()), [&](int64_t from, int64_t to) {
    for (int64_t c = from; c < to; c++) fn(c);
  });
}
/** fn(first element, rows) for all rows, in portions that do not depend on the number of threads. */
template <class Fn>
void eachPortion(const Layout& l, Fn fn) {
  const int64_t portions = (l.count() + kRowsAtOnce - 1) / kRowsAtOnce;
  at::parallel_for(0, portions, std::max<int64_t>(1, kWorthAThread / (kRowsAtOnce * l.channels)),
                   [&](int64_t from, int64_t to) {
                     for (int64_t p = from; p < to; p++) {
                       const int64_t row = p * kRowsAtOnce;
                       fn(p, row * l.channels, Rows{l.format, std::min(kRowsAtOnce, l.count() - row), l.channels});
                     }
                   });
}
/** Sums of every channel: fill(portion's first element, rows, sums), `kinds` sums a channel. */
template <class Fn>
std::vector<double> sumsOfRows(const Layout& l, int64_t kinds, Fn fill) {
  const int64_t portions = (l.count() + kRowsAtOnce - 1) / kRowsAtOnce, width = kinds * l.channels;
  std::vector<float> partial(static_cast<size_t>(portions * width));
  eachPortion(l, [&](int64_t p, int64_t at, const Rows& rows) { fill(at, rows, partial.data() + p * width); });
  std::vector<double> all(static_cast<size_t>(width));
  for (int64_t p = 0; p < portions; p++)
    for (int64_t i = 0; i < width; i++)
      all[static_cast<size_t>(i)] += static_cast<double>(partial[static_cast<size_t>(p * width + i)]);
  return all;
}
const char* from2(const at::Tensor& t, int64_t element) {
  return static_cast<const char*>(t.const_data_ptr()) + element * 2;
}
char* to2(const at::Tensor& t, int64_t element) { return static_cast<char*>(t.mutable_data_ptr()) + element * 2; }

std::tuple<at::Tensor, at::Tensor, at::Tensor> forward(const at::Tensor& x, const Maybe& weight, const Maybe& bias,
                                                       const Maybe& runningMean, const Maybe& runningVar, bool training,
                                                       double momentum, double eps) {
  const NormKernels* const kernels = normOf(x.scalar_type());
  const Layout l = kernels == nullptr ? Layout{} : layoutOf(x);
  const auto has = [](const Maybe& t) { return t && t->defined(); };
  // Without parameters and statistics libtorch's results are in 16 bits throughout.
  if (!training || !l.known || !(has(weight) || has(bias) || has(runningMean) || has(runningVar)) ||
      !floats(weight, l.channels) || !floats(bias, l.channels) || !floats(runningMean, l.channels) ||
      !floats(runningVar, l.channels))
    return at::native::batch_norm_cpu(x, weight, bias, runningMean, runningVar, training, momentum, eps);
  const auto options = x.options().dtype(c10::kFloat);
  const at::Tensor out = at::empty_like(x), mean = at::empty({l.channels}, options),
                   rstd = at::empty({l.channels}, options);
  float *const means = mean.mutable_data_ptr<float>(), *const rstds = rstd.mutable_data_ptr<float>();
  const float *const w = valuesOf(weight), *const b = valuesOf(bias);
  const double n = static_cast<double>(l.count());
  const auto note = [&](int64_t c, double m, double variance) {
    means[c] = static_cast<float>(m);
    rstds[c] = static_cast<float>(1 / std::sqrt(variance + eps));
    const auto moved = [&](const Maybe& running, double value) {
      if (!running || !running->defined()) return;
      float& r = running->mutable_data_ptr<float>()[c];
      r = static_cast<float>(momentum * value + (1 - momentum) * static_cast<double>(r));
    };
    moved(runningMean, m);
    moved(runningVar, variance * n / (n - 1));
  };
  const auto scaleOf = [&](int64_t c) { return (w == nullptr ? 1 : w[c]) * rstds[c]; };
  const auto shiftOf = [&](int64_t c) { return b == nullptr ? 0 : b[c]; };
  if (!l.ofRows) {
    eachChannel(l, [&](int64_t c) {
      double m = 0, variance = 0;
      kernels->moments(l.channel(), from2(x, c * l.pixels), m, variance);
      note(c, m, variance);
      kernels->normalize(l.channel(), from2(x, c * l.pixels), to2(out, c * l.pixels), means[c], scaleOf(c), shiftOf(c));
    });
    return {out, mean, rstd};
  }
  const auto sums = sumsOfRows(
      l, 1, [&](int64_t at, const Rows& rows, float* to) { kernels->rowSums(rows, from2(x, at), nullptr, to); });
  for (int64_t c = 0; c < l.channels; c++) means[c] = static_cast<float>(sums[static_cast<size_t>(c)] / n);
  const auto squares = sumsOfRows(
      l, 1, [&](int64_t at, const Rows& rows, float* to) { kernels->rowSums(rows, from2(x, at), means, to); });
  std::vector<float> scale(static_cast<size_t>(l.channels)), shift(scale);
  for (int64_t c = 0; c < l.channels; c++) {
    const auto i = static_cast<size_t>(c);
    note(c, sums[i] / n, squares[i] / n);
    scale[i] = scaleOf(c);
    shift[i] = shiftOf(c);
  }
  eachPortion(l, [&](int64_t, int64_t at, const Rows& rows) {
    kernels->normalizeRows(rows, from2(x, at), to2(out, at), means, scale.data(), shift.data());
  });
  return {out, mean, rstd};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& gradient, const at::Tensor& x,
                                                        const Maybe& weight, const Maybe& runningMean,
                                                        const Maybe& runningVar, const Maybe& mean, const Maybe& rstd,
                                                        bool training, double eps, std::array<bool, 3> wanted) {
  const NormKernels* const kernels = normOf(x.scalar_type());
  const Layout l = kernels == nullptr ? Layout{} : layoutOf(x);
  if (!training || !l.known || gradient.scalar_type() != x.scalar_type() || gradient.sizes() != x.sizes() || !mean ||
      !mean->defined() || !rstd || !rstd->defined() || !floats(mean, l.channels) || !floats(rstd, l.channels) ||
      !floats(weight, l.channels))
    return at::native::batch_norm_backward_cpu(gradient, x, weight, runningMean, runningVar, mean, rstd, training, eps,
                                               wanted);
  // Elements of both in the same order.
  at::Tensor g = gradient;
  if (g.strides() != x.strides()) g = at::empty_like(x).copy_(gradient);
  const auto options = x.options().dtype(c10::kFloat);
  at::Tensor forInput, forWeight = wanted[1] ? at::empty({l.channels}, options) : at::Tensor(),
                       forBias = wanted[2] ? at::empty({l.channels}, options) : at::Tensor();
  if (wanted[0]) forInput = at::empty_like(x);
  const float *const means = valuesOf(mean), *const rstds = valuesOf(rstd), *const w = valuesOf(weight);
  const double n = static_cast<double>(l.count());
  struct Terms {
    float scale, slope, shift;
  };
  const auto termsOf = [&](int64_t c, double plain, double centred) {
    const double r = static_cast<double>(rstds[c]), scale = (w == nullptr ? 1 : static_cast<double>(w[c])) * r;
    if (wanted[1]) forWeight.mutable_data_ptr<float>()[c] = static_cast<float>(centred * r);
    if (wanted[2]) forBias.mutable_data_ptr<float>()[c] = static_cast<float>(plain);
    return Terms{static_cast<float>(scale), static_cast<float>(-scale * r * r * centred / n),
                 static_cast<float>(-scale * plain / n)};
  };
  if (!l.ofRows) {
    eachChannel(l, [&](int64_t c) {
      const int64_t at = c * l.pixels;
      double plain = 0, centred = 0;
      kernels->sums(l.channel(), from2(x, at), from2(g, at), means[c], plain, centred);
      const Terms t = termsOf(c, plain, centred);
      if (wanted[0])
        kernels->gradient(l.channel(), from2(x, at), from2(g, at), to2(forInput, at), means[c], t.scale, t.slope,
                          t.shift);
    });
    return {forInput, forWeight, forBias};
  }
  const auto sums = sumsOfRows(l, 2, [&](int64_t at, const Rows& rows, float* to) {
    kernels->rowGradientSums(rows, from2(x, at), from2(g, at), means, to, to + l.channels);
  });
  std::vector<float> scale(static_cast<size_t>(l.channels)), slope(scale), shift(scale);
  for (int64_t c = 0; c < l.channels; c++) {
    const auto i = static_cast<size_t>(c);
    const Terms t = termsOf(c, sums[i], sums[i + static_cast<size_t>(l.channels)]);
    scale[i] = t.scale;
    slope[i] = t.slope;
    shift[i] = t.shift;
  }
  if (wanted[0])
    eachPortion(l, [&](int64_t, int64_t at, const Rows& rows) {
      kernels->gradientRows(rows, from2(x, at), from2(g, at), to2(forInput, at), means, scale.data(), slope.data(),
                            shift.data());
    });
  return {forInput, forWeight, forBias};
}

NBIT_KERNELS(aten, CPU, m) {
  const Quiet replacing;
  m.impl("native_batch_norm", forward);
  m.impl("native_batch_norm_backward", backward);
}

}  // namespace
}  // namespace nbit::cpu
