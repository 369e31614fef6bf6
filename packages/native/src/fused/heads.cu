// Gradients of heads side by side: of queries, keys and values as attention leaves them ([B, H, T, D] each, in any
// order but D's) into one matrix [B · T, 3 · H · D], and what its columns sum to. The macros that it is compiled with:
// manifest/kernels.json.
#include "cuda/kernels/common.cuh"

#define WIDTH (3 * HEADS * DEPTH)
#define PACKS (WIDTH / VEC)
#define TILES ((PACKS + 31) / 32)
#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < VEC; k++)

struct Part {
  const TX* data;
  i64 batch, head, time;  // elements from one to the next
};
struct Parts {
  Part part[3];
};

// As columnSums' first kernel: a block has 32 packs of columns and every (8 · chunks)-th row. partial: [chunks][WIDTH],
// or null.
extern "C" __global__ void __launch_bounds__(256)
    join(const __grid_constant__ Parts parts, TX* out, float* partial, int rows, int times, int chunks) {
  constexpr int AHEAD = 4;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int pack = (int)(blockIdx.x % TILES) * 32 + lane, chunk = blockIdx.x / TILES;
  float sum[VEC];
  EACH_ELEMENT (k) sum[k] = 0.f;
  if (pack < PACKS) {
    const int column = pack * VEC, within = column % (HEADS * DEPTH);
    const Part& part = parts.part[column / (HEADS * DEPTH)];
    const TX* from = part.data + (within / DEPTH) * part.head + within % DEPTH;
    const int step = chunks * 8;
    for (int row = chunk * 8 + warp; row < rows; row += step * AHEAD) {
      Pack<TX, VEC> a[AHEAD];
#pragma unroll
      for (int r = 0; r < AHEAD; r++)
        if (const int at = row + r * step; at < rows)
          a[r] = *reinterpret_cast<const Pack<TX, VEC>*>(from + (at / times) * part.batch + (at % times) * part.time);
#pragma unroll
      for (int r = 0; r < AHEAD; r++)
        if (const int at = row + r * step; at < rows) {
          float v[VEC];
          unpack(a[r], v);
          EACH_ELEMENT (k) sum[k] += v[k];
          reinterpret_cast<Pack<TX, VEC>*>(out)[(i64)at * PACKS + pack] = a[r];
        }
    }
  }
  if (partial) leaveColumnSums<WIDTH, VEC>(sum, partial, (int)(blockIdx.x % TILES), chunk);
}

// 1024 threads: 32 columns.
extern "C" __global__ void __launch_bounds__(1024) total(const float* partial, float* out, int chunks) {
  const float s = columnTotal<WIDTH>(partial, chunks);
  const int mine = blockIdx.x * 32 + (threadIdx.x >> 5);
  if ((threadIdx.x & 31) == 0 && mine < WIDTH) out[mine] = s;
}
