// Bias and GELU in one operator: its schema, and the plain form in ATen that runs on the CPU and says what the kernels
// (bias_gelu.cuda.cc) compute.
#include "fused/bias_gelu.h"

#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace nbit {
namespace {

using checks::given;
using checks::Maybe;
constexpr c10::DispatchKeySet kAutocast{c10::DispatchKey::AutocastCPU};
const char* formula(bool tanh) { return tanh ? "tanh" : "none"; }
at::Tensor wide(const at::Tensor& x, const Maybe& bias) {
  const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return given(bias) ? x.to(type) + bias->to(type) : x.to(type);
}
void check(const at::Tensor& x, const Maybe& bias) {
  checks::floating(x, "x", true);
  NBIT_EXPECT(x.dim() >= 1 && x.size(-1) >= 1, x, "x with a last dimension");
  if (!given(bias)) return;
  checks::strided(*bias, "bias", x);
  checks::floating(*bias, "bias", true);
  checks::vector(*bias, "bias", x.size(-1));
}

at::Tensor forward(const at::Tensor& x, const Maybe& bias, bool tanh) {
  const c10::impl::ExcludeDispatchKeyGuard plain(kAutocast);
  check(x, bias);
  return at::gelu(wide(x, bias), formula(tanh)).to(x.scalar_type());
}
std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& grad, const at::Tensor& x, const Maybe& bias,
                                                        bool tanh, bool needBias, bool needOut) {
  if (auto kept = keptGelu(grad, x, needBias); kept && !needOut) return *kept;
  const c10::impl::ExcludeDispatchKeyGuard plain(kAutocast);
  check(x, bias);
  checks::strided(grad, "grad", x);
  checks::floating(grad, "grad", true);
  checks::shapeOf(grad, "grad", x, "x");
  TORCH_CHECK_VALUE(given(bias) || !needBias, "expected a bias where its gradient is asked for. Received: none");
  const at::Tensor v = wide(x, bias), d = at::gelu_backward(grad.to(v.scalar_type()), v, formula(tanh));
  return {d.to(x.scalar_type()), needBias ? d.reshape({-1, x.size(-1)}).sum(0).to(bias->scalar_type()) : at::Tensor(),
          needOut ? forward(x, bias, tanh) : at::Tensor()};
}

NBIT_OPERATORS(m) {
  // need_out: forward's result once more, from the values in hand.
  m.def("bias_gelu(Tensor x, Tensor? bias, bool tanh) -> Tensor");
  m.def(
      "bias_gelu_backward(Tensor grad, Tensor x, Tensor? bias, bool tanh, bool need_bias, bool need_out) -> (Tensor "
      "grad_x, Tensor grad_bias, Tensor out)");
}
NBIT_KERNELS(nbit, CPU, m) {
  m.impl("bias_gelu", forward);
  m.impl("bias_gelu_backward", backward);
}

}  // namespace
}  // namespace nbit
