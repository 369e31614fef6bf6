// Bias and GELU on the GPU: the input is read once, computed in float32, written once; backward gives the bias its
// gradient from the values it has in hand.
#include "fused/bias_gelu.h"

#include "binding/checks.h"
#include "binding/core.h"
#include "cuda/kernel_options.h"
#include "binding/library.h"
#include "cuda/nvrtc.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {
namespace {

using checks::given;
using checks::Maybe;

bool aligned(const at::Tensor& t) { return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0; }
void check(const at::Tensor& t, const char* what, const at::Tensor& like) {
  checks::contiguous(t, what, like);
  checks::floating(t, what, false);
}
struct Plan {
  int64_t columns, vector;
  std::vector<std::string> options;
  int64_t tiles() const { return (columns / vector + 31) / 32; }
  // Four blocks to a processor, which are there at once.
  int chunks(int64_t rows) const {
    const int64_t most = at::cuda::getCurrentDeviceProperties()->multiProcessorCount * 4 / tiles();
    return static_cast<int>(std::max<int64_t>(1, std::min((rows + 7) / 8, most)));
  }
  unsigned blocks(int chunks) const { return static_cast<unsigned>(tiles() * chunks); }
};
Plan planOf(const at::Tensor& x, const Maybe& bias, bool tanh, bool isAligned) {
  check(x, "x", x);
  NBIT_EXPECT(x.dim() >= 1 && x.size(-1) >= 1, x, "x with a last dimension");
  const int64_t columns = x.size(-1);
  if (given(bias)) {
    check(*bias, "bias", x);
    checks::vector(*bias, "bias", columns);
  }
  const int64_t vector = columns % 8 == 0 && isAligned && aligned(x) && (!given(bias) || aligned(*bias)) ? 8 : 1;
  return {columns,
          vector,
          {define("COLUMNS", columns), define("VEC", vector), define("TX", kernelType(x.scalar_type())),
           define("TB", kernelType(given(bias) ? bias->scalar_type() : at::kFloat)), define("TANH", tanh),
           define("HAS_B", given(bias))}};
}
at::Tensor forward(const at::Tensor& x, const Maybe& bias, bool tanh) {
  NBIT_EXPECT(x.is_cuda(), x, "x on a GPU, as other arguments");
  const c10::cuda::CUDAGuard guard(x.device());
  Plan plan = planOf(x, bias, tanh, true);
  plan.options.push_back(define("HAS_AGAIN", false));
  at::Tensor out = at::empty(x.sizes(), x.options());
  int64_t rows = x.numel() / plan.columns;
  if (rows == 0) return out;
  int chunks = plan.chunks(rows);
  const void* px = x.const_data_ptr();
  const void* pb = given(bias) ? bias->const_data_ptr() : nullptr;
  void* po = out.mutable_data_ptr();
  void* arguments[] = {&px, &pb, &po, &rows, &chunks};
  nvrtc::launch(nvrtc::get(kernels::biasGelu, "forward", plan.options), plan.blocks(chunks), 256, arguments);
  return out;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& grad, const at::Tensor& x, const Maybe& bias,
                                                        bool tanh, bool needBias, bool needOut) {
  NBIT_EXPECT(x.is_cuda(), x, "x on a GPU, as other arguments");
  const c10::cuda::CUDAGuard guard(x.device());
  check(grad, "grad", x);
  checks::shapeOf(grad, "grad", x, "x");
  checks::type(grad, "grad", x.scalar_type());
  TORCH_CHECK_VALUE(given(bias) || !needBias, "expected a bias where its gradient is asked for. Received: none");
  if (auto kept = keptGelu(grad, x, needBias); kept && !needOut) return *kept;
  Plan plan = planOf(x, bias, tanh, aligned(grad));
  plan.options.push_back(define("HAS_AGAIN", needOut));
  at::Tensor out = at::empty(x.sizes(), x.options()), gb, again, partial;
  if (needOut) again = at::empty(x.sizes(), x.options());
  if (needBias) gb = at::empty_like(*bias);
  int64_t rows = x.numel() / plan.columns;
  if (rows == 0) {
    if (needBias) gb.zero_();
    return {out, gb, again};
  }
  int chunks = plan.chunks(rows);
  if (needBias) partial = at::empty({chunks, plan.columns}, x.options().dtype(at::kFloat));
  const void* pg = grad.const_data_ptr();
  const void* px = x.const_data_ptr();
  const void* pb = given(bias) ? bias->const_data_ptr() : nullptr;
  void* po = out.mutable_data_ptr();
  void* pa = needOut ? again.mutable_data_ptr() : nullptr;
  void* pp = needBias ? partial.mutable_data_ptr() : nullptr;
  void* arguments[] = {&pg, &px, &pb, &po, &pa, &pp, &rows, &chunks};
  nvrtc::launch(nvrtc::get(kernels::biasGelu, "backward", plan.options), plan.blocks(chunks), 256, arguments);
  if (needBias) {
    void* pgb = gb.mutable_data_ptr();
    void* more[] = {&pp, &pgb, &chunks};
    nvrtc::launch(nvrtc::get(kernels::biasGelu, "columns", plan.options),
                  static_cast<unsigned>((plan.columns + 31) / 32), 1024, more);
  }
  return {out, gb, again};
}

NBIT_KERNELS(nbit, CUDA, m) {
  m.impl("bias_gelu", forward);
  m.impl("bias_gelu_backward", backward);
}

}  // namespace
}  // namespace nbit
