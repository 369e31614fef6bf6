// Cross entropy on 16-bit logits without a float32 copy of them: one pass to the loss of each row, one pass in place to
// the gradient. PyTorch's own path under autocast writes and reads the logits in float32 six times; for a vocabulary of
// 50,000 that is the largest piece of memory traffic in a step.
#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"
#include "cuda/kernel_options.h"
#include "cuda/nvrtc.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {
namespace {

void check(const at::Tensor& logits, const at::Tensor& target) {
  checks::contiguous(logits, "logits", logits);
  NBIT_EXPECT(logits.dim() == 2 && logits.size(0) <= 0x7fffffff, logits,
              "logits [rows, classes], of 2^31 rows at most");
  NBIT_EXPECT_TYPE(logits.scalar_type() == at::kBFloat16 || logits.scalar_type() == at::kHalf, logits,
                   "logits in bfloat16 or float16");
  // Kernels read packs of 16 bytes.
  NBIT_EXPECT(logits.size(1) % 8 != 0 || reinterpret_cast<uintptr_t>(logits.const_data_ptr()) % 16 == 0, logits,
              "logits aligned to 16 bytes");
  checks::contiguous(target, "target", logits);
  checks::vector(target, "target", logits.size(0));
  checks::type(target, "target", at::kLong);
}
nvrtc::Kernel& kernel(const char* name, const at::Tensor& logits) {
  return nvrtc::get(kernels::crossEntropy, name, {define("TX", kernelType(logits.scalar_type()))});
}
constexpr unsigned kReading = 256, kWriting = 512;

std::tuple<at::Tensor, at::Tensor> rows(const at::Tensor& logits, const at::Tensor& target, int64_t ignore) {
  check(logits, target);
  const c10::cuda::CUDAGuard guard(logits.device());
  const int64_t n = logits.size(0), columns = logits.size(1);
  auto options = logits.options().dtype(at::kFloat);
  at::Tensor loss = at::empty({n}, options), lse = at::empty({n}, options);
  if (n == 0) return {loss, lse};
  const void* x = logits.const_data_ptr();
  const void* t = target.const_data_ptr();
  void* lossData = loss.mutable_data_ptr();
  void* lseData = lse.mutable_data_ptr();
  int64_t c = columns, i = ignore;
  void* arguments[] = {&x, &t, &lossData, &lseData, &c, &i};
  nvrtc::launch(kernel("rows", logits), static_cast<unsigned>(n), kReading, arguments);
  return {loss, lse};
}

void gradient_(at::Tensor& logits, const at::Tensor& target, const at::Tensor& lse, const at::Tensor& scale,
               int64_t ignore) {
  check(logits, target);
  checks::contiguous(lse, "lse", logits);
  checks::vector(lse, "lse", logits.size(0));
  checks::type(lse, "lse", at::kFloat);
  checks::contiguous(scale, "scale", logits);
  checks::count(scale, "scale", 1);
  checks::type(scale, "scale", at::kFloat);
  checks::apart({{&logits, "logits"}}, {{&target, "target"}, {&lse, "lse"}, {&scale, "scale"}});
  const c10::cuda::CUDAGuard guard(logits.device());
  if (logits.size(0) == 0) return;
  void* x = logits.mutable_data_ptr();
  const void* t = target.const_data_ptr();
  const void* l = lse.const_data_ptr();
  const void* s = scale.const_data_ptr();
  int64_t c = logits.size(1), i = ignore;
  void* arguments[] = {&x, &t, &l, &s, &c, &i};
  nvrtc::launch(kernel("gradient", logits), static_cast<unsigned>(logits.size(0)), kWriting, arguments);
}

NBIT_OPERATORS(m) {
  m.def("cross_entropy_rows(Tensor logits, Tensor target, int ignore_index) -> (Tensor loss, Tensor lse)");
  m.def("cross_entropy_gradient_(Tensor(a!) logits, Tensor target, Tensor lse, Tensor scale, int ignore_index) -> ()");
}
NBIT_KERNELS(nbit, CUDA, m) {
  m.impl("cross_entropy_rows", rows);
  m.impl("cross_entropy_gradient_", gradient_);
}

}  // namespace
}  // namespace nbit
