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

#include <algorithm>
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
struct Maps {
  const void* map[3];
  bool operator==(const Maps& other) const { return std::equal(map, map + 3, other.map); }
};
struct States {
  void* data[3];
  void* absmax[3];
  Maps maps;
};
struct Item {
  void* p;
  const void* g;
  void* data[3];
  void* absmax[3];
  const void* step;
  int64_t n, first;
};
constexpr size_t kItems = 32;
struct Items {
  Item item[kItems];
  int64_t blocks;
  int count;
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
  int64_t teams = 1;  // of a block
};
/** Of blocks of state; `perProcessor`: blocks of threads, at most. */
unsigned launchBlocks(int64_t blocks, int64_t teams, int64_t perProcessor) {
  const int64_t most = at::cuda::getCurrentDeviceProperties()->multiProcessorCount * perProcessor;
  return static_cast<unsigned>(std::min(blocksOf(blocks, teams), most));
}
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
  l.teams = 256 / team;
  l.blocks = launchBlocks(blocksOf(n, block), l.teams, 8);
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
          bool nesterov, int64_t block, bool keepPositive, const Maybe& gradScale, const Maybe& foundInf,
          bool checkApart = true) {
  TORCH_CHECK_VALUE(family >= 0 && family < kFamilies, "expected family to be from 0 to ", kFamilies - 1,
                    ". Received: ", family);
  TORCH_CHECK_VALUE(static_cast<int>(states.size()) == kStateCount[family], "expected ", kStateCount[family],
                    " states. Received: ", states.size());
  checkHyperparameters(hyperparameters);
  checkElements(p, "p", p);
  checkElements(g, "g", p);
  checkBlock(block);
  checks::shapeOf(g, "g", p, "p");
  if (checkApart) {
    std::vector<checks::Named> written{{&p, "p"}}, others{{&g, "g"}};
    for (const at::Tensor& t : states) written.push_back({&t, "states"});
    for (const at::Tensor& t : absmax) written.push_back({&t, "absmax"});
    for (const at::Tensor& t : maps) others.push_back({&t, "maps"});
    checks::apart(written, others);
  }
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
    if (formats[i].codec == kUint8 || formats[i].codec == kUint4) t.states.maps.map[i] = maps[i].const_data_ptr();
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
  TORCH_CHECK_VALUE(step.defined(), "expected step to be a tensor. Received: none");
  t.pointers = {one(lrTensor, "lr_tensor", p), one(Maybe(step), "step", p), one(gradScale, "grad_scale", p),
                one(foundInf, "found_inf", p), nullptr};
  t.launch = launchOf(n, block, family, formats, p.scalar_type(), g.scalar_type(), isAligned);
  return t;
}
Item itemOf(void* p, const void* g, const Told& t, int64_t n) {
  Item item{p, g, {}, {}, t.pointers.step, n, 0};
  std::copy(t.states.data, t.states.data + 3, item.data);
  std::copy(t.states.absmax, t.states.absmax + 3, item.absmax);
  return item;
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
  NBIT_EXPECT(p.is_cuda(), p, "p on a GPU, as other arguments");
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
  Items items{{itemOf(pp, pg, t, n)}, blocksOf(n, block), 1};
  void* arguments[] = {&items, &t.states.maps, &t.args, &t.pointers};
  run(t.launch, "step", arguments);
}

/** What is written belongs to one argument of one tensor alone. */
struct Range {
  uintptr_t from, to;
  bool written;
  const at::Tensor* tensor;
  const char* name;
};
void checkAllApart(std::vector<Range>& ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.from < b.from; });
  const Range *any = nullptr, *written = nullptr;  // those that reach farthest
  for (const Range& r : ranges) {
    const Range* other = written && written->to > r.from        ? written
                         : r.written && any && any->to > r.from ? any
                                                                : nullptr;
    if (other != nullptr)
      NBIT_EXPECT(false, *r.tensor, r.name, " in memory of its own, as ", (r.written ? r : *other).name, " is written");
    if (!any || r.to > any->to) any = &r;
    if (r.written && (!written || r.to > written->to)) written = &r;
  }
}

