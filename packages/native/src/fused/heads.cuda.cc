// Gradients of queries, keys and values into one on the GPU, with what the columns sum to: one pass where
// concatenation and a bias's sum are two.
#include "fused/heads.h"

#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"
#include "cuda/kernel_options.h"
#include "cuda/nvrtc.h"
#include "fused/column_sums.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {
namespace {

// As the kernel declares it.
struct Part {
  const void* data;
  int64_t batch, head, time;
};

at::Tensor join(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool keepSums) {
  checkHeads(queries, keys, values);
  checks::floating(queries, "q", false);
  const c10::cuda::CUDAGuard guard(queries.device());
  const int64_t batch = queries.size(0), heads = queries.size(1), times = queries.size(2), depth = queries.size(3);
  const int64_t width = 3 * heads * depth;
  NBIT_EXPECT(batch * times <= 0x7fffffff, queries, "2^31 rows at most");
  at::Tensor out = at::empty({batch, times, width}, queries.options().memory_format(at::MemoryFormat::Contiguous));
  if (out.numel() == 0) return out;
  Part parts[3];
  at::Tensor dense[3] = {queries, keys, values};
  bool packs = depth % 8 == 0;
  for (size_t i = 0; i < 3; i++) {
    at::Tensor& t = dense[i];
    if (t.stride(3) != 1 || t.is_neg() || t._is_zerotensor()) t = t.contiguous();
    parts[i] = {t.const_data_ptr(), t.stride(0), t.stride(1), t.stride(2)};
    packs = packs && reinterpret_cast<uintptr_t>(parts[i].data) % 16 == 0 && t.stride(0) % 8 == 0 &&
            t.stride(1) % 8 == 0 && t.stride(2) % 8 == 0;
  }
  const int64_t vector = packs ? 8 : 1, tiles = (width / vector + 31) / 32;
  int rows = static_cast<int>(batch * times), length = static_cast<int>(times);
  int chunks = static_cast<int>(std::max<int64_t>(
      1, std::min<int64_t>((rows + 7) / 8, at::cuda::getCurrentDeviceProperties()->multiProcessorCount * 4 / tiles)));
  const auto floats = out.options().dtype(at::kFloat);
  at::Tensor partial, sums;
  if (keepSums) {
    partial = at::empty({chunks, width}, floats);
    sums = at::empty({width}, floats);
  }
  void* po = out.mutable_data_ptr();
  void* pp = keepSums ? partial.mutable_data_ptr() : nullptr;
  void* arguments[] = {&parts, &po, &pp, &rows, &length, &chunks};
  const std::string type = kernelType(queries.scalar_type());
  const std::vector<std::string> options = {define("HEADS", heads), define("DEPTH", depth), define("VEC", vector),
                                            define("TX", type)};
  nvrtc::launch(nvrtc::get(kernels::heads, "join", options), static_cast<unsigned>(tiles * chunks), 256, arguments);
  if (!keepSums) return out;
  void* ps = sums.mutable_data_ptr();
  void* more[] = {&pp, &ps, &chunks};
  nvrtc::launch(nvrtc::get(kernels::heads, "total", options), static_cast<unsigned>((width + 31) / 32), 1024, more);
  keepColumnSums(out, std::move(sums));
  return out;
}

NBIT_KERNELS(nbit, CUDA, m) { m.impl("join_heads", join); }

}  // namespace
}  // namespace nbit
