// Blockwise low-bit state: quantization, and optimizer steps that read codes, update in float32 and write codes, in one
// pass over each block. Registered as operators of the dispatcher, so that tracing sees them, no binding code is
// needed, and other devices register kernels of their own.
#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"
#include "lowbit/checks.h"
#include "lowbit/cpu/codebook.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

namespace nbit::lowbit {
namespace {

using checks::given;

int64_t blocksOf(int64_t n, int64_t block) { return (n + block - 1) / block; }
/** Memory on the CPU, element after element. */
void checkMemory(const at::Tensor& t, const char* what) {
  TORCH_CHECK_VALUE(t.defined(), "expected ", what, " to be a tensor. Received: none");
  NBIT_EXPECT(t.device().is_cpu(), t, what, " on the CPU");
  checks::contiguous(t, what, t);
}
void checkMap(const at::Tensor& map) {
  checkMemory(map, "map");
  NBIT_EXPECT(map.scalar_type() == at::kFloat && map.dim() == 1 && map.numel() >= 2 && map.numel() <= 256, map,
              "map to be 2 to 256 ascending float32 values");
}
void checkBlock(int64_t block) {
  TORCH_CHECK_VALUE(block >= 1 && block <= kBlockMax, "expected a block size from 1 to ", kBlockMax,
                    ". Received: ", block);
}
void checkElements(const at::Tensor& t, const char* what) {
  checkMemory(t, what);
  checks::floating(t, what, false);
}
void checkAbsmax(const at::Tensor& absmax, int64_t n, int64_t block) {
  checkMemory(absmax, "absmax");
  NBIT_EXPECT(absmax.scalar_type() == at::kFloat && absmax.numel() == blocksOf(n, block), absmax,
              "one float32 absmax for each of ", blocksOf(n, block), " blocks");
}
const Codebook& bookOf(const at::Tensor& map) {
  checkMap(map);
  return codebookOf(map.const_data_ptr<float>(), static_cast<int>(map.numel()));
}

// Elements of any of three dtypes as float32: where they are, when that is what they are; else in a local array, and
// back.
class Elements {
 public:
  explicit Elements(const at::Tensor& t, bool write)
      : dtype_(t.scalar_type()), data_(write ? t.mutable_data_ptr() : const_cast<void*>(t.const_data_ptr())) {}
  bool inPlace() const { return dtype_ == at::kFloat; }
  float* read(const Kernels& k, int64_t from, int64_t n, float* local) const {
    if (dtype_ == at::kFloat) return static_cast<float*>(data_) + from;
    (dtype_ == at::kHalf ? k.fromHalf : k.fromBfloat)(static_cast<const uint16_t*>(data_) + from, local, n);
    return local;
  }
  void write(const Kernels& k, int64_t from, int64_t n, const float* local) const {
    if (dtype_ == at::kFloat) return;
    (dtype_ == at::kHalf ? k.toHalf : k.toBfloat)(local, static_cast<uint16_t*>(data_) + from, n);
  }