void steps_(at::TensorList p, at::TensorList g, at::TensorList states, at::TensorList absmax, at::TensorList maps,
            int64_t family, at::TensorList steps, const Maybe& lrTensor, at::ArrayRef<double> hyperparameters,
            bool nesterov, int64_t block, bool keepPositive, const Maybe& gradScale, const Maybe& foundInf) {
  if (p.empty()) return;
  TORCH_CHECK_VALUE(family >= 0 && family < kFamilies && !kLayerwise[family],
                    "expected a family whose steps are not scaled tensor by tensor. Received: ", family);
  const size_t each = static_cast<size_t>(kStateCount[family]), count = p.size();
  const auto expectLength = [&](at::TensorList list, const char* what, size_t n) {
    TORCH_CHECK_VALUE(list.size() == n, "expected ", n, " tensors in ", what, ". Received: ", list.size());
  };
  expectLength(g, "g", count);
  expectLength(steps, "steps", count);
  expectLength(states, "states", each * count);
  expectLength(absmax, "absmax", each * count);
  expectLength(maps, "maps", each * count);
  // Kernels that differ in what they are compiled for, or in their maps, are launches of their own.
  struct Kind {
    Told told;
    std::vector<Item> items;
  };
  std::vector<Kind> kinds;
  std::vector<Range> ranges;
  const auto add = [&](const at::Tensor& t, const char* name, bool written) {
    const auto from = reinterpret_cast<uintptr_t>(t.const_data_ptr());
    if (t.numel() > 0) ranges.push_back({from, from + t.nbytes(), written, &t, name});
  };
  const auto everywhere = [&](const at::Tensor& t, const char* name) {
    TORCH_CHECK_VALUE(t.defined() && t.device() == p[0].device(), "expected ", name, " to be tensors on ",
                      p[0].device(), ". Received: ", described(t));
  };
  NBIT_EXPECT(p[0].defined() && p[0].is_cuda(), p[0], "p on a GPU, as other arguments");
  const c10::cuda::CUDAGuard guard(p[0].device());
  for (size_t i = 0; i < count; i++) {
    everywhere(p[i], "p");
    everywhere(g[i], "g");
    const auto own = [&](at::TensorList list) { return list.slice(i * each, each); };
    Told t = told(p[i], g[i], own(states), own(absmax), own(maps), family, steps[i], lrTensor, hyperparameters,
                  nesterov, block, keepPositive, gradScale, foundInf, /*checkApart=*/false);
    add(p[i], "p", true);
    add(g[i], "g", false);
    add(steps[i], "steps", false);
    for (const at::Tensor& s : own(states)) add(s, "states", true);
    for (const at::Tensor& s : own(absmax)) add(s, "absmax", true);
    for (const at::Tensor& s : own(maps)) add(s, "maps", false);
    const int64_t n = p[i].numel();
    if (n == 0) continue;
    auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) {
      return k.told.states.maps == t.states.maps && k.told.launch.options == t.launch.options;
    });
    const Item item = itemOf(p[i].mutable_data_ptr(), g[i].const_data_ptr(), t, n);
    if (kind == kinds.end()) kind = kinds.insert(kind, Kind{std::move(t), {}});
    kind->items.push_back(item);
  }
  checkAllApart(ranges);
  for (Kind& k : kinds)
    for (size_t from = 0; from < k.items.size(); from += kItems) {
      Items items{};
      for (size_t i = from; i < std::min(from + kItems, k.items.size()); i++) {
        Item& item = items.item[items.count++] = k.items[i];
        item.first = items.blocks;
        items.blocks += blocksOf(item.n, block);
      }
      void* arguments[] = {&items, &k.told.states.maps, &k.told.args, &k.told.pointers};
      // As many as are there at once: each block makes the codebooks' tables first.
      run(k.told.launch, "step", arguments, launchBlocks(items.blocks, k.told.launch.teams, 3));
    }
}
at::Tensor sums(const at::Tensor& p, const at::Tensor& g, at::TensorList states, at::TensorList absmax,
                at::TensorList maps, int64_t family, const at::Tensor& step, at::ArrayRef<double> hyperparameters,
                bool nesterov, int64_t block, const Maybe& gradScale, const Maybe& foundInf) {
  NBIT_EXPECT(p.is_cuda(), p, "p on a GPU, as other arguments");
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
  // Of many tensors: states, absmax and maps in the order of the tensors, as many for each.
  m.def(
      "low_bit_steps_device_(Tensor(a!)[] p, Tensor[] g, Tensor(b!)[] states, Tensor(c!)[] absmax, Tensor[] maps, "
      "int family, Tensor[] steps, Tensor? lr_tensor, float[] hyperparameters, bool nesterov, int block_size, "
      "bool keep_positive, Tensor? grad_scale, Tensor? found_inf) -> ()");
  m.def(
      "low_bit_sums_device(Tensor p, Tensor g, Tensor[] states, Tensor[] absmax, Tensor[] maps, int family, Tensor "
      "step, "
      "float[] hyperparameters, bool nesterov, int block_size, Tensor? grad_scale, Tensor? found_inf) -> Tensor");
}
NBIT_KERNELS(nbit, CUDA, m) {
  m.impl("quantize_blockwise", quantize);
  m.impl("dequantize_blockwise", dequantize);
  m.impl("low_bit_step_device_", step_);
  m.impl("low_bit_steps_device_", steps_);
  m.impl("low_bit_sums_device", sums);
}

}  // namespace
}  // namespace nbit::lowbit
