// Adam and AdamW in one operator that also keeps 16-bit casts of weights up to date: its schema, and libtorch's own
// operators, which run on the CPU and say what the kernel (adam.cuda.cc) computes.
#include "fused/adam.h"

#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"

namespace nbit {
namespace {

void onCpu(at::TensorList p, at::TensorList g, at::TensorList m, at::TensorList v, at::TensorList steps,
           const std::optional<at::Tensor>& lrTensor, double lr, double beta1, double beta2, double weightDecay,
           double eps, bool decoupled, bool maximize, const std::optional<at::Tensor>& gradScale,
           const std::optional<at::Tensor>& foundInf) {
  const AdamStep s{p,     g,           m,   v,         steps,    lrTensor,  lr,      beta1,
                   beta2, weightDecay, eps, decoupled, maximize, gradScale, foundInf};
  checkAdam(s);
  libtorchAdam(s);
}

NBIT_OPERATORS(m) {
  // A step of libtorch's fused Adam (`decoupled`: AdamW) without amsgrad. `lr_tensor` is taken before `lr`. Casts of
  // weights that are kept (weight_casts.h) are written with them: the caller advances the epoch of weights by one step.
  m.def(
      "fused_adam_(Tensor(a!)[] p, Tensor(b!)[] g, Tensor(c!)[] m, Tensor(d!)[] v, Tensor[] state_steps, Tensor? "
      "lr_tensor, "
      "float lr, float beta1, float beta2, float weight_decay, float eps, bool decoupled, bool maximize, Tensor? "
      "grad_scale, Tensor? found_inf) -> ()");
}
NBIT_KERNELS(nbit, CPU, m) { m.impl("fused_adam_", onCpu); }

}  // namespace

void checkAdam(const AdamStep& s) {
  TORCH_CHECK_VALUE(!s.p.empty() && s.p[0].defined(), "expected p to be tensors. Received: none");
  const at::Tensor& first = s.p[0];
  checkSideBySide({{"p", s.p}, {"g", s.g}, {"m", s.m}, {"v", s.v}, {"state_steps", s.steps}});
  const auto number = [&](const at::Tensor& t, const char* what) {
    checks::strided(t, what, first);
    checks::type(t, what, at::kFloat);
    checks::count(t, what, 1);
    NBIT_EXPECT(!t.is_neg() && !t._is_zerotensor(), t, what, " with memory of its own");
  };
  for (size_t i = 0; i < s.p.size(); i++) {
    for (const auto& [list, what] :
         {std::pair{&s.p, "p"}, std::pair{&s.g, "g"}, std::pair{&s.m, "m"}, std::pair{&s.v, "v"}}) {
      TORCH_CHECK_VALUE(list->size() == s.p.size(), "expected ", s.p.size(), " tensors in ", what,
                        ". Received: ", list->size());
      const at::Tensor& t = (*list)[i];
      checks::strided(t, what, first);
      checks::floating(t, what, true);
      checks::shapeOf(t, what, s.p[i], "p");
      checks::type(t, what, first.scalar_type());
      NBIT_EXPECT(t.strides() == s.p[i].strides() && !t.is_conj() && !t.is_neg() && !t._is_zerotensor(), t, what,
                  " in the order of p");
    }
    TORCH_CHECK_VALUE(s.steps.size() == s.p.size(), "expected ", s.p.size(),
                      " tensors in state_steps. Received: ", s.steps.size());
    number(s.steps[i], "state_steps");
  }
  for (const auto& [t, what] : {std::pair{&s.lrTensor, "lr_tensor"}, std::pair{&s.gradScale, "grad_scale"},
                                std::pair{&s.foundInf, "found_inf"}})
    if (checks::given(*t)) number(**t, what);
}

void libtorchAdam(const AdamStep& s) {
  const auto run = [&](auto&& step, auto&& stepByTensor) {
    if (s.lrTensor && s.lrTensor->defined())
      stepByTensor(s.p, s.g, s.m, s.v, at::TensorList(), s.steps, *s.lrTensor, s.beta1, s.beta2, s.weightDecay, s.eps,
                   false, s.maximize, s.gradScale, s.foundInf);
    else
      step(s.p, s.g, s.m, s.v, at::TensorList(), s.steps, s.lr, s.beta1, s.beta2, s.weightDecay, s.eps, false,
           s.maximize, s.gradScale, s.foundInf);
  };
  if (s.decoupled) run(at::_ops::_fused_adamw_::call, at::_ops::_fused_adamw__tensor_lr::call);
  else run(at::_ops::_fused_adam_::call, at::_ops::_fused_adam__tensor_lr::call);
}

}  // namespace nbit
