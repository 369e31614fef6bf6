// Optimizer steps over blockwise low-bit state: they read codes, update in float32 and write codes, in one pass over
// each block. Registered as operators of the dispatcher, so that tracing sees them, no binding code is needed, and
// other devices register kernels of their own.
#include "binding/core.h"
#include "binding/library.h"
#include "lowbit/checks.h"
#include "lowbit/cpu/block_state.h"

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
Sums sumsOf(const at::Tensor& p, const at::Tensor& g, const std::vector<BlockState>& states, int family,
            const Step& step, int64_t block) {
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
void run(at::Tensor& p, const at::Tensor& g, const std::vector<BlockState>& states, int family, const Rates& r,
         bool first, bool nesterov, int64_t block, const Sums* whole = nullptr) {
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
      std::all_of(states.begin(), states.end(), [](const BlockState& s) { return s.coded(0).has_value(); });
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
  run(p, g,
      {BlockState(codes1, &absmax1, &map1, n, block, false),
       BlockState(codes2, &absmax2, &map2, n, block, keepPositive)},
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
  run(p, g, {BlockState(codes, &absmax, &map, p.numel(), block, keepPositive && !kSigned[kind][0])},
      static_cast<int>(kind), {lr, beta1, beta2, 0, 0, eps, weightDecay, 1, 0, 1, 1}, first, nesterov, block);
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
  std::vector<BlockState> states;
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
  std::vector<BlockState> all;
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
  m.impl("adam8bit_", adam_);
  m.impl("one_state8bit_", oneState_);
  m.impl("low_bit_step_", step_);
  m.impl("low_bit_sums", sums);
}

}  // namespace
}  // namespace nbit::lowbit
