// Blockwise 8-bit state: quantization, and optimizer steps that read codes, update in float32 and write codes, in one pass over each block.
// Registered as operators of the dispatcher, so that tracing sees them and no binding code is needed.
#include "core.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cfloat>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace nbit {
namespace {

constexpr int64_t kBlockMax = 4096;

struct Codebook {
  const int32_t* lut;  // by the upper 16 bits of a float: the code of the smallest value in that bin
  const float* mid;    // midpoint above each code; +infinity above the last
};
struct AdamStep {
  float lr, beta1, beta2, eps, weightDecay, stepSize, rootInverse;
  bool decoupled;
};
struct OneStateStep {
  float lr, beta1, beta2, eps, weightDecay;
  bool first, nesterov;
};
using OneState = void (*)(float*, const float*, float*, int64_t, const OneStateStep&);
struct Kernels {
  void (*decode)(const uint8_t*, const float*, float, float*, int64_t);
  float (*largest)(const float*, int64_t);
  void (*encode)(const float*, const Codebook&, float, uint8_t*, int64_t);
  void (*encodePositive)(const float*, const Codebook&, float, uint8_t*, int64_t);
  void (*adam)(float*, const float*, float*, float*, int64_t, const AdamStep&);
  OneState one[4];
};

namespace plain {
#include "lowbit_kernel.inc"
}
#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#pragma GCC optimize("O3")
namespace avx2 {
#include "lowbit_kernel.inc"
}
#pragma GCC pop_options
const Kernels& kernels() {
  static const Kernels& chosen = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2::kernels : plain::kernels;
  return chosen;
}
#else
const Kernels& kernels() { return plain::kernels; }
#endif

// Look-up tables by map; there are a handful in a process.
struct Tables {
  std::vector<int32_t> lut;
  std::vector<float> mid;
};
Codebook codebookOf(const at::Tensor& map) {
  static std::mutex mutex;
  static auto& known = *new std::unordered_map<std::string, std::unique_ptr<Tables>>();
  const float* values = map.const_data_ptr<float>();
  const std::string key(reinterpret_cast<const char*>(values), static_cast<size_t>(map.numel()) * 4);
  std::lock_guard<std::mutex> lock(mutex);
  auto& tables = known[key];
  if (!tables) {
    tables = std::make_unique<Tables>();
    const int n = static_cast<int>(map.numel());
    tables->mid.resize(static_cast<size_t>(n));
    for (int i = 0; i + 1 < n; i++) tables->mid[static_cast<size_t>(i)] = (values[i] + values[i + 1]) * 0.5f;
    tables->mid[static_cast<size_t>(n - 1)] = INFINITY;
    tables->lut.resize(65536);
    for (uint32_t bin = 0; bin < 65536; bin++) {
      // The smallest value of a bin: of a negative one it is the end with the larger magnitude.
      const uint32_t bits = (bin << 16) | ((bin & 0x8000u) ? 0xffffu : 0u);
      float v;
      std::memcpy(&v, &bits, 4);
      if (v != v) v = (bin & 0x8000u) ? -INFINITY : INFINITY;
      int c = 0;
      while (c + 1 < n && v > tables->mid[static_cast<size_t>(c)]) c++;
      tables->lut[bin] = c;
    }
  }
  return {tables->lut.data(), tables->mid.data()};
}

void checkMap(const at::Tensor& map) {
  TORCH_CHECK_VALUE(map.device().is_cpu() && map.is_contiguous() && map.scalar_type() == at::kFloat && map.dim() == 1 && map.numel() >= 2 && map.numel() <= 256,
                    "expected map to be 2 to 256 ascending float32 values. Received: ", map.sizes());
}
void checkBlock(int64_t block) { TORCH_CHECK_VALUE(block >= 1 && block <= kBlockMax, "expected a block size from 1 to ", kBlockMax, ". Received: ", block); }
int64_t blocksOf(int64_t n, int64_t block) { return (n + block - 1) / block; }
void checkState(const at::Tensor& p, const at::Tensor& codes, const at::Tensor& absmax, int64_t block) {
  TORCH_CHECK_VALUE(codes.scalar_type() == at::kByte && codes.is_contiguous() && codes.numel() == p.numel(), "expected one uint8 code per element. Received: ", codes.sizes());
  TORCH_CHECK_VALUE(absmax.scalar_type() == at::kFloat && absmax.is_contiguous() && absmax.numel() == blocksOf(p.numel(), block), "expected one float32 absmax per block. Received: ", absmax.sizes());
}

// Elements of any of three dtypes, as float32 in a local array and back.
void load(const at::Tensor& t, int64_t from, int64_t n, float* out) {
  switch (t.scalar_type()) {
    case at::kFloat: std::memcpy(out, t.const_data_ptr<float>() + from, static_cast<size_t>(n) * 4); return;
    case at::kBFloat16: { const auto* s = t.const_data_ptr<at::BFloat16>() + from; for (int64_t i = 0; i < n; i++) out[i] = static_cast<float>(s[i]); return; }
    default: { const auto* s = t.const_data_ptr<at::Half>() + from; for (int64_t i = 0; i < n; i++) out[i] = static_cast<float>(s[i]); return; }
  }
}
void store(const at::Tensor& t, int64_t from, int64_t n, const float* in) {
  switch (t.scalar_type()) {
    case at::kFloat: std::memcpy(t.mutable_data_ptr<float>() + from, in, static_cast<size_t>(n) * 4); return;
    case at::kBFloat16: { auto* s = t.mutable_data_ptr<at::BFloat16>() + from; for (int64_t i = 0; i < n; i++) s[i] = static_cast<at::BFloat16>(in[i]); return; }
    default: { auto* s = t.mutable_data_ptr<at::Half>() + from; for (int64_t i = 0; i < n; i++) s[i] = static_cast<at::Half>(in[i]); return; }
  }
}
// Elements where they are when they are float32 (nothing to copy), else converted into a local array.
float* inPlaceOr(const at::Tensor& t, int64_t from, int64_t n, float* local) {
  if (t.scalar_type() == at::kFloat) return t.mutable_data_ptr<float>() + from;
  load(t, from, n, local);
  return local;
}
const float* readOr(const at::Tensor& t, int64_t from, int64_t n, float* local) {
  if (t.scalar_type() == at::kFloat) return t.const_data_ptr<float>() + from;
  load(t, from, n, local);
  return local;
}
void checkElements(const at::Tensor& t, const char* what) {
  TORCH_CHECK_VALUE(t.device().is_cpu() && t.is_contiguous(), "expected ", what, " to be contiguous on the CPU");
  const auto d = t.scalar_type();
  TORCH_CHECK_TYPE(d == at::kFloat || d == at::kBFloat16 || d == at::kHalf, "expected ", what, " to be float32, bfloat16 or float16. Received: ", d);
}

std::tuple<at::Tensor, at::Tensor> quantize(const at::Tensor& x, const at::Tensor& map, int64_t block) {
  checkElements(x, "x");
  checkMap(map);
  checkBlock(block);
  const Codebook book = codebookOf(map);
  const int64_t n = x.numel(), blocks = blocksOf(n, block);
  at::Tensor codes = at::empty(x.sizes(), x.options().dtype(at::kByte)), absmax = at::empty({blocks}, x.options().dtype(at::kFloat));
  auto* c = codes.mutable_data_ptr<uint8_t>();
  auto* a = absmax.mutable_data_ptr<float>();
  const Kernels& k = kernels();
  at::parallel_for(0, blocks, std::max<int64_t>(1, 32768 / block), [&](int64_t begin, int64_t end) {
    float values[kBlockMax];
    for (int64_t b = begin; b < end; b++) {
      const int64_t from = b * block, count = std::min(block, n - from);
      const float* xs = readOr(x, from, count, values);
      a[b] = k.largest(xs, count);
      k.encode(xs, book, a[b], c + from, count);
    }
  });
  return {codes, absmax};
}

at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& absmax, const at::Tensor& map, int64_t block) {
  checkMap(map);
  checkBlock(block);
  checkState(codes, codes, absmax, block);
  TORCH_CHECK_VALUE(map.numel() == 256, "expected a map of 256 values, one per code. Received: ", map.numel());
  at::Tensor out = at::empty(codes.sizes(), codes.options().dtype(at::kFloat));
  const int64_t n = codes.numel();
  const Kernels& k = kernels();
  at::parallel_for(0, blocksOf(n, block), std::max<int64_t>(1, 32768 / block), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const int64_t from = b * block, count = std::min(block, n - from);
      k.decode(codes.const_data_ptr<uint8_t>() + from, map.const_data_ptr<float>(), absmax.const_data_ptr<float>()[b], out.mutable_data_ptr<float>() + from, count);
    }
  });
  return out;
}

