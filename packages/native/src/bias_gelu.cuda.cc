// Bias and GELU on the GPU: the input is read once, computed in float32, written once; backward gives the bias its gradient from the values it has in hand.
#include "bias_gelu_source.h"
#include "core.h"
#include "kernel_common.h"
#include "nvrtc.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

namespace nbit {
namespace {

using Maybe = std::optional<at::Tensor>;

bool aligned(const at::Tensor& t) { return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0; }
void check(const at::Tensor& t, const char* what, int64_t numel, const at::Tensor& like) {
  TORCH_CHECK_VALUE(t.is_contiguous() && t.numel() == numel && t.device() == like.device(), "expected ", what, " to be contiguous, of ", numel, " elements, on ", like.device(), ". Received: ", t.sizes(), " on ", t.device());
  TORCH_CHECK_TYPE(kernelTypeKnown(t.scalar_type()), "expected ", what, " to be float32, bfloat16 or float16. Received: ", t.scalar_type());
}
struct Plan {
  int64_t columns, vector;
  std::vector<std::string> options;
};
Plan planOf(const at::Tensor& x, const Maybe& bias, bool tanh, bool isAligned) {
  TORCH_CHECK_VALUE(x.dim() >= 1 && x.size(-1) >= 1, "expected x with a last dimension. Received: ", x.sizes());
  const int64_t columns = x.size(-1);
  check(x, "x", x.numel(), x);
  if (bias) check(*bias, "bias", columns, x);
  const int64_t vector = columns % 8 == 0 && isAligned && aligned(x) && (!bias || aligned(*bias)) ? 8 : 1;
  return {columns, vector,
          {define("COLUMNS", columns), define("VEC", vector), define("TX", kernelType(x.scalar_type())), define("TB", kernelType(bias ? bias->scalar_type() : at::kFloat)), define("TANH", tanh), define("HAS_B", bias.has_value())}};
}
int64_t processors() { return at::cuda::getCurrentDeviceProperties()->multiProcessorCount; }

at::Tensor forward(const at::Tensor& x, const Maybe& bias, bool tanh) {
  const c10::cuda::CUDAGuard guard(x.device());
  const Plan plan = planOf(x, bias, tanh, true);
  at::Tensor out = at::empty(x.sizes(), x.options());
  int64_t packs = x.numel() / plan.vector;
  if (packs == 0) return out;
  const void* px = x.const_data_ptr();
  const void* pb = bias ? bias->const_data_ptr() : nullptr;
  void* po = out.mutable_data_ptr();
  void* arguments[] = {&px, &pb, &po, &packs};
  nvrtc::launch(nvrtc::get("bias_gelu", biasGeluSource(), "forward", plan.options), static_cast<unsigned>(std::min((packs + 255) / 256, processors() * 32)), 256, arguments);
  return out;
}

std::tuple<at::Tensor, at::Tensor> backward(const at::Tensor& grad, const at::Tensor& x, const Maybe& bias, bool tanh, bool needBias) {
  const c10::cuda::CUDAGuard guard(x.device());
  check(grad, "grad", x.numel(), x);
  TORCH_CHECK_TYPE(grad.scalar_type() == x.scalar_type(), "expected grad of x's dtype. Received: ", grad.scalar_type());
  TORCH_CHECK_VALUE(bias || !needBias, "expected a bias where its gradient is asked for");
  const Plan plan = planOf(x, bias, tanh, aligned(grad));
  at::Tensor out = at::empty(x.sizes(), x.options()), gb, partial;
  if (needBias) gb = at::empty_like(*bias);
  int64_t rows = x.numel() / plan.columns;
  if (rows == 0) {
    if (needBias) gb.zero_();
    return {out, gb};
  }
  const int64_t tiles = (plan.columns / plan.vector + 31) / 32;
  int chunks = static_cast<int>(std::max<int64_t>(1, std::min((rows + 7) / 8, processors() * 8 / tiles)));
  if (needBias) partial = at::empty({chunks, plan.columns}, x.options().dtype(at::kFloat));
  const void* pg = grad.const_data_ptr();
  const void* px = x.const_data_ptr();
  const void* pb = bias ? bias->const_data_ptr() : nullptr;
  void* po = out.mutable_data_ptr();
  void* pp = needBias ? partial.mutable_data_ptr() : nullptr;
  void* arguments[] = {&pg, &px, &pb, &po, &pp, &rows, &chunks};
  nvrtc::launch(nvrtc::get("bias_gelu", biasGeluSource(), "backward", plan.options), static_cast<unsigned>(tiles * chunks), 256, arguments);
  if (needBias) {
    void* pgb = gb.mutable_data_ptr();
    void* more[] = {&pp, &pgb, &chunks};
    nvrtc::launch(nvrtc::get("bias_gelu", biasGeluSource(), "columns", plan.options), static_cast<unsigned>((plan.columns + 31) / 32), 1024, more);
  }
  return {out, gb};
}

TORCH_LIBRARY_IMPL(nbit, CUDA, m) {
  m.impl("bias_gelu", forward);
  m.impl("bias_gelu_backward", backward);
}

}  // namespace
}  // namespace nbit
