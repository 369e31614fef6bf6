// Low-bit optimizer state on the GPU (kernels: lowbit/cuda/lowbit.cu). Everything runs on PyTorch's current stream and
// reads nothing back; learning rate, step number, gradient scale and found-inf may be tensors, so that a recorded graph
// sees today's.
#include "binding/checks.h"
#include "binding/core.h"
#include "cuda/kernel_options.h"
#include "binding/library.h"
#include "cuda/nvrtc.h"
#include "lowbit/checks.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>

#include <array>

namespace nbit::lowbit {
namespace {

using checks::given;
using checks::Maybe;
constexpr int64_t kMostBlock = 4096;

// As the kernels declare them.
struct StepArgs {
  double lr, beta1, beta2;
  float beta3, alpha, eps, weightDecay, step, trustCoefficient, maxUnorm;
  int nesterov;
};
struct StepPointers {
  const void *lr, *step, *gradScale, *foundInf, *trust;
};
struct States {
  void* data[3];
  void* absmax[3];
  const void* map[3];
};
struct Format {
  int codec = kFloat32;
  int64_t size = 1;
  bool keepPositive = false;
};

int64_t blocksOf(int64_t n, int64_t block) { return (n + block - 1) / block; }
bool aligned(const at::Tensor& t) { return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0; }
void checkElements(const at::Tensor& t, const char* what, const at::Tensor& like) {
  checks::contiguous(t, what, like);
  checks::floating(t, what, false);
}
void checkBlock(int64_t block) {
  TORCH_CHECK_VALUE(block >= 1 && block <= kMostBlock, "expected a block size from 1 to ", kMostBlock,
                    ". Received: ", block);
}
const void* one(const Maybe& t, const char* what, const at::Tensor& like) {
  if (!given(t)) return nullptr;
  checks::contiguous(*t, what, like);
  checks::type(*t, what, at::kFloat);
  checks::count(*t, what, 1);
  return t->const_data_ptr();
}

Format formatOf(const at::Tensor& state, const at::Tensor* absmax, const at::Tensor* map, int64_t n, int64_t block,
                bool keepPositive, const at::Tensor& like) {
  checks::contiguous(state, "states", like);
  Format f;
  if (state.scalar_type() == at::kFloat) {
    NBIT_EXPECT(state.numel() == n, state, "one state for each of ", n, " elements");
    return f;
  }
  TORCH_CHECK_VALUE(absmax != nullptr && absmax->defined(),
                    "expected an absmax for each quantized state. Received: none");
  checks::contiguous(*absmax, "absmax", like);
  NBIT_EXPECT(absmax->scalar_type() == at::kFloat && absmax->numel() == blocksOf(n, block), *absmax,
              "one float32 absmax for each of ", blocksOf(n, block), " blocks");
  f.keepPositive = keepPositive;
  if (state.scalar_type() == at::kFloat8_e4m3fn) {
    f.codec = kFloat8;
  } else {
    NBIT_EXPECT_TYPE(state.scalar_type() == at::kByte, state, "states in float32, uint8 or float8_e4m3fn");
    TORCH_CHECK_VALUE(map != nullptr && map->defined(), "expected a map for each state of codes. Received: none");
    checks::contiguous(*map, "maps", like);
    NBIT_EXPECT(map->scalar_type() == at::kFloat && map->dim() == 1 && map->numel() >= 2 && map->numel() <= 256, *map,
                "maps of 2 to 256 float32 values");
    NBIT_EXPECT(map->numel() <= 16 || map->numel() == 256, *map, "maps of 256 values, one per code, or of 16 at most");
    f.size = map->numel();
    f.codec = f.size <= 16 ? kUint4 : kUint8;
  }
  if (f.codec == kUint4) {
    NBIT_EXPECT(state.numel() == (n + 1) / 2 && (block % 2 == 0 || n <= block), state, "two codes per byte for ", n,
                " elements and an even block size, not ", block);
  } else {
    NBIT_EXPECT(state.numel() == n, state, "one code for each of ", n, " elements");
  }
  return f;
}

struct Launch {
  std::vector<std::string> options;
  unsigned blocks = 1;
};
Launch launchOf(int64_t n, int64_t block, int64_t family, const std::array<Format, 3>& formats, at::ScalarType p,
                at::ScalarType g, bool isAligned) {
  const int64_t team = block <= 256 ? 32 : 256;
  int64_t vector = 8;
  while (vector > 1 && (block % vector != 0 || block / vector < team)) vector /= 2;
  for (const Format& f : formats)
    if (f.codec == kUint4) vector = std::max<int64_t>(vector, 2);
  Launch l;
  l.options = {
      define("BLOCK", block),      define("TEAM", team),        define("VEC", vector),        define("FAMILY", family),
      define("TP", kernelType(p)), define("TG", kernelType(g)), define("ALIGNED", isAligned), "--fmad=false"};
  for (size_t i = 0; i < 3; i++) {
    const std::string at = std::to_string(i);
    l.options.push_back(define(("CODEC" + at).c_str(), formats[i].codec));
    l.options.push_back(define(("SIZE" + at).c_str(), formats[i].size));
    l.options.push_back(define(("KEEP_POSITIVE" + at).c_str(), formats[i].keepPositive));
  }
  const int64_t teams = 256 / team,
                most = static_cast<int64_t>(at::cuda::getCurrentDeviceProperties()->multiProcessorCount) * 8;
  l.blocks = static_cast<unsigned>(std::min(blocksOf(blocksOf(n, block), teams), most));
  return l;
}
void run(const Launch& l, const char* name, void** arguments, unsigned blocks = 0) {
  nvrtc::launch(nvrtc::get(kernels::lowBit, name, l.options), blocks == 0 ? l.blocks : blocks, 256, arguments);
}

void checkMap(const at::Tensor& map, const at::Tensor& like) {
  checks::contiguous(map, "map", like);
  NBIT_EXPECT(map.scalar_type() == at::kFloat && map.dim() == 1 && map.numel() == 256, map,
              "a map of 256 float32 values, one per code");
}
std::tuple<at::Tensor, at::Tensor> quantize(const at::Tensor& x, const at::Tensor& map, int64_t block) {
  checkElements(x, "x", x);
  checkMap(map, x);
  checkBlock(block);
  const c10::cuda::CUDAGuard guard(x.device());
  int64_t n = x.numel();
  at::Tensor codes = at::empty(x.sizes(), x.options().dtype(at::kByte)),
             absmax = at::empty({blocksOf(n, block)}, x.options().dtype(at::kFloat));
  if (n == 0) return {codes, absmax};
  const void* px = x.const_data_ptr();
  void* pc = codes.mutable_data_ptr();
  void* pa = absmax.mutable_data_ptr();
  const void* pm = map.const_data_ptr();
  void* arguments[] = {&px, &pc, &pa, &pm, &n};
  run(launchOf(n, block, kMomentum, {Format{kUint8, 256, false}, {}, {}}, x.scalar_type(), x.scalar_type(), aligned(x)),
      "quantize", arguments);
  return {codes, absmax};
}
at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& absmax, const at::Tensor& map, int64_t block) {
  checkMap(map, codes);
  checkBlock(block);
  int64_t n = codes.numel();
  const Format f = formatOf(codes, &absmax, &map, n, block, false, codes);
  const c10::cuda::CUDAGuard guard(codes.device());
  at::Tensor out = at::empty(codes.sizes(), codes.options().dtype(at::kFloat));
  if (n == 0) return out;
  const void* pc = codes.const_data_ptr();
  const void* pa = absmax.const_data_ptr();
  const void* pm = map.const_data_ptr();
  void* po = out.mutable_data_ptr();
  void* arguments[] = {&pc, &pa, &pm, &po, &n};
  run(launchOf(n, block, kMomentum, {f, {}, {}}, at::kFloat, at::kFloat, aligned(codes)), "dequantize", arguments);
  return out;
}

// What the kernels of a step are told.
struct Told {
  States states{};
  StepArgs args;
  StepPointers pointers;
  Launch launch;
};
Told told(const at::Tensor& p, const at::Tensor& g, at::TensorList states, at::TensorList absmax, at::TensorList maps,
          int64_t family, const at::Tensor& step, const Maybe& lrTensor, at::ArrayRef<double> hyperparameters,
          bool nesterov, int64_t block, bool keepPositive, const Maybe& gradScale, const Maybe& foundInf) {
  TORCH_CHECK_VALUE(family >= 0 && family < kFamilies, "expected family to be from 0 to ", kFamilies - 1,
                    ". Received: ", family);
  TORCH_CHECK_VALUE(static_cast<int>(states.size()) == kStateCount[family], "expected ", kStateCount[family],
                    " states. Received: ", states.size());
  checkHyperparameters(hyperparameters);
  checkElements(p, "p", p);
  checkElements(g, "g", p);
  checkBlock(block);
  checks::shapeOf(g, "g", p, "p");
  std::vector<checks::Named> written{{&p, "p"}}, others{{&g, "g"}};
  for (const at::Tensor& t : states) written.push_back({&t, "states"});
  for (const at::Tensor& t : absmax) written.push_back({&t, "absmax"});
  for (const at::Tensor& t : maps) others.push_back({&t, "maps"});
  checks::apart(written, others);
  const int64_t n = p.numel();
  std::array<Format, 3> formats;
  Told t;
  bool isAligned = aligned(p) && aligned(g);
  for (size_t i = 0; i < states.size(); i++) {
    formats[i] = formatOf(states[i], i < absmax.size() ? &absmax[i] : nullptr, i < maps.size() ? &maps[i] : nullptr, n,
                          block, keepPositive && !kSigned[family][i], p);
    isAligned = isAligned && aligned(states[i]);
    t.states.data[i] = states[i].mutable_data_ptr();
    if (formats[i].codec != kFloat32) t.states.absmax[i] = absmax[i].mutable_data_ptr();
    if (formats[i].codec == kUint8 || formats[i].codec == kUint4) t.states.map[i] = maps[i].const_data_ptr();
  }
  const auto number = [&](Hyperparameter at) { return static_cast<float>(hyperparameters[at]); };
  t.args = {hyperparameters[kLr],
            hyperparameters[kBeta1],
            hyperparameters[kBeta2],
            number(kBeta3),
            number(kAlpha),
            number(kEps),
            number(kWeightDecay),
            1.f,
            family == kLamb ? 1.f : number(kTrustCoefficient),
            number(kMaxUnorm),
            nesterov};
  t.pointers = {one(lrTensor, "lr_tensor", p), one(Maybe(step), "step", p), one(gradScale, "grad_scale", p),
                one(foundInf, "found_inf", p), nullptr};
  t.launch = launchOf(n, block, family, formats, p.scalar_type(), g.scalar_type(), isAligned);
  return t;
}
// Of the squares of parameter and update: a row for each block of the launch.
at::Tensor rowsOfSums(const at::Tensor& p, const at::Tensor& g, Told& t) {
  at::Tensor sums = at::empty({static_cast<int64_t>(t.launch.blocks), 2}, p.options().dtype(at::kDouble));
  sums.zero_();  // with found-inf the kernel writes nothing
  int64_t n = p.numel();
  const void* pp = p.const_data_ptr();
  const void* pg = g.const_data_ptr();
  void* ps = sums.mutable_data_ptr();
  void* arguments[] = {&pp, &pg, &t.states, &ps, &n, &t.args, &t.pointers};
  run(t.launch, "norms", arguments);
  return sums;
}

void step_(at::Tensor& p, const at::Tensor& g, at::TensorList states, at::TensorList absmax, at::TensorList maps,
           int64_t family, const at::Tensor& step, const Maybe& lrTensor, at::ArrayRef<double> hyperparameters,
           bool nesterov, int64_t block, bool keepPositive, const Maybe& gradScale, const Maybe& foundInf,
           const Maybe& sums) {
  const c10::cuda::CUDAGuard guard(p.device());
  Told t = told(p, g, states, absmax, maps, family, step, lrTensor, hyperparameters, nesterov, block, keepPositive,
                gradScale, foundInf);
  if (given(sums)) {
    checks::contiguous(*sums, "sums", p);
    checks::type(*sums, "sums", at::kDouble);
    checks::count(*sums, "sums", 2);
  }
  int64_t n = p.numel();
  if (n == 0) return;
  void* pp = p.mutable_data_ptr();
  const void* pg = g.const_data_ptr();
  at::Tensor rows, trust;
  if (kLayerwise[family]) {
    rows = given(sums) ? *sums : rowsOfSums(p, g, t);
    trust = at::empty({1}, p.options().dtype(at::kFloat));
    const void* ps = rows.const_data_ptr();
    void* pt = trust.mutable_data_ptr();
    int count = given(sums) ? 1 : static_cast<int>(t.launch.blocks);
    void* arguments[] = {&ps, &count, &pt, &t.args};
    run(t.launch, "trust", arguments, 1);
    t.pointers.trust = pt;
  }
  void* arguments[] = {&pp, &pg, &t.states, &n, &t.args, &t.pointers};
  run(t.launch, "step", arguments);
}
at::Tensor sums(const at::Tensor& p, const at::Tensor& g, at::TensorList states, at::TensorList absmax,
                at::TensorList maps, int64_t family, const at::Tensor& step, at::ArrayRef<double> hyperparameters,
                bool nesterov, int64_t block, const Maybe& gradScale, const Maybe& foundInf) {
  const c10::cuda::CUDAGuard guard(p.device());
  Told t = told(p, g, states, absmax, maps, family, step, std::nullopt, hyperparameters, nesterov, block, false,
                gradScale, foundInf);
  TORCH_CHECK_VALUE(kLayerwise[family], "expected a layerwise family. Received: ", family);
  if (p.numel() == 0) return at::zeros({2}, p.options().dtype(at::kDouble));
  return rowsOfSums(p, g, t).sum(0);
}

NBIT_OPERATORS(m) {
  // step: float32 on the device, this step's number, from 1. lr_tensor, where given, is read in place of lr. Gradients
  // are divided by grad_scale; nothing changes where found_inf is not 0. hyperparameters and sums: see low_bit_step_.
  m.def(
      "low_bit_step_device_(Tensor(a!) p, Tensor g, Tensor(b!)[] states, Tensor(c!)[] absmax, Tensor[] maps, "
      "int family, Tensor step, Tensor? lr_tensor, float[] hyperparameters, bool nesterov, int block_size, "
      "bool keep_positive, Tensor? grad_scale, Tensor? found_inf, Tensor? sums) -> ()");
  m.def(
      "low_bit_sums_device(Tensor p, Tensor g, Tensor[] states, Tensor[] absmax, Tensor[] maps, int family, Tensor "
      "step, "
      "float[] hyperparameters, bool nesterov, int block_size, Tensor? grad_scale, Tensor? found_inf) -> Tensor");
}
NBIT_KERNELS(nbit, CUDA, m) {
  m.impl("quantize_blockwise", quantize);
  m.impl("dequantize_blockwise", dequantize);
  m.impl("low_bit_step_device_", step_);
  m.impl("low_bit_sums_device", sums);
}

}  // namespace
}  // namespace nbit::lowbit