void adam_(at::Tensor& p, const at::Tensor& g, at::Tensor& codes1, at::Tensor& codes2, at::Tensor& absmax1, at::Tensor& absmax2, const at::Tensor& map1, const at::Tensor& map2, double lr, double beta1,
           double beta2, double eps, double weightDecay, bool decoupled, double correction1, double correction2, int64_t block, bool keepPositive) {
  checkElements(p, "p");
  checkElements(g, "g");
  checkMap(map1);
  checkMap(map2);
  checkBlock(block);
  TORCH_CHECK_VALUE(g.sizes() == p.sizes(), "expected a gradient of the parameter's shape. Received: ", g.sizes());
  checkState(p, codes1, absmax1, block);
  checkState(p, codes2, absmax2, block);
  const Codebook book1 = codebookOf(map1), book2 = codebookOf(map2);
  const AdamStep step{static_cast<float>(lr), static_cast<float>(beta1), static_cast<float>(beta2), static_cast<float>(eps), static_cast<float>(weightDecay), static_cast<float>(lr / correction1),
                      static_cast<float>(1.0 / std::sqrt(correction2)), decoupled};
  const int64_t n = p.numel();
  const Kernels& k = kernels();
  const float *m1 = map1.const_data_ptr<float>(), *m2 = map2.const_data_ptr<float>();
  auto *c1 = codes1.mutable_data_ptr<uint8_t>(), *c2 = codes2.mutable_data_ptr<uint8_t>();
  auto *a1 = absmax1.mutable_data_ptr<float>(), *a2 = absmax2.mutable_data_ptr<float>();
  at::parallel_for(0, blocksOf(n, block), std::max<int64_t>(1, 16384 / block), [&](int64_t begin, int64_t end) {
    alignas(64) float pb[kBlockMax], gb[kBlockMax], mb[kBlockMax], vb[kBlockMax];
    for (int64_t b = begin; b < end; b++) {
      const int64_t from = b * block, count = std::min(block, n - from);
      float* pp = inPlaceOr(p, from, count, pb);
      const float* gg = readOr(g, from, count, gb);
      k.decode(c1 + from, m1, a1[b], mb, count);
      k.decode(c2 + from, m2, a2[b], vb, count);
      k.adam(pp, gg, mb, vb, count, step);
      a1[b] = k.largest(mb, count);
      a2[b] = k.largest(vb, count);
      k.encode(mb, book1, a1[b], c1 + from, count);
      (keepPositive ? k.encodePositive : k.encode)(vb, book2, a2[b], c2 + from, count);
      if (pp == pb) store(p, from, count, pb);
    }
  });
}