 private:
  at::ScalarType dtype_;
  void* data_;
};

class State {
 public:
  State(const at::Tensor& t, const at::Tensor* absmax, const at::Tensor* map, int64_t n, int64_t block, bool positive)
      : block_(block), positive_(positive) {
    checkMemory(t, "states");
    if (t.scalar_type() == at::kFloat) {
      codec_ = kFloat32;
      NBIT_EXPECT(t.numel() == n, t, "one state for each of ", n, " elements");
      data_ = t.mutable_data_ptr();
      return;
    }
    TORCH_CHECK_VALUE(absmax != nullptr && absmax->defined(),
                      "expected an absmax for each quantized state. Received: none");
    checkAbsmax(*absmax, n, block);
    data_ = t.mutable_data_ptr();
    absmax_ = absmax->mutable_data_ptr<float>();
    if (t.scalar_type() == at::kFloat8_e4m3fn) {
      codec_ = kFloat8;
      codebook_ = &float8Book();
      NBIT_EXPECT(t.numel() == n, t, "one float8 for each of ", n, " elements");
      return;
    }
    NBIT_EXPECT_TYPE(t.scalar_type() == at::kByte, t, "states in float32, uint8 or float8_e4m3fn");
    TORCH_CHECK_VALUE(map != nullptr && map->defined(), "expected a map for each state of codes. Received: none");
    codebook_ = &bookOf(*map);
    codec_ = codebook_->size <= 16 ? kUint4 : kUint8;
    positive_ = positive && codebook_->values[0] == 0.f;
    if (codec_ == kUint8) {
      NBIT_EXPECT(t.numel() == n && codebook_->size == 256, t, "one uint8 code for each of ", n,
                  " elements and a map of 256 values, not of ", codebook_->size);
    } else {
      NBIT_EXPECT(t.numel() == (n + 1) / 2 && (block % 2 == 0 || n <= block), t, "two codes per byte for ", n,
                  " elements and an even block size, not ", block);
    }
  }
  // What a step reads: codes of 256 values as they are, all else in float32 at `at`, where the new state goes in any
  // case.
  Source open(const Kernels& k, int64_t b, int64_t n, float* local, float*& at) const {
    const int64_t from = b * block_;
    auto* bytes = static_cast<uint8_t*>(data_);
    at = local;
    switch (codec_) {
      case kFloat32: at = static_cast<float*>(data_) + from; break;
      case kUint8: return {bytes + from, codebook_, absmax_[b]};
      case kFloat8: return {bytes + from, codebook_, absmax_[b] / 448.f};
      case kUint4: {
        alignas(64) uint8_t codes[kBlockMax];
        k.unpack(bytes + from / 2, codes, n);
        k.decode(codes, *codebook_, absmax_[b], local, n);
      }
    }
    return {};
  }
  // From block b on, where one code is one byte.
  std::optional<CodedState> coded(int64_t b) const {
    if (codec_ != kUint8) return {};
    return CodedState{static_cast<uint8_t*>(data_) + b * block_, absmax_ + b, codebook_, positive_};
  }
  float* read(const Kernels& k, int64_t b, int64_t n, float* local) const {
    float* at;
    const Source source = open(k, b, n, local, at);
    if (source.codes != nullptr) k.decode(source.codes, *source.codebook, source.scale, at, n);
    return at;
  }
  void write(const Kernels& k, int64_t b, int64_t n, const float* local, float absmax) const {
    if (codec_ == kFloat32) return;
    const int64_t from = b * block_;
    auto* bytes = static_cast<uint8_t*>(data_);
    absmax_[b] = absmax;
    if (codec_ == kUint8) return k.encode(local, *codebook_, absmax, bytes + from, n, positive_);
    if (codec_ == kFloat8) return k.encodeFloat8(local, absmax, bytes + from, n, positive_);
    alignas(64) uint8_t codes[kBlockMax];
    k.encode(local, *codebook_, absmax, codes, n, positive_);
    k.pack(codes, bytes + from / 2, n);
  }

