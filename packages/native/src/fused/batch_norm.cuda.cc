// Batch normalisation, addition and ReLU on the GPU: two passes over memory each way, in float32, where separate
// operators take up to eight.
#include "fused/batch_norm.h"
#include "binding/checks.h"
#include "binding/core.h"
#include "cuda/kernel_options.h"
#include "binding/library.h"
#include "cuda/nvrtc.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>

#include <numeric>

namespace nbit {
namespace {

using checks::given;
using checks::Maybe;
constexpr int64_t kThreads = 256;

const void* input(const Maybe& t) { return given(t) ? t->const_data_ptr() : nullptr; }
void* output(const at::Tensor& t) { return t.defined() ? t.mutable_data_ptr() : nullptr; }
int64_t processors() { return at::cuda::getCurrentDeviceProperties()->multiProcessorCount; }

void checkInput(const at::Tensor& t, const char* what, const at::Tensor& x) {
  checks::strided(t, what, x);
  checks::shapeOf(t, what, x, "x");
  checks::type(t, what, x.scalar_type());
  NBIT_EXPECT(isChannelsLast(t) && reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0, t, what,
              " with channels last in memory, aligned to 16 bytes");
}
void checkChannels(const Maybe& t, const char* what, const at::Tensor& x, at::ScalarType type) {
  if (!given(t)) return;
  checks::contiguous(*t, what, x);
  checks::vector(*t, what, x.size(1));
  checks::type(*t, what, type);
}
void checkChannels(const at::Tensor& t, const char* what, const at::Tensor& x, at::ScalarType type) {
  TORCH_CHECK_VALUE(t.defined(), "expected ", what, " to be a tensor. Received: none");
  checkChannels(Maybe(t), what, x, type);
}

// How an input is cut: packs of 8 channels; blocks of the first pass (chunks of rows × tiles of channels) and of the
// second.
struct Plan {
  int64_t columns, rows, packs, tiles;
  int chunks;
  unsigned blocks;
  std::vector<std::string> options;
  unsigned channelBlocks() const { return static_cast<unsigned>((columns + 31) / 32); }
  unsigned firstBlocks() const { return static_cast<unsigned>(tiles * chunks); }
};
/** `perProcessor`: blocks of the passes, as many as are there at once (what the kernels are bounded for). */
Plan planOf(const at::Tensor& x, at::ScalarType weights, bool residual, bool weight, bool bias, bool relu,
            int64_t perProcessor) {
  checks::floating(x, "x", false);
  TORCH_CHECK_TYPE(kernelTypeKnown(weights),
                   "expected weights in float32, bfloat16 or float16. Received: ", c10::getDtypeNames(weights).first);
  NBIT_EXPECT(x.dim() >= 2 && x.size(1) >= 8 && x.size(1) % 8 == 0 && x.numel() > 0, x,
              "x with a multiple of 8 channels, and a value for each");
  checkInput(x, "x", x);
  Plan p;
  p.columns = x.size(1);
  p.rows = x.numel() / p.columns;
  const int64_t row = p.columns / 8, across = std::min<int64_t>(row, 32), lanes = kThreads / across;
  p.packs = p.rows * row;
  p.tiles = (row + across - 1) / across;
  const int64_t most = processors() * perProcessor;
  p.chunks = static_cast<int>(std::max<int64_t>(1, std::min((p.rows + lanes - 1) / lanes, most / p.tiles)));
  // Blocks whose threads are whole rows.
  const int64_t unit = row / std::gcd(row, kThreads);
  p.blocks = static_cast<unsigned>(
      unit * std::max<int64_t>(1, std::min((p.packs + kThreads * unit - 1) / (kThreads * unit), most / unit)));
  p.options = {define("COLUMNS", p.columns),
               define("TX", kernelType(x.scalar_type())),
               define("TW", kernelType(weights)),
               define("HAS_R", residual),
               define("HAS_W", weight),
               define("HAS_B", bias),
               define("RELU", relu)};
  return p;
}
nvrtc::Kernel& kernel(const Plan& p, const char* name) { return nvrtc::get(kernels::batchNorm, name, p.options); }
at::ScalarType typeOf(std::initializer_list<const Maybe*> of) {
  for (const Maybe* t : of)
    if (given(*t)) return (*t)->scalar_type();
  return at::kFloat;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> forward(const at::Tensor& x, const Maybe& residual,
                                                                   const Maybe& weight, const Maybe& bias,
                                                                   const Maybe& runningMean, const Maybe& runningVar,
                                                                   double momentum, double eps, bool relu) {
  NBIT_EXPECT(x.is_cuda(), x, "x on a GPU, as other arguments");
  const c10::cuda::CUDAGuard guard(x.device());
  const auto type = typeOf({&weight, &bias, &runningMean});
  Plan p = planOf(x, type, given(residual), given(weight), given(bias), relu, 4);
  p.options.push_back(define("HAS_MORE", false));
  p.options.push_back(define("KEEP", false));
  if (given(residual)) checkInput(*residual, "residual", x);
  checkChannels(weight, "weight", x, type);
  checkChannels(bias, "bias", x, type);
  TORCH_CHECK_VALUE(given(runningMean) == given(runningVar),
                    "expected both running statistics or neither. Received: only the ",
                    given(runningMean) ? "mean" : "variance");
  checkChannels(runningMean, "running_mean", x, type);
  checkChannels(runningVar, "running_var", x, type);
  if (given(runningMean)) {
    checks::apart({{&*runningMean, "running_mean"}, {&*runningVar, "running_var"}}, {{&x, "x"}});
    NBIT_EXPECT(x.numel() > x.size(1), x, "x with more than one value per channel where running statistics are kept");
  }
  const auto floats = x.options().dtype(at::kFloat).memory_format(at::MemoryFormat::Contiguous);
  at::Tensor out = at::empty_like(x), mean = at::empty({p.columns}, floats), rstd = at::empty({p.columns}, floats),
             partial = at::empty({p.chunks, 2, p.columns}, floats), mask;
  if (relu && given(residual)) mask = at::empty({p.packs}, floats.dtype(at::kByte));
  const void* px = x.const_data_ptr();
  const void* pr = input(residual);
  const void* pw = input(weight);
  const void* pb = input(bias);
  void* prm = given(runningMean) ? runningMean->mutable_data_ptr() : nullptr;
  void* prv = given(runningVar) ? runningVar->mutable_data_ptr() : nullptr;
  void* pp = output(partial);
  void* pm = output(mean);
  void* ps = output(rstd);
  void* po = output(out);
  void* pk = output(mask);
  float m = static_cast<float>(momentum), e = static_cast<float>(eps);
  void* first[] = {&px, &pp, &p.rows, &p.chunks};
  nvrtc::launch(kernel(p, "statistics"), p.firstBlocks(), kThreads, first);
  void* end[] = {&px, &pp, &prm, &prv, &pm, &ps, &p.rows, &p.chunks, &m, &e};
  nvrtc::launch(kernel(p, "statistics_end"), p.channelBlocks(), 1024, end);
  void* second[] = {&px, &pr, &pw, &pb, &pm, &ps, &po, &pk, &p.packs};
  nvrtc::launch(kernel(p, "apply"), p.blocks, kThreads, second);
  return {out, mean, rstd, mask};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& gradOut, const at::Tensor& x,
                                                                    const Maybe& mask, const Maybe& weight,
                                                                    const Maybe& bias, const at::Tensor& mean,
                                                                    const at::Tensor& rstd, const Maybe& gradMore,
                                                                    bool relu, bool needResidual, bool needWeight,
                                                                    bool needBias) {
  NBIT_EXPECT(x.is_cuda(), x, "x on a GPU, as other arguments");
  const c10::cuda::CUDAGuard guard(x.device());
  const auto type = typeOf({&weight, &bias});
  Plan p = planOf(x, type, given(mask), given(weight), given(bias), relu, 3);
  checks::strided(gradOut, "grad", x);
  checks::shapeOf(gradOut, "grad", x, "x");
  const at::Tensor grad = inOrderOf(gradOut, x);
  checkInput(grad, "grad", x);
  Maybe more;
  if (given(gradMore)) {
    checks::strided(*gradMore, "grad_more", x);
    checks::shapeOf(*gradMore, "grad_more", x, "x");
    more = inOrderOf(*gradMore, x);
    checkInput(*more, "grad_more", x);
  }
  const bool keep = needResidual || given(more);
  p.options.push_back(define("HAS_MORE", given(more)));
  p.options.push_back(define("KEEP", keep));
  checkChannels(weight, "weight", x, type);
  checkChannels(bias, "bias", x, type);
  checkChannels(mean, "mean", x, at::kFloat);
  checkChannels(rstd, "rstd", x, at::kFloat);
  if (given(mask)) {
    checks::contiguous(*mask, "mask", x);
    checks::type(*mask, "mask", at::kByte);
    checks::vector(*mask, "mask", p.packs);
  }
  TORCH_CHECK_VALUE((given(weight) || !needWeight) && (given(bias) || !needBias),
                    "expected a weight and a bias where their gradients are asked for. Received: none");
  const auto floats = mean.options();
  at::Tensor gx = at::empty_like(x), kept, gw, gb, partial = at::empty({p.chunks, 2, p.columns}, floats),
             means = at::empty({2, p.columns}, floats);
  if (keep) kept = at::empty_like(x);
  if (needWeight) gw = at::empty_like(*weight);
  if (needBias) gb = at::empty_like(*bias);
  const void* pg = grad.const_data_ptr();
  const void* pn = input(more);
  const void* px = x.const_data_ptr();
  const void* pm = input(mask);
  const void* pw = input(weight);
  const void* pb = input(bias);
  const void* pmean = mean.const_data_ptr();
  const void* ps = rstd.const_data_ptr();
  void* pk = output(kept);
  void* pp = output(partial);
  void* pt = output(means);
  void* pgw = output(gw);
  void* pgb = output(gb);
  void* pgx = output(gx);
  void* first[] = {&pg, &pn, &px, &pm, &pw, &pb, &pmean, &ps, &pk, &pp, &p.rows, &p.chunks};
  nvrtc::launch(kernel(p, "sums"), p.firstBlocks(), kThreads, first);
  void* end[] = {&pp, &pgw, &pgb, &pt, &p.rows, &p.chunks};
  nvrtc::launch(kernel(p, "sums_end"), p.channelBlocks(), 1024, end);
  const void* behind = keep ? pk : pg;
  void* second[] = {&behind, &px, &pm, &pw, &pb, &pmean, &ps, &pt, &pgx, &p.packs};
  nvrtc::launch(kernel(p, "gradient"), p.blocks, kThreads, second);
  return {gx, needResidual ? kept : at::Tensor(), gw, gb};
}

NBIT_KERNELS(nbit, CUDA, m) {
  m.impl("batch_norm_relu", forward);
  m.impl("batch_norm_relu_backward", backward);
}

}  // namespace
}  // namespace nbit
