// Sums of the columns of [rows, COLUMNS]: each block's share of the rows, then the blocks'. In float32 and in a fixed
// order. The macros that it is compiled with: manifest/kernels.json.
#include "cuda/kernels/common.cuh"

#define PACKS (COLUMNS / VEC)
#define TILES ((PACKS + 31) / 32)
#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < VEC; k++)

// A block has 32 packs of columns, each warp every (8 · chunks)-th row. partial: [chunks][COLUMNS].
extern "C" __global__ void __launch_bounds__(256) share(const TX* x, float* partial, i64 rows, int chunks) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int pack = (int)(blockIdx.x % TILES) * 32 + lane, chunk = blockIdx.x / TILES;
  float sum[VEC];
  EACH_ELEMENT (k) sum[k] = 0.f;
  if (pack < PACKS) {
    const auto* packs = reinterpret_cast<const Pack<TX, VEC>*>(x) + pack;
#pragma unroll 4
    for (i64 row = (i64)chunk * 8 + warp; row < rows; row += (i64)chunks * 8) {
      float v[VEC];
      unpack(packs[row * PACKS], v);
      EACH_ELEMENT (k) sum[k] += v[k];
    }
  }
  leaveColumnSums<COLUMNS, VEC>(sum, partial, (int)(blockIdx.x % TILES), chunk);
}

// 1024 threads: 32 columns.
extern "C" __global__ void __launch_bounds__(1024) total(const float* partial, float* out, int chunks) {
  const float s = columnTotal<COLUMNS>(partial, chunks);
  const int mine = blockIdx.x * 32 + (threadIdx.x >> 5);
  if ((threadIdx.x & 31) == 0 && mine < COLUMNS) out[mine] = s;
}
