// Adam and AdamW on the GPU: one launch for up to 60 tensors, at the memory's speed, and the casts of the weights with
// it. Libtorch's own kernels take some 20 % longer, and another pass reads every weight again to cast it.
#include "fused/adam.h"

#include "amp/weight_casts.h"
#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"
#include "cuda/kernel_options.h"
#include "cuda/nvrtc.h"

#include <ATen/TensorOperators.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace nbit {
namespace {

using Maybe = std::optional<at::Tensor>;
using checks::given;

// As the kernel declares them.
struct Item {
  float *p, *g, *m, *v;
  const float* step;
  void* cast;
  int64_t n;
  int first, aligned;
};
constexpr size_t kItems = 60;
struct Items {
  Item item[kItems];
  int count;
};
struct Args {
  double lr, beta1, beta2, decay, eps;
  const float *lrAt, *scale, *foundInf;
  int maximize;
};
constexpr int64_t kChunk = 8192;

/** How the constants of an update are computed with: as the libtorch at hand does. */
enum class Form { unknown, narrow, wide, neither };

void launchAll(const AdamStep& s, const std::vector<SteppedCast>& casts, Form form) {
  const auto at = [](const Maybe& t) { return given(t) ? t->const_data_ptr<float>() : nullptr; };
  Args args{s.lr, s.beta1, s.beta2, s.weightDecay, s.eps, at(s.lrTensor), at(s.gradScale), at(s.foundInf), s.maximize};
  at::ScalarType dtype = at::kBFloat16;  // of all casts
  for (const SteppedCast& c : casts)
    if (c.data != nullptr) dtype = c.dtype;
  auto& kernel = nvrtc::get(
      kernels::adam, "step",
      {define("CHUNK", kChunk), define("ITEMS", static_cast<int64_t>(kItems)), define("TC", kernelType(dtype)),
       define("DECOUPLED", s.decoupled), define("WIDE", form == Form::wide)});
  const auto isAligned = [](const void* p, uintptr_t to) { return reinterpret_cast<uintptr_t>(p) % to == 0; };
  for (size_t i = 0; i < s.p.size();) {
    Items items{};
    int64_t blocks = 0;
    for (; i < s.p.size() && items.count < static_cast<int>(kItems); i++) {
      const int64_t n = s.p[i].numel();
      if (n == 0) continue;
      Item& item = items.item[items.count++];
      item = {s.p[i].mutable_data_ptr<float>(),
              s.g[i].mutable_data_ptr<float>(),
              s.m[i].mutable_data_ptr<float>(),
              s.v[i].mutable_data_ptr<float>(),
              s.steps[i].const_data_ptr<float>(),
              i < casts.size() ? casts[i].data : nullptr,
              n,
              static_cast<int>(blocks),
              0};
      item.aligned = n % 4 == 0 && isAligned(item.p, 16) && isAligned(item.g, 16) && isAligned(item.m, 16) &&
                     isAligned(item.v, 16) && isAligned(item.cast, 8);
      blocks += (n + kChunk - 1) / kChunk;
    }
    void* arguments[] = {&items, &args};
    if (items.count > 0) nvrtc::launch(kernel, static_cast<unsigned>(blocks), 256, arguments);
  }
}

/** Float32, and no more of it than a grid has room for. */
bool takes(const AdamStep& s) {
  int64_t blocks = 0;
  for (const at::Tensor& p : s.p) blocks += (p.numel() + kChunk - 1) / kChunk;
  return s.p[0].scalar_type() == at::kFloat && blocks < (int64_t{1} << 31);
}

/**
 * Whether a form makes of some values, step by step, the bits that libtorch's operator makes. Its arithmetic has
 * changed with its versions: which is equal is found out at the first step.
 */
bool equalsLibtorch(const AdamStep& like, Form form) {
  // Waits for the device at the first step of a process, which is not what a guard against waiting looks for.
  struct Unwatched {
    const c10::cuda::SyncDebugMode before = c10::cuda::warning_state().get_sync_debug_mode();
    Unwatched() { c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED); }
    ~Unwatched() { c10::cuda::warning_state().set_sync_debug_mode(before); }
  } unwatched;
  constexpr int64_t n = 20000;
  const auto options = like.p[0].options();
  const at::Tensor line = at::arange(n, options);
  const auto copyOf = [&](const at::Tensor& t) { return t.clone(); };
  const at::Tensor p = (line * 0.37).sin() * 0.1;
  at::Tensor p1 = copyOf(p), p2 = copyOf(p), m1 = at::zeros_like(p), m2 = at::zeros_like(p), v1 = at::zeros_like(p),
             v2 = at::zeros_like(p);
  const Maybe none, scale = at::full({}, 1000., options), rate = at::full({}, 3.1e-4, options);
  for (int step = 1; step <= 3; step++) {
    const at::Tensor count = at::full({}, static_cast<double>(step), options);
    at::Tensor g1 = ((line * (1.13 * step)).cos() * (line * 7e-4).sin()).pow(3), g2 = copyOf(g1);
    const auto stepOf = [&](const at::Tensor* lists) {
      return AdamStep{at::TensorList(lists, 1),
                      at::TensorList(lists + 1, 1),
                      at::TensorList(lists + 2, 1),
                      at::TensorList(lists + 3, 1),
                      at::TensorList(lists + 4, 1),
                      step == 3 ? rate : none,
                      3.1e-4,
                      0.91,
                      0.957,
                      0.11,
                      1.3e-8,
                      like.decoupled,
                      false,
                      step == 2 ? scale : none,
                      none};
    };
    const at::Tensor theirs[] = {p1, g1, m1, v1, count}, ours[] = {p2, g2, m2, v2, count};
    libtorchAdam(stepOf(theirs));
    launchAll(stepOf(ours), {}, form);
    if (!at::equal(p1, p2) || !at::equal(g1, g2) || !at::equal(m1, m2) || !at::equal(v1, v2)) return false;
  }
  return true;
}
Form formOf(const AdamStep& s) {
  static std::mutex& mutex = *new std::mutex;
  static auto& known = *new std::map<std::pair<int, bool>, Form>;
  const std::lock_guard<std::mutex> lock(mutex);
  Form& form = known[{s.p[0].device().index(), s.decoupled}];
  if (form != Form::unknown) return form;
  // It waits for the device, which a recording cannot.
  if (c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None) return Form::neither;
  form = equalsLibtorch(s, Form::narrow) ? Form::narrow : equalsLibtorch(s, Form::wide) ? Form::wide : Form::neither;
  return form;
}