// kind: 0 momentum, 1 Lion, 2 RMSprop, 3 Adagrad
void oneState_(at::Tensor& p, const at::Tensor& g, at::Tensor& codes, at::Tensor& absmax, const at::Tensor& map, int64_t kind, double lr, double beta1, double beta2, double eps, double weightDecay, bool first,
               bool nesterov, int64_t block, bool keepPositive) {
  checkElements(p, "p");
  checkElements(g, "g");
  checkMap(map);
  checkBlock(block);
  TORCH_CHECK_VALUE(kind >= 0 && kind < 4, "unknown kind of optimizer: ", kind);
  TORCH_CHECK_VALUE(g.sizes() == p.sizes(), "expected a gradient of the parameter's shape. Received: ", g.sizes());
  checkState(p, codes, absmax, block);
  const Codebook book = codebookOf(map);
  const OneStateStep step{static_cast<float>(lr), static_cast<float>(beta1), static_cast<float>(beta2), static_cast<float>(eps), static_cast<float>(weightDecay), first, nesterov};
  const int64_t n = p.numel();
  const Kernels& k = kernels();
  auto* c = codes.mutable_data_ptr<uint8_t>();
  auto* a = absmax.mutable_data_ptr<float>();
  at::parallel_for(0, blocksOf(n, block), std::max<int64_t>(1, 16384 / block), [&](int64_t begin, int64_t end) {
    alignas(64) float pb[kBlockMax], gb[kBlockMax], sb[kBlockMax];
    for (int64_t b = begin; b < end; b++) {
      const int64_t from = b * block, count = std::min(block, n - from);
      float* pp = inPlaceOr(p, from, count, pb);
      const float* gg = readOr(g, from, count, gb);
      k.decode(c + from, map.const_data_ptr<float>(), a[b], sb, count);
      k.one[kind](pp, gg, sb, count, step);
      a[b] = k.largest(sb, count);
      (keepPositive && kind >= 2 ? k.encodePositive : k.encode)(sb, book, a[b], c + from, count);
      if (pp == pb) store(p, from, count, pb);
    }
  });
}

TORCH_LIBRARY_FRAGMENT(nbit, m) {
  m.def("quantize_blockwise(Tensor x, Tensor map, int block_size) -> (Tensor codes, Tensor absmax)");
  m.def("dequantize_blockwise(Tensor codes, Tensor absmax, Tensor map, int block_size) -> Tensor");
  m.def(
      "adam8bit_(Tensor(a!) p, Tensor g, Tensor(b!) codes1, Tensor(c!) codes2, Tensor(d!) absmax1, Tensor(e!) absmax2, Tensor map1, Tensor map2, float lr, float beta1, float beta2, float eps, "
      "float weight_decay, bool decoupled, float correction1, float correction2, int block_size, bool keep_positive) -> ()");
  m.def(
      "one_state8bit_(Tensor(a!) p, Tensor g, Tensor(b!) codes, Tensor(c!) absmax, Tensor map, int kind, float lr, float beta1, float beta2, float eps, float weight_decay, bool first, bool nesterov, "
      "int block_size, bool keep_positive) -> ()");
}
TORCH_LIBRARY_IMPL(nbit, CPU, m) {
  m.impl("quantize_blockwise", quantize);
  m.impl("dequantize_blockwise", dequantize);
  m.impl("adam8bit_", adam_);
  m.impl("one_state8bit_", oneState_);
}

}  // namespace
}  // namespace nbit
