// Max pooling of images with channels last on the GPU. libtorch's kernels keep an int64 for each window, clear the
// gradient and add to it: for ResNet-50's pool ten times the memory traffic. Whatever is not the plain case goes to
// libtorch.
#include "autograd/nodes.h"
#include "binding/library.h"
#include "cuda/kernel_options.h"
#include "cuda/nvrtc.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/native/Pool.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/max_pool2d_native.h>
#include <ATen/ops/max_pool2d_with_indices_backward.h>
#include <c10/core/GradMode.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

#include <array>

namespace nbit {
namespace {

namespace ag = torch::autograd;
using Pair = std::array<int64_t, 2>;
constexpr auto kLast = at::MemoryFormat::ChannelsLast;

struct Window {
  Pair kernel, stride, padding;
  std::array<int64_t, 4> in, out;
  bool ceil;

  std::vector<std::string> options(at::ScalarType type) const {
    return {define("CHANNELS", in[1]), define("TX", kernelType(type)), define("KH", kernel[0]),
            define("KW", kernel[1]),   define("SH", stride[0]),        define("SW", stride[1]),
            define("PH", padding[0]),  define("PW", padding[1])};
  }
};
// As the kernels have it.
struct Sizes {
  int inH, inW, outH, outW;
};
Sizes sizesOf(const Window& w) {
  return {static_cast<int>(w.in[2]), static_cast<int>(w.in[3]), static_cast<int>(w.out[2]), static_cast<int>(w.out[3])};
}
bool dense(const at::Tensor& t) {
  return t.is_contiguous(kLast) && !t.is_neg() && !t._is_zerotensor() &&
         reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0;
}
unsigned rowsOf(const std::array<int64_t, 4>& s) { return static_cast<unsigned>(s[0] * s[2]); }

class MaxPoolNode : public ag::Node {
 public:
  std::string name() const override { return "MaxPool2DWithIndicesBackward0"; }
  ag::SavedVariable codes;
  Window window;

  ag::variable_list apply(ag::variable_list&& grads) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!grads[0].defined()) return {at::Tensor()};
    const at::Tensor places = codes.unpack();
    if (c10::GradMode::is_enabled()) return {again(grads[0], places)};
    const at::AutoDispatchBelowADInplaceOrView plain;
    at::Tensor g = grads[0].contiguous(kLast);
    if (!dense(g)) g = g.clone(kLast);
    const c10::cuda::CUDAGuard guard(g.device());
    at::Tensor gx = at::empty(window.in, g.options().memory_format(kLast));
    Sizes s = sizesOf(window);
    const void* pg = g.const_data_ptr();
    const void* pc = places.const_data_ptr();
    void* po = gx.mutable_data_ptr();
    void* arguments[] = {&pg, &pc, &po, &s};
    nvrtc::launch(nvrtc::get(kernels::maxPool, "backward", window.options(g.scalar_type())), rowsOf(window.in), 64,
                  arguments);
    return {gx};
  }
  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    codes.reset_data();
  }

 private:
  // Backward that is itself recorded: libtorch's, with the places that it counts in.
  at::Tensor again(const at::Tensor& g, const at::Tensor& places) const {
    at::Tensor indices, like;
    {
      const at::AutoDispatchBelowADInplaceOrView plain;
      const auto longs = places.options().dtype(at::kLong).memory_format(at::MemoryFormat::Contiguous);
      const at::Tensor code =
          places.view({window.out[0], window.out[2], window.out[3], window.out[1]}).permute({0, 3, 1, 2}).to(at::kLong);
      const auto first = [&](size_t d) {
        return at::arange(window.out[d + 2], longs) * window.stride[d] - window.padding[d];
      };
      const at::Tensor row = first(0).view({-1, 1}) + code.div(window.kernel[1], "floor"),
                       column = first(1) + code.remainder(window.kernel[1]);
      indices = (row * window.in[3] + column).contiguous(kLast);
      like = at::empty(window.in, g.options().memory_format(kLast));
    }
    const Pair one{1, 1};
    return at::max_pool2d_with_indices_backward(g, like, window.kernel, window.stride, window.padding, one, window.ceil,
                                                indices);
  }
};

