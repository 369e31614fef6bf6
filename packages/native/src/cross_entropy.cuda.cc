// Cross entropy on 16-bit logits without a float32 copy of them: one pass to the loss of each row, one pass in place to the gradient. PyTorch's own path under autocast
// writes and reads the logits in float32 six times; for a vocabulary of 50,000 that is the largest piece of memory traffic in a step.
#include "checks.h"
#include "core.h"
#include "library.h"
#include "nvrtc.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {
namespace {

// kernels: rows gradient
// variant: -DBF16=1
// variant: -DBF16=0
const char* kSource = R"cuda(
#define INFINITY __int_as_float(0x7f800000)
typedef unsigned short u16;
typedef long long i64;
__device__ __forceinline__ float toFloat(u16 v) {
#if BF16
  return __uint_as_float(((unsigned)v) << 16);
#else
  float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v)); return f;
#endif
}
__device__ __forceinline__ u16 fromFloat(float f) {
#if BF16
  u16 h; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f)); return h;
#else
  u16 h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f)); return h;
#endif
}
struct alignas(16) Pack { u16 v[8]; };
extern "C" __device__ void __assertfail(const char* condition, const char* file, unsigned line, const char* function, unsigned long charSize);

__device__ __forceinline__ void join(float& m, float& s, float m2, float s2) {
  const float top = fmaxf(m, m2);
  if (top == -INFINITY) return;
  s = s * __expf(m - top) + s2 * __expf(m2 - top);
  m = top;
}

// One block per row. loss = logsumexp - logit[target]; rows to ignore give 0.
extern "C" __global__ void rows(const u16* logits, const i64* target, float* loss, float* lse, i64 columns, i64 ignore) {
  const i64 row = blockIdx.x;
  const u16* x = logits + row * columns;
  float m = -INFINITY, s = 0.f;
  const i64 packs = (columns % 8 == 0) ? columns / 8 : 0;
  const Pack* xp = reinterpret_cast<const Pack*>(x);
  for (i64 i = threadIdx.x; i < packs; i += blockDim.x) {
    const Pack p = xp[i];
    float f[8]; float top = -INFINITY;
#pragma unroll
    for (int k = 0; k < 8; k++) { f[k] = toFloat(p.v[k]); top = fmaxf(top, f[k]); }
    if (top > m) { s *= __expf(m - top); m = top; }
#pragma unroll
    for (int k = 0; k < 8; k++) s += __expf(f[k] - m);
  }
  for (i64 i = packs * 8 + threadIdx.x; i < columns; i += blockDim.x) join(m, s, toFloat(x[i]), 1.f);
  for (int d = 16; d; d >>= 1) join(m, s, __shfl_xor_sync(~0u, m, d), __shfl_xor_sync(~0u, s, d));
  __shared__ float ms[32], ss[32];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = blockDim.x >> 5;
  if (lane == 0) { ms[warp] = m; ss[warp] = s; }
  __syncthreads();
  if (warp == 0) {
    m = lane < warps ? ms[lane] : -INFINITY;
    s = lane < warps ? ss[lane] : 0.f;
    for (int d = 16; d; d >>= 1) join(m, s, __shfl_xor_sync(~0u, m, d), __shfl_xor_sync(~0u, s, d));
    if (lane == 0) {
      const i64 t = target[row];
      const float total = m + logf(s);
      lse[row] = total;
      // As in libtorch's own kernels: a NaN here would be taken for an overflow, and every step skipped.
      if (t != ignore && (t < 0 || t >= columns)) __assertfail("0 <= label && label < classes", "cross_entropy", 0, "rows", 1);
      loss[row] = t == ignore ? 0.f : total - toFloat(x[t]);
    }
  }
}

// In place: logits become (softmax - onehot(target)) * scale.
extern "C" __global__ void gradient(u16* logits, const i64* target, const float* lse, const float* scale, i64 columns, i64 ignore) {
  const i64 row = blockIdx.x;
  u16* x = logits + row * columns;
  const i64 t = target[row];
  const float l = lse[row];
  const float g = t == ignore ? 0.f : *scale;
  const i64 packs = (columns % 8 == 0) ? columns / 8 : 0;
  Pack* xp = reinterpret_cast<Pack*>(x);
  for (i64 i = threadIdx.x; i < packs; i += blockDim.x) {
    Pack p = xp[i];
#pragma unroll
    for (int k = 0; k < 8; k++) {
      float e = __expf(toFloat(p.v[k]) - l);
      if (i * 8 + k == t) e -= 1.f;
      p.v[k] = fromFloat(g == 0.f ? 0.f : e * g);
    }
    xp[i] = p;
  }
  for (i64 i = packs * 8 + threadIdx.x; i < columns; i += blockDim.x) {
    float e = __expf(toFloat(x[i]) - l);
    if (i == t) e -= 1.f;
    x[i] = fromFloat(g == 0.f ? 0.f : e * g);
  }
}
)cuda";

void check(const at::Tensor& logits, const at::Tensor& target) {
  checks::contiguous(logits, "logits", logits);
  NBIT_EXPECT(logits.dim() == 2 && logits.size(0) <= 0x7fffffff, logits, "logits [rows, classes], of 2^31 rows at most");
  NBIT_EXPECT_TYPE(logits.scalar_type() == at::kBFloat16 || logits.scalar_type() == at::kHalf, logits, "logits in bfloat16 or float16");
  // Kernels read packs of 16 bytes.
  NBIT_EXPECT(logits.size(1) % 8 != 0 || reinterpret_cast<uintptr_t>(logits.const_data_ptr()) % 16 == 0, logits, "logits aligned to 16 bytes");
  checks::contiguous(target, "target", logits);
  checks::vector(target, "target", logits.size(0));
  checks::type(target, "target", at::kLong);
}
nvrtc::Kernel& kernel(const char* name, const at::Tensor& logits) {
  return nvrtc::get("cross_entropy", kSource, name, {logits.scalar_type() == at::kBFloat16 ? "-DBF16=1" : "-DBF16=0"});
}
constexpr unsigned kThreads = 512;

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
  nvrtc::launch(kernel("rows", logits), static_cast<unsigned>(n), kThreads, arguments);
  return {loss, lse};
}

void gradient_(at::Tensor& logits, const at::Tensor& target, const at::Tensor& lse, const at::Tensor& scale, int64_t ignore) {
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
  nvrtc::launch(kernel("gradient", logits), static_cast<unsigned>(logits.size(0)), kThreads, arguments);
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
