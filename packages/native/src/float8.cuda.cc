// Casts to float8 for training: one kernel reads a matrix once, scales, clamps, rounds, and writes it row-major, transposed, or both. The three products of a linear layer want
// each factor in another layout, and a transpose of its own would cost as much memory traffic as the cast.
#include "checks.h"
#include "core.h"
#include "library.h"
#include "nvrtc.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {
namespace {

// kernels: cast
// variant: -DINPUT=0 -DE5M2=0 -DROWS=1 -DCOLUMNS=1 -DWHOLE=1
// variant: -DINPUT=1 -DE5M2=0 -DROWS=1 -DCOLUMNS=1 -DWHOLE=1
// variant: -DINPUT=1 -DE5M2=1 -DROWS=0 -DCOLUMNS=1 -DWHOLE=1
// variant: -DINPUT=2 -DE5M2=1 -DROWS=1 -DCOLUMNS=0 -DWHOLE=1
// variant: -DINPUT=1 -DE5M2=0 -DROWS=1 -DCOLUMNS=1 -DWHOLE=0
// variant: -DINPUT=0 -DE5M2=0 -DROWS=0 -DCOLUMNS=1 -DWHOLE=0
// variant: -DINPUT=2 -DE5M2=0 -DROWS=1 -DCOLUMNS=0 -DWHOLE=0
// Tiles of 128 × 128. A thread converts 4 × 4 values: its rows leave as they are, its columns go through shared memory, whose words are permuted so that neither
// writing nor reading it meets a bank twice.
const char* kSource = R"cuda(
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
#if INPUT == 0
struct alignas(16) Four { float v[4]; };
__device__ __forceinline__ float toFloat(float v) { return v; }
#else
struct alignas(8) Four { u16 v[4]; };
__device__ __forceinline__ float toFloat(u16 v) {
#if INPUT == 1
  return __uint_as_float(((u32)v) << 16);
#else
  float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v)); return f;
#endif
}
#endif
#if E5M2
#define CVT "cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;"
#define LARGEST 57344.f
#else
#define CVT "cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;"
#define LARGEST 448.f
#endif
__device__ __forceinline__ u32 pack(const float* f) {
#if __CUDA_ARCH__ >= 890
  u16 low, high;
  asm(CVT : "=h"(low) : "f"(f[1]), "f"(f[0]));
  asm(CVT : "=h"(high) : "f"(f[3]), "f"(f[2]));
  return (u32)low | ((u32)high << 16);
#else
  __trap();  // older devices have no such conversion, and are never given this kernel
  return 0;
#endif
}
// What is not finite becomes NaN: a saturating conversion alone would make the largest code of an infinity.
__device__ __forceinline__ float scaled(float x, float s) { return fabsf(x) <= 3.402823466e38f ? x * s : __uint_as_float(0x7fc00000u); }
__device__ __forceinline__ float bounded(float amax) { return amax < 1e-12f ? 1e-12f : amax; }  // NaN stays

extern "C" __global__ void __launch_bounds__(256) cast(const Four* x, const float* amaxRows, const float* amaxColumns, u32* rows, u32* columns, float* rowInverse, float* columnInverse, i64 m, i64 k) {
  const i64 across = (k + 127) / 128;
  const i64 r0 = (blockIdx.x / across) * 128, c0 = (blockIdx.x % across) * 128;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const i64 c = c0 + lane * 4;
#if COLUMNS
  __shared__ u32 tile[128 * 32];
#endif
#if WHOLE
  const float amax = bounded(*amaxRows), scale = LARGEST / amax;
  if (blockIdx.x == 0 && threadIdx.x == 0) *rowInverse = amax / LARGEST;
#else
  const i64 t = threadIdx.x;
#if ROWS
  if (c0 == 0 && t < 128 && r0 + t < m) rowInverse[r0 + t] = bounded(amaxRows[r0 + t]) / LARGEST;
#endif
#if COLUMNS
  if (r0 == 0 && t < 128 && c0 + t < k) columnInverse[c0 + t] = bounded(amaxColumns[c0 + t]) / LARGEST;
  float columnScale[4];
  for (int j = 0; j < 4; j++) columnScale[j] = c < k ? LARGEST / bounded(amaxColumns[c + j]) : 0.f;
#endif
#endif
#pragma unroll 2
  for (int group = warp; group < 32; group += 8) {
    const i64 r = r0 + group * 4;
    if (r >= m || c >= k) continue;
    u32 v[4];
    Four in[4];
#pragma unroll
    for (int i = 0; i < 4; i++) in[i] = x[((r + i) * k + c) / 4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float f[4];
#if WHOLE
#pragma unroll
      for (int j = 0; j < 4; j++) f[j] = scaled(toFloat(in[i].v[j]), scale);
      v[i] = pack(f);
#if ROWS
      rows[((r + i) * k + c) / 4] = v[i];
#endif
#else
#if ROWS
      const float rowScale = LARGEST / bounded(amaxRows[r + i]);
#pragma unroll
      for (int j = 0; j < 4; j++) f[j] = scaled(toFloat(in[i].v[j]), rowScale);
      rows[((r + i) * k + c) / 4] = pack(f);
#endif
#if COLUMNS
#pragma unroll
      for (int j = 0; j < 4; j++) f[j] = scaled(toFloat(in[i].v[j]), columnScale[j]);
      v[i] = pack(f);
#endif
#endif
    }
#if COLUMNS
    const u32 a = __byte_perm(v[0], v[1], 0x5140), b = __byte_perm(v[2], v[3], 0x5140);
    const u32 e = __byte_perm(v[0], v[1], 0x7362), f = __byte_perm(v[2], v[3], 0x7362);
    u32* to = tile + lane * 128 + (group ^ lane);
    to[0] = __byte_perm(a, b, 0x5410);
    to[32] = __byte_perm(a, b, 0x7632);
    to[64] = __byte_perm(e, f, 0x5410);
    to[96] = __byte_perm(e, f, 0x7632);
#endif
  }
#if COLUMNS
  __syncthreads();
  const i64 r = r0 + lane * 4;
  for (int column = warp; column < 128; column += 8)
    if (c0 + column < k && r < m) columns[((c0 + column) * m + r) / 4] = tile[column * 32 + (lane ^ (column >> 2))];
#endif
}
)cuda";