/** One number for both dimensions, or two. */
bool readPair(at::IntArrayRef list, int64_t least, Pair& to) {
  if (list.size() != 1 && list.size() != 2) return false;
  to = {list[0], list[list.size() - 1]};
  return to[0] >= least && to[1] >= least;
}
bool takes(const at::Tensor& x, at::IntArrayRef kernel, at::IntArrayRef stride, at::IntArrayRef padding,
           at::IntArrayRef dilation, bool ceil, Window& w) {
  if (!x.is_cuda() || x.layout() != at::kStrided || x.dim() != 4 || !kernelTypeKnown(x.scalar_type()) ||
      x.numel() == 0 || x.size(1) % 8 != 0 || x.numel() > INT32_MAX || !dense(x) || x._fw_grad(0).defined())
    return false;
  Pair dilated;
  w.ceil = ceil;
  if (!readPair(kernel, 1, w.kernel) || !readPair(stride.empty() ? kernel : stride, 1, w.stride) ||
      !readPair(padding, 0, w.padding) || !readPair(dilation, 1, dilated) || dilated != Pair{1, 1} ||
      w.kernel[0] * w.kernel[1] > 256)
    return false;
  // How many windows reach a pixel: backward has a gradient of each in registers.
  const auto across = [&](size_t d) { return (w.kernel[d] + w.stride[d] - 1) / w.stride[d]; };
  if (across(0) * across(1) > 9) return false;
  for (size_t d = 0; d < 2; d++) {
    if (w.padding[d] > w.kernel[d] / 2) return false;
    w.in[d] = w.out[d] = x.size(static_cast<int64_t>(d));
    w.in[d + 2] = x.size(static_cast<int64_t>(d) + 2);
    w.out[d + 2] =
        at::native::pooling_output_shape<int64_t>(w.in[d + 2], w.kernel[d], w.padding[d], w.stride[d], 1, ceil);
    if (w.out[d + 2] < 1) return false;
  }
  return c10::multiply_integers(w.out) <= INT32_MAX;
}

at::Tensor maxPool2d(const at::Tensor& x, at::IntArrayRef kernel, at::IntArrayRef stride, at::IntArrayRef padding,
                     at::IntArrayRef dilation, bool ceil) {
  Window w;
  if (!takes(x, kernel, stride, padding, dilation, ceil, w))
    return at::native::max_pool2d(x, kernel, stride, padding, dilation, ceil);
  const bool recorded = c10::GradMode::is_enabled() && x.requires_grad();
  at::Tensor out, codes;
  {
    const at::AutoDispatchBelowADInplaceOrView plain;
    const c10::cuda::CUDAGuard guard(x.device());
    out = at::empty(w.out, x.options().memory_format(kLast));
    if (recorded) codes = at::empty({out.numel()}, x.options().dtype(at::kByte));
    Sizes s = sizesOf(w);
    const void* px = x.const_data_ptr();
    void* po = out.mutable_data_ptr();
    void* pc = recorded ? codes.mutable_data_ptr() : nullptr;
    void* arguments[] = {&px, &po, &pc, &s};
    nvrtc::launch(nvrtc::get(kernels::maxPool, "forward", w.options(x.scalar_type())), rowsOf(w.out), 64, arguments);
  }
  if (!recorded) return out;
  const auto node = makeNode<MaxPoolNode>();
  node->set_next_edges(ag::collect_next_edges(x));
  node->codes = ag::SavedVariable(codes, false);
  node->window = w;
  ag::set_history(out, node);
  return out;
}

NBIT_KERNELS(aten, AutogradCUDA, m) { m.impl("max_pool2d", maxPool2d); }

}  // namespace
}  // namespace nbit
