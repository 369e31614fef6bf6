// Gradients of queries, keys and values into one: the schema, and the plain form in ATen.
#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"
#include "fused/heads.h"

#include <ATen/ops/cat.h>

namespace nbit {

void checkHeads(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  for (const auto& [t, what] : {std::pair{&q, "q"}, std::pair{&k, "k"}, std::pair{&v, "v"}}) {
    checks::strided(*t, what, q);
    checks::floating(*t, what, true);
    NBIT_EXPECT(t->dim() == 4, *t, what, " [batch, heads, time, depth]");
    checks::shapeOf(*t, what, q, "q");
    checks::type(*t, what, q.scalar_type());
  }
}

namespace {

at::Tensor join(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool) {
  checkHeads(q, k, v);
  const auto rows = [&](const at::Tensor& t) { return t.transpose(1, 2).reshape({t.size(0), t.size(2), -1}); };
  return at::cat({rows(q), rows(k), rows(v)}, 2);
}

NBIT_OPERATORS(m) {
  // [B, H, T, D] each → [B, T, 3 · H · D]. keep_sums: on a GPU, keep what its columns sum to for the linear layer whose
  // bias wants it (takes_column_sums).
  m.def("join_heads(Tensor q, Tensor k, Tensor v, bool keep_sums) -> Tensor");
}
NBIT_KERNELS(nbit, CPU, m) { m.impl("join_heads", join); }

}  // namespace
}  // namespace nbit
