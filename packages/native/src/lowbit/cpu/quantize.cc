// Blockwise quantization: each block is divided by its largest magnitude, and its elements become the codes of the
// nearest values of a map, or float8.
#include "binding/core.h"
#include "binding/library.h"
#include "lowbit/cpu/block_state.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>

namespace nbit::lowbit {
namespace {

using checks::given;

at::Tensor quantizeInto(const at::Tensor& x, at::Tensor codes, const at::Tensor* map, int64_t block, bool positive) {
  const int64_t n = x.numel();
  at::Tensor absmax = at::empty({blocksOf(n, block)}, x.options().dtype(at::kFloat));
  const BlockState state(codes, &absmax, map, n, block, positive);
  const Elements xs(x, false);
  const Kernels& k = kernels();
  at::parallel_for(0, blocksOf(n, block), grain(block), [&](int64_t begin, int64_t end) {
    alignas(64) float local[kBlockMax];
    for (int64_t b = begin; b < end; b++) {
      const int64_t from = b * block, count = std::min(block, n - from);
      const float* values = xs.read(k, from, count, local);
      state.write(k, b, count, values, k.largest(values, count));
    }
  });
  return absmax;
}
at::Tensor dequantizeFrom(const at::Tensor& codes, const at::Tensor& absmax, const at::Tensor* map, int64_t block,
                          at::IntArrayRef shape) {
  checkMemory(codes, "codes");
  // Before anything of that size is asked for.
  const int64_t room = codes.numel() * 2;
  int64_t n = 1;
  for (const int64_t size : shape) {
    TORCH_CHECK_VALUE(size >= 0 && (size == 0 || n <= room / size), "expected a shape of ", room,
                      " elements at most, for ", codes.numel(), " bytes of codes. Received: ", shape);
    n *= size;
  }
  at::Tensor out = at::empty(shape, codes.options().dtype(at::kFloat));
  const BlockState state(codes, &absmax, map, n, block, false);
  float* to = out.mutable_data_ptr<float>();
  const Kernels& k = kernels();
  at::parallel_for(0, blocksOf(n, block), grain(block), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) state.read(k, b, std::min(block, n - b * block), to + b * block);
  });
  return out;
}

std::tuple<at::Tensor, at::Tensor> quantize(const at::Tensor& x, const at::Tensor& map, int64_t block) {
  checkElements(x, "x");
  checkMap(map);
  checkBlock(block);
  NBIT_EXPECT(map.numel() == 256, map, "a map of 256 values, one per code");
  at::Tensor codes = at::empty(x.sizes(), x.options().dtype(at::kByte));
  at::Tensor absmax = quantizeInto(x, codes, &map, block, false);
  return {codes, absmax};
}
at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& absmax, const at::Tensor& map, int64_t block) {
  checkBlock(block);
  checkMap(map);
  NBIT_EXPECT(map.numel() == 256, map, "a map of 256 values, one per code");
  return dequantizeFrom(codes, absmax, &map, block, codes.sizes());
}
// 4 bits (two codes a byte) with a map of 16, float8 e4m3 without a map.
std::tuple<at::Tensor, at::Tensor> quantizeSmall(const at::Tensor& x, const std::optional<at::Tensor>& map,
                                                 int64_t block, bool positive) {
  checkElements(x, "x");
  checkBlock(block);
  if (given(map)) {
    checkMap(*map);
    NBIT_EXPECT(map->numel() <= 16, *map, "a map of at most 16 values");
  }
  at::Tensor codes = given(map) ? at::empty({(x.numel() + 1) / 2}, x.options().dtype(at::kByte))
                                : at::empty(x.sizes(), x.options().dtype(at::kFloat8_e4m3fn));
  at::Tensor absmax = quantizeInto(x, codes, given(map) ? &*map : nullptr, block, positive);
  return {codes, absmax};
}
at::Tensor dequantizeSmall(const at::Tensor& codes, const at::Tensor& absmax, const std::optional<at::Tensor>& map,
                           int64_t block, at::IntArrayRef shape) {
  checkBlock(block);
  return dequantizeFrom(codes, absmax, given(map) ? &*map : nullptr, block, shape);
}

NBIT_OPERATORS(m) {
  m.def("quantize_blockwise(Tensor x, Tensor map, int block_size) -> (Tensor codes, Tensor absmax)");
  m.def("dequantize_blockwise(Tensor codes, Tensor absmax, Tensor map, int block_size) -> Tensor");
  m.def("quantize_small(Tensor x, Tensor? map, int block_size, bool keep_positive) -> (Tensor codes, Tensor absmax)");
  m.def("dequantize_small(Tensor codes, Tensor absmax, Tensor? map, int block_size, int[] shape) -> Tensor");
}
NBIT_KERNELS(nbit, CPU, m) {
  m.impl("quantize_blockwise", quantize);
  m.impl("dequantize_blockwise", dequantize);
  m.impl("quantize_small", quantizeSmall);
  m.impl("dequantize_small", dequantizeSmall);
}

}  // namespace
}  // namespace nbit::lowbit
