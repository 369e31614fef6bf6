// Sums of columns on the GPU.
#include "fused/column_sums.h"
#include "binding/checks.h"
#include "cuda/kernel_options.h"
#include "cuda/nvrtc.h"
#include "fused/next_node.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {
namespace {
auto& kept = *new ForNextNode<at::Tensor>(2);
}  // namespace

void keepColumnSums(const at::Tensor& gradient, at::Tensor sums) { kept.keep(gradient, std::move(sums)); }
at::Tensor keptColumnSums(const at::Tensor& gradient) { return kept.take(gradient).value_or(at::Tensor()); }

at::Tensor columnSums(const at::Tensor& rows) {
  checks::contiguous(rows, "rows", rows);
  checks::floating(rows, "rows", false);
  NBIT_EXPECT(rows.dim() == 2 && rows.size(1) >= 1 && rows.is_cuda(), rows, "rows [n, columns] on a GPU");
  const c10::cuda::CUDAGuard guard(rows.device());
  int64_t n = rows.size(0);
  const int64_t columns = rows.size(1);
  const auto floats = rows.options().dtype(at::kFloat);
  at::Tensor out = at::empty({columns}, floats);
  if (n == 0) return out.zero_();
  const bool packs = columns % 8 == 0 && reinterpret_cast<uintptr_t>(rows.const_data_ptr()) % 16 == 0;
  const int64_t vector = packs ? 8 : 1, tiles = (columns / vector + 31) / 32;
  int chunks = static_cast<int>(std::max<int64_t>(
      1, std::min((n + 7) / 8, at::cuda::getCurrentDeviceProperties()->multiProcessorCount * 4 / tiles)));
  const at::Tensor partial = at::empty({chunks, columns}, floats);
  const std::vector<std::string> options = {define("COLUMNS", columns), define("VEC", vector),
                                            define("TX", kernelType(rows.scalar_type()))};
  const void* px = rows.const_data_ptr();
  void* pp = partial.mutable_data_ptr();
  void* po = out.mutable_data_ptr();
  void* first[] = {&px, &pp, &n, &chunks};
  nvrtc::launch(nvrtc::get(kernels::columnSums, "share", options), static_cast<unsigned>(tiles * chunks), 256, first);
  void* second[] = {&pp, &po, &chunks};
  nvrtc::launch(nvrtc::get(kernels::columnSums, "total", options), static_cast<unsigned>((columns + 31) / 32), 1024,
                second);
  return out;
}

}  // namespace nbit