 private:
  Codec codec_;
  void* data_;
  float* absmax_ = nullptr;
  const Codebook* codebook_ = nullptr;
  int64_t block_;
  bool positive_;
};

int64_t grain(int64_t block) { return std::max<int64_t>(1, 16384 / block); }

at::Tensor quantizeInto(const at::Tensor& x, at::Tensor codes, const at::Tensor* map, int64_t block, bool positive) {
  const int64_t n = x.numel();
  at::Tensor absmax = at::empty({blocksOf(n, block)}, x.options().dtype(at::kFloat));
  const State state(codes, &absmax, map, n, block, positive);
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
  const State state(codes, &absmax, map, n, block, false);
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

double ratio(double coefficient, double p, double u, double limit) {
  const float a = static_cast<float>(std::sqrt(p)), b = static_cast<float>(std::sqrt(u));
  const double trust = a > 0.f && b > 0.f ? coefficient * a / b : 1.0;
  return limit > 0 ? std::min(trust, limit) : trust;
}

struct Rates {
  double lr, beta1, beta2, beta3, alpha, eps, weightDecay, trustCoefficient, maxUnorm, correction1, correction2;
};
Step stepOf(const Rates& r, bool first, bool nesterov) {
  return {static_cast<float>(r.lr),
          static_cast<float>(r.beta1),
          static_cast<float>(r.beta2),
          static_cast<float>(r.beta3),
          static_cast<float>(r.alpha),
          static_cast<float>(r.eps),
          static_cast<float>(r.weightDecay),
          static_cast<float>(r.lr / r.correction1),
          static_cast<float>(1.0 / r.correction1),
          static_cast<float>(1.0 / std::sqrt(r.correction2)),
          1.f,
          first,
          nesterov};
}
// Of the squares of parameter and update, of which the ratio of a layerwise family is made: block by block and then in
// order, so that the result does not depend on the number of threads.
using Sums = std::array<double, 2>;
Sums sumsOf(const at::Tensor& p, const at::Tensor& g, const std::vector<State>& states, int family, const Step& step,
            int64_t block) {
  const int64_t n = p.numel(), blocks = blocksOf(n, block);
  const Kernels& k = kernels();
  const Elements ps(p, false), gs(g, false);
  std::vector<Sums> sums(static_cast<size_t>(blocks), {0, 0});
  at::parallel_for(0, blocks, grain(block), [&](int64_t begin, int64_t end) {
    alignas(64) float pb[kBlockMax], gb[kBlockMax], sb[kStates][kBlockMax];
    for (int64_t b = begin; b < end; b++) {
      const int64_t from = b * block, m = std::min(block, n - from);
      float* at[kStates];
      for (size_t i = 0; i < states.size(); i++) at[i] = states[i].read(k, b, m, sb[i]);
      k.norms[family](ps.read(k, from, m, pb), gs.read(k, from, m, gb), at, m, step,
                      sums[static_cast<size_t>(b)].data());
    }
  });
  Sums all{0, 0};
  for (const Sums& s : sums) all[0] += s[0], all[1] += s[1];
  return all;
}

// whole: the sums of the whole parameter, of which p is a part; null: p is whole.
void run(at::Tensor& p, const at::Tensor& g, const std::vector<State>& states, int family, const Rates& r, bool first,
         bool nesterov, int64_t block, const Sums* whole = nullptr) {
  Step step = stepOf(r, first, nesterov);
  const int64_t n = p.numel(), blocks = blocksOf(n, block);
  const Kernels& k = kernels();
  const Elements ps(p, true), gs(g, false);
  const size_t count = states.size();
  if (k.norms[family] != nullptr) {
    const Sums sums = whole == nullptr ? sumsOf(p, g, states, family, step, block) : *whole;
    step.trust = static_cast<float>(ratio(r.trustCoefficient, sums[0], sums[1], r.maxUnorm));
  }
  const bool inRanges =
      k.range[family] != nullptr && ps.inPlace() && gs.inPlace() &&
      std::all_of(states.begin(), states.end(), [](const State& s) { return s.coded(0).has_value(); });
  at::parallel_for(0, blocks, grain(block), [&](int64_t begin, int64_t end) {
    alignas(64) float pb[kBlockMax], gb[kBlockMax], sb[kStates][kBlockMax];
    if (inRanges) {
      const int64_t whole = std::min(end, n / block) - begin;
      CodedState coded[kStates];
      for (size_t i = 0; i < count; i++) coded[i] = *states[i].coded(begin);
      k.range[family](ps.read(k, begin * block, whole * block, pb), gs.read(k, begin * block, whole * block, gb), coded,
                      block, whole, step);
      begin += whole;
    }
    for (int64_t b = begin; b < end; b++) {
      const int64_t from = b * block, m = std::min(block, n - from);
      Source sources[kStates];
      float *at[kStates], absmax[kStates], *pp = ps.read(k, from, m, pb);
      for (size_t i = 0; i < count; i++) sources[i] = states[i].open(k, b, m, sb[i], at[i]);
      k.step[family](pp, gs.read(k, from, m, gb), sources, at, m, step, absmax);
      for (size_t i = 0; i < count; i++) states[i].write(k, b, m, at[i], absmax[i]);
      ps.write(k, from, m, pp);
    }
  });
}

void checkParameter(const at::Tensor& p, const at::Tensor& g) {
  checkElements(p, "p");
  checkElements(g, "g");
  checks::shapeOf(g, "g", p, "p");
}

void adam_(at::Tensor& p, const at::Tensor& g, at::Tensor& codes1, at::Tensor& codes2, at::Tensor& absmax1,
           at::Tensor& absmax2, const at::Tensor& map1, const at::Tensor& map2, double lr, double beta1, double beta2,
           double eps, double weightDecay, bool decoupled, double correction1, double correction2, int64_t block,
           bool keepPositive) {
  checkBlock(block);
  checkParameter(p, g);
  checks::apart({{&p, "p"}, {&codes1, "codes1"}, {&codes2, "codes2"}, {&absmax1, "absmax1"}, {&absmax2, "absmax2"}},
                {{&g, "g"}, {&map1, "map1"}, {&map2, "map2"}});
  const int64_t n = p.numel();
  run(p, g, {State(codes1, &absmax1, &map1, n, block, false), State(codes2, &absmax2, &map2, n, block, keepPositive)},
      decoupled ? kAdamW : kAdam, {lr, beta1, beta2, 0, 0, eps, weightDecay, 1, 0, correction1, correction2}, false,
      false, block);
}

// kind: a family with one state whose step needs no norms
void oneState_(at::Tensor& p, const at::Tensor& g, at::Tensor& codes, at::Tensor& absmax, const at::Tensor& map,
               int64_t kind, double lr, double beta1, double beta2, double eps, double weightDecay, bool first,
               bool nesterov, int64_t block, bool keepPositive) {
  TORCH_CHECK_VALUE(kind >= kMomentum && kind <= kAdagrad, "expected kind to be from 0 to 3. Received: ", kind);
  checkBlock(block);
  checkParameter(p, g);
  checks::apart({{&p, "p"}, {&codes, "codes"}, {&absmax, "absmax"}}, {{&g, "g"}, {&map, "map"}});
  run(p, g, {State(codes, &absmax, &map, p.numel(), block, keepPositive && !kSigned[kind][0])}, static_cast<int>(kind),
      {lr, beta1, beta2, 0, 0, eps, weightDecay, 1, 0, 1, 1}, first, nesterov, block);
}

void checkApart(const at::Tensor& p, const at::Tensor& g, at::TensorList states, at::TensorList absmax,
                at::TensorList maps) {
  std::vector<checks::Named> written{{&p, "p"}}, read{{&g, "g"}};
  for (const at::Tensor& t : states) written.push_back({&t, "states"});
  for (const at::Tensor& t : absmax) written.push_back({&t, "absmax"});
  for (const at::Tensor& t : maps) read.push_back({&t, "maps"});
  checks::apart(written, read);
}

// What a step of any family is told: states in any format; absmax and maps have one entry per state, or none where the
// format needs none.
struct Told {
  std::vector<State> states;
  Rates rates;
};
Told told(const at::Tensor& p, const at::Tensor& g, at::TensorList states, at::TensorList absmax, at::TensorList maps,
          int64_t family, int64_t step, at::ArrayRef<double> hyperparameters, int64_t block, bool keepPositive) {
  TORCH_CHECK_VALUE(family >= 0 && family < kFamilies, "expected family to be from 0 to ", kFamilies - 1,
                    ". Received: ", family);
  TORCH_CHECK_VALUE(static_cast<int>(states.size()) == kStateCount[family], "expected ", kStateCount[family],
                    " states. Received: ", states.size());
  checkHyperparameters(hyperparameters);
  checkParameter(p, g);
  TORCH_CHECK_VALUE(step >= 1, "expected step to be at least 1. Received: ", step);
  checkBlock(block);
  checkApart(p, g, states, absmax, maps);
  std::vector<State> all;
  for (size_t i = 0; i < states.size(); i++)
    all.emplace_back(states[i], i < absmax.size() ? &absmax[i] : nullptr, i < maps.size() ? &maps[i] : nullptr,
                     p.numel(), block, keepPositive && !kSigned[family][i]);
  const double t = static_cast<double>(step), beta1 = hyperparameters[kBeta1], beta2 = hyperparameters[kBeta2];
  return {std::move(all),
          {hyperparameters[kLr], beta1, beta2, hyperparameters[kBeta3], hyperparameters[kAlpha], hyperparameters[kEps],
           hyperparameters[kWeightDecay], family == kLamb ? 1.0 : hyperparameters[kTrustCoefficient],
           hyperparameters[kMaxUnorm], 1 - std::pow(beta1, t), 1 - std::pow(beta2, t)}};
}
void step_(at::Tensor& p, const at::Tensor& g, at::TensorList states, at::TensorList absmax, at::TensorList maps,
           int64_t family, int64_t step, at::ArrayRef<double> hyperparameters, bool nesterov, int64_t block,
           bool keepPositive, const std::optional<at::Tensor>& sums) {
  const Told t = told(p, g, states, absmax, maps, family, step, hyperparameters, block, keepPositive);
  Sums whole{0, 0};
  if (given(sums)) {
    checkMemory(*sums, "sums");
    NBIT_EXPECT(sums->scalar_type() == at::kDouble && sums->numel() == 2, *sums, "sums of 2 float64 numbers");
    std::copy_n(sums->const_data_ptr<double>(), 2, whole.begin());
  }
  run(p, g, t.states, static_cast<int>(family), t.rates, step == 1, nesterov, block, given(sums) ? &whole : nullptr);
}
at::Tensor sums(const at::Tensor& p, const at::Tensor& g, at::TensorList states, at::TensorList absmax,
                at::TensorList maps, int64_t family, int64_t step, at::ArrayRef<double> hyperparameters, bool nesterov,
                int64_t block) {
  const Told t = told(p, g, states, absmax, maps, family, step, hyperparameters, block, false);
  TORCH_CHECK_VALUE(kLayerwise[family], "expected a layerwise family. Received: ", family);
  const Sums all = sumsOf(p, g, t.states, static_cast<int>(family), stepOf(t.rates, step == 1, nesterov), block);
  at::Tensor out = at::empty({2}, p.options().dtype(at::kDouble));
  std::copy_n(all.begin(), 2, out.mutable_data_ptr<double>());
  return out;
}

// For tests: all tables of kernels that run here have to say the same. 0 is the fastest, which is in use.
int64_t countKernels() { return static_cast<int64_t>(runnableKernels().size()); }
int64_t useKernels(int64_t which) {
  const auto all = runnableKernels();
  TORCH_CHECK_VALUE(which >= 0 && which < static_cast<int64_t>(all.size()),
                    "expected the number of a table of kernels, below ", all.size(), ". Received: ", which);
  return std::find(all.begin(), all.end(), chosenKernels().exchange(all[static_cast<size_t>(which)])) - all.begin();
}

NBIT_OPERATORS(m) {
  m.def("low_bit_kernels() -> int", countKernels);
  m.def("use_low_bit_kernels(int which) -> int", useKernels);
  m.def("quantize_blockwise(Tensor x, Tensor map, int block_size) -> (Tensor codes, Tensor absmax)");
  m.def("dequantize_blockwise(Tensor codes, Tensor absmax, Tensor map, int block_size) -> Tensor");
  m.def("quantize_small(Tensor x, Tensor? map, int block_size, bool keep_positive) -> (Tensor codes, Tensor absmax)");
  m.def("dequantize_small(Tensor codes, Tensor absmax, Tensor? map, int block_size, int[] shape) -> Tensor");
  m.def(
      "adam8bit_(Tensor(a!) p, Tensor g, Tensor(b!) codes1, Tensor(c!) codes2, Tensor(d!) absmax1, Tensor(e!) absmax2, "
      "Tensor map1, Tensor map2, float lr, float beta1, float beta2, float eps, "
      "float weight_decay, bool decoupled, float correction1, float correction2, int block_size, bool keep_positive) "
      "-> ()");
  m.def(
      "one_state8bit_(Tensor(a!) p, Tensor g, Tensor(b!) codes, Tensor(c!) absmax, Tensor map, int kind, float lr, "
      "float beta1, float beta2, float eps, float weight_decay, bool first, bool nesterov, "
      "int block_size, bool keep_positive) -> ()");
  // hyperparameters: the numbers of manifest/lowbit.json, in their order. Where p is a part of a parameter, sums,
  // float64 [2], are those of low_bit_sums over all parts: the squares of parameter and update.
  m.def(
      "low_bit_step_(Tensor(a!) p, Tensor g, Tensor(b!)[] states, Tensor(c!)[] absmax, Tensor[] maps, int family, "
      "int step, float[] hyperparameters, bool nesterov, int block_size, bool keep_positive, Tensor? sums) -> ()");
  m.def(
      "low_bit_sums(Tensor p, Tensor g, Tensor[] states, Tensor[] absmax, Tensor[] maps, int family, int step, "
      "float[] hyperparameters, bool nesterov, int block_size) -> Tensor");
}
NBIT_KERNELS(nbit, CPU, m) {
  m.impl("quantize_blockwise", quantize);
  m.impl("dequantize_blockwise", dequantize);
  m.impl("quantize_small", quantizeSmall);
  m.impl("dequantize_small", dequantizeSmall);
  m.impl("adam8bit_", adam_);
  m.impl("one_state8bit_", oneState_);
  m.impl("low_bit_step_", step_);
  m.impl("low_bit_sums", sums);
}

}  // namespace
}  // namespace nbit::lowbit