void onGpu(at::TensorList p, at::TensorList g, at::TensorList m, at::TensorList v, at::TensorList steps,
           const Maybe& lrTensor, double lr, double beta1, double beta2, double weightDecay, double eps, bool decoupled,
           bool maximize, const Maybe& gradScale, const Maybe& foundInf) {
  const AdamStep s{p,     g,           m,   v,         steps,    lrTensor,  lr,      beta1,
                   beta2, weightDecay, eps, decoupled, maximize, gradScale, foundInf};
  checkAdam(s);
  if (!takes(s)) return libtorchAdam(s);
  const c10::cuda::CUDAGuard guard(p[0].device());
  const Form form = formOf(s);
  if (form == Form::neither) return libtorchAdam(s);
  std::vector<SteppedCast> casts = castsToStep(p);
  // A region of each 16-bit dtype: those of the first are written, the others cast when they are used.
  const auto first = std::find_if(casts.begin(), casts.end(), [](const SteppedCast& c) { return c.data != nullptr; });
  for (SteppedCast& c : casts)
    if (c.data != nullptr && c.dtype != first->dtype) c = {};
  launchAll(s, casts, form);
  castsWereStepped(casts);
}

NBIT_KERNELS(nbit, CUDA, m) { m.impl("fused_adam_", onGpu); }

}  // namespace
}  // namespace nbit
