// Casts to float8 for training: one kernel reads a matrix once, scales, clamps, rounds, and writes it row-major,
// transposed, or both. The three products of a linear layer want each factor in another layout, and a transpose of its
// own would cost as much memory traffic as the cast.
#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"
#include "cuda/kernel_options.h"
#include "cuda/nvrtc.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {
namespace {

const void* amaxData(const checks::Maybe& amax, int64_t n, const at::Tensor& x, const char* what) {
  TORCH_CHECK_VALUE(checks::given(amax), "expected ", what, ". Received: none");
  checks::contiguous(*amax, what, x);
  checks::type(*amax, what, at::kFloat);
  checks::count(*amax, what, n);
  return amax->const_data_ptr();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> cast(const at::Tensor& x,
                                                                const std::optional<at::Tensor>& amaxRows,
                                                                const std::optional<at::Tensor>& amaxColumns, bool e5m2,
                                                                bool rows, bool columns) {
  checks::contiguous(x, "x", x);
  checks::floating(x, "x", false);
  NBIT_EXPECT(x.dim() == 2 && x.size(0) % 4 == 0 && x.size(1) % 4 == 0, x,
              "x to be a matrix whose sides are multiples of 4");
  NBIT_EXPECT(reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0, x, "x aligned to 16 bytes");
  NBIT_EXPECT(x.is_cuda(), x, "x on a GPU, as other arguments");
  const c10::cuda::CUDAGuard guard(x.device());
  int64_t m = x.size(0), k = x.size(1);
  const bool whole = amaxRows.has_value() && amaxRows->defined() && amaxRows->dim() == 0;
  const void* byRow = whole  ? amaxData(amaxRows, 1, x, "amax")
                      : rows ? amaxData(amaxRows, m, x, "amax of the rows")
                             : nullptr;
  const void* byColumn = !whole && columns ? amaxData(amaxColumns, k, x, "amax of the columns") : nullptr;
  const auto codes = x.options().dtype(e5m2 ? at::kFloat8_e5m2 : at::kFloat8_e4m3fn);
  const auto numbers = x.options().dtype(at::kFloat);
  at::Tensor q = rows ? at::empty({m, k}, codes) : at::empty({0}, codes),
             qt = columns ? at::empty({k, m}, codes) : at::empty({0}, codes);
  at::Tensor rowInverse = whole ? at::empty({}, numbers) : rows ? at::empty({m, 1}, numbers) : at::empty({0}, numbers);
  at::Tensor columnInverse = !whole && columns ? at::empty({k, 1}, numbers) : at::empty({0}, numbers);
  if (m == 0 || k == 0 || (!rows && !columns)) return {q, qt, rowInverse, columnInverse};
  nvrtc::Kernel& kernel = nvrtc::get(kernels::float8Cast, "cast",
                                     {define("TX", kernelType(x.scalar_type())), define("E5M2", e5m2),
                                      define("ROWS", rows), define("COLUMNS", columns), define("WHOLE", whole)});
  const void* in = x.const_data_ptr();
  void* out = q.mutable_data_ptr();
  void* transposed = qt.mutable_data_ptr();
  void* inverse = rowInverse.mutable_data_ptr();
  void* inverseColumns = columnInverse.mutable_data_ptr();
  void* arguments[] = {&in, &byRow, &byColumn, &out, &transposed, &inverse, &inverseColumns, &m, &k};
  const int64_t blocks = ((m + 127) / 128) * ((k + 127) / 128);
  TORCH_CHECK_VALUE(blocks <= 0x7fffffff, "expected a matrix of at most 2^31 tiles of 128 by 128");
  nvrtc::launch(kernel, static_cast<unsigned>(blocks), 256, arguments);
  return {q, qt, rowInverse, columnInverse};
}

NBIT_OPERATORS(m) {
  m.def(
      "float8_cast(Tensor x, Tensor? amax_rows, Tensor? amax_columns, bool e5m2, bool rows, bool columns) -> (Tensor "
      "rows_, Tensor columns_, Tensor row_inverse, Tensor column_inverse)");
}
NBIT_KERNELS(nbit, CUDA, m) { m.impl("float8_cast", cast); }

}  // namespace
}  // namespace nbit