const char* inputName(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return "-DINPUT=0";
    case at::kBFloat16: return "-DINPUT=1";
    case at::kHalf: return "-DINPUT=2";
    default: return nullptr;
  }
}

const void* amaxData(const checks::Maybe& amax, int64_t n, const at::Tensor& x, const char* what) {
  TORCH_CHECK_VALUE(checks::given(amax), "expected ", what, ". Received: none");
  checks::contiguous(*amax, what, x);
  checks::type(*amax, what, at::kFloat);
  checks::count(*amax, what, n);
  return amax->const_data_ptr();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> cast(const at::Tensor& x, const std::optional<at::Tensor>& amaxRows, const std::optional<at::Tensor>& amaxColumns, bool e5m2, bool rows, bool columns) {
  checks::contiguous(x, "x", x);
  checks::floating(x, "x", false);
  NBIT_EXPECT(x.dim() == 2 && x.size(0) % 4 == 0 && x.size(1) % 4 == 0, x, "x to be a matrix whose sides are multiples of 4");
  NBIT_EXPECT(reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0, x, "x aligned to 16 bytes");
  const char* input = inputName(x.scalar_type());
  NBIT_EXPECT(x.is_cuda(), x, "x on a GPU, as other arguments");
  const c10::cuda::CUDAGuard guard(x.device());
  int64_t m = x.size(0), k = x.size(1);
  const bool whole = amaxRows.has_value() && amaxRows->defined() && amaxRows->dim() == 0;
  const void* byRow = whole ? amaxData(amaxRows, 1, x, "amax") : rows ? amaxData(amaxRows, m, x, "amax of the rows") : nullptr;
  const void* byColumn = !whole && columns ? amaxData(amaxColumns, k, x, "amax of the columns") : nullptr;
  const auto codes = x.options().dtype(e5m2 ? at::kFloat8_e5m2 : at::kFloat8_e4m3fn);
  const auto numbers = x.options().dtype(at::kFloat);
  at::Tensor q = rows ? at::empty({m, k}, codes) : at::empty({0}, codes), qt = columns ? at::empty({k, m}, codes) : at::empty({0}, codes);
  at::Tensor rowInverse = whole ? at::empty({}, numbers) : rows ? at::empty({m, 1}, numbers) : at::empty({0}, numbers);
  at::Tensor columnInverse = !whole && columns ? at::empty({k, 1}, numbers) : at::empty({0}, numbers);
  if (m == 0 || k == 0 || (!rows && !columns)) return {q, qt, rowInverse, columnInverse};
  nvrtc::Kernel& kernel = nvrtc::get("float8", kSource, "cast", {input, e5m2 ? "-DE5M2=1" : "-DE5M2=0", rows ? "-DROWS=1" : "-DROWS=0", columns ? "-DCOLUMNS=1" : "-DCOLUMNS=0", whole ? "-DWHOLE=1" : "-DWHOLE=0"});
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
  m.def("float8_cast(Tensor x, Tensor? amax_rows, Tensor? amax_columns, bool e5m2, bool rows, bool columns) -> (Tensor rows_, Tensor columns_, Tensor row_inverse, Tensor column_inverse)");
}
NBIT_KERNELS(nbit, CUDA, m) {
  m.impl("float8_cast", cast);
}

}  // namespace
}  // namespace nbit
