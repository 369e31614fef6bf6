// Adam and AdamW over the tensors of a list in one launch, and the 16-bit casts of the parameters with it. The
// arithmetic is that of libtorch's fused kernels, operation by operation, so that the same compiler makes the same bits
// of it; older libtorches compute with constants in float64 (WIDE). The macros that it is compiled with:
// manifest/kernels.json.
#include "cuda/kernels/common.cuh"

#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < 4; k++)
#if WIDE
typedef double Constant;
#else
typedef float Constant;
#endif

struct Item {
  float *p, *g, *m, *v;
  const float* step;
  TC* cast;  // null: nobody keeps one
  i64 n;
  int first;    // block of the launch
  int aligned;  // to 16 bytes, the cast to 8, and n a multiple of 4
};
struct Items {
  Item item[ITEMS];
  int count;
};
struct Args {
  double lr, beta1, beta2, decay, eps;
  const float *lrAt, *scale, *foundInf;
  int maximize;
};
struct Constants {
  Constant lr, beta1, beta2, decay, eps;
  float correction1, root2, scale;
};
struct Values {
  float p, g, m, v;
};

__device__ __forceinline__ float squareRoot(float v) { return sqrtf(v); }
__device__ __forceinline__ double squareRoot(double v) { return sqrt(v); }
__device__ __forceinline__ float power(float a, float b) { return powf(a, b); }
__device__ __forceinline__ double power(double a, double b) { return pow(a, b); }

__device__ __forceinline__ void update(Values& x, const Constants& c, bool scaled, bool maximize) {
  if (scaled) x.g /= (Constant)c.scale;
  float g = maximize ? -x.g : x.g;
  if (c.decay != 0) {
#if DECOUPLED
    x.p -= c.lr * c.decay * x.p;
#else
    g += x.p * c.decay;
#endif
  }
#if WIDE
  x.m = c.beta1 * x.m + (1 - c.beta1) * g;
  x.v = c.beta2 * x.v + (1 - c.beta2) * g * g;
#else
  x.m = fmaf(c.beta1, x.m, fmaf(-c.beta1, g, g));
  x.v = fmaf(c.beta2, x.v, fmaf(-c.beta2, g * g, g * g));
#endif
  const float size = c.lr / c.correction1;
  const float denominator = (sqrtf(x.v) / c.root2) + c.eps;
  x.p -= size * x.m / denominator;
}

typedef Pack<float, 4> Four;
struct Fours {
  Four p, g, m, v;
};
__device__ __forceinline__ void fetch(Fours& to, const float* p, const float* g, const float* m, const float* v,
                                      int at) {
  to.p = *reinterpret_cast<const Four*>(p + at);
  to.g = *reinterpret_cast<const Four*>(g + at);
  to.m = *reinterpret_cast<const Four*>(m + at);
  to.v = *reinterpret_cast<const Four*>(v + at);
}

// A block has CHUNK elements of one tensor. Each thread reads its next four before it computes four, the first before
// it computes the factors of the step: three blocks of a processor, with registers for both, keep the memory busiest.
extern "C" __global__ void __launch_bounds__(256, 3)
    step(const __grid_constant__ Items items, const __grid_constant__ Args args) {
  if (args.foundInf && *args.foundInf == 1.f) return;
  int low = 0, high = items.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (items.item[middle].first <= (int)blockIdx.x) low = middle;
    else high = middle - 1;
  }
  const Item& item = items.item[low];
  const i64 from = (i64)(blockIdx.x - item.first) * CHUNK;
  const int n = (int)(item.n - from < CHUNK ? item.n - from : CHUNK);
  float *p = item.p + from, *g = item.g + from, *m = item.m + from, *v = item.v + from;
  TC* cast = item.cast ? item.cast + from : nullptr;
  Fours now, next;
  int i = threadIdx.x * 4;
  if (item.aligned && i < n) fetch(now, p, g, m, v, i);
  const Constant count = *item.step;
  const Constant first = 1 - power((Constant)args.beta1, count), second = 1 - power((Constant)args.beta2, count);
  const Constants c = {args.lrAt ? (Constant)*args.lrAt : (Constant)args.lr,
                       (Constant)args.beta1,
                       (Constant)args.beta2,
                       (Constant)args.decay,
                       (Constant)args.eps,
                       (float)first,
                       (float)squareRoot(second),
                       args.scale ? *args.scale : 1.f};
  const bool scaled = args.scale != nullptr, maximize = args.maximize != 0;
  if (!item.aligned) {
    for (i = threadIdx.x; i < n; i += 256) {
      Values x = {p[i], g[i], m[i], v[i]};
      update(x, c, scaled, maximize);
      p[i] = x.p;
      m[i] = x.m;
      v[i] = x.v;
      if (scaled) g[i] = x.g;
      if (cast) cast[i] = fromFloat<TC>(x.p);
    }
    return;
  }
#pragma unroll 2
  for (; i < n; i += 256 * 4) {
    if (i + 256 * 4 < n) fetch(next, p, g, m, v, i + 256 * 4);
    EACH_ELEMENT (k) {
      Values x = {now.p.v[k], now.g.v[k], now.m.v[k], now.v.v[k]};
      update(x, c, scaled, maximize);
      now.p.v[k] = x.p;
      now.g.v[k] = x.g;
      now.m.v[k] = x.m;
      now.v.v[k] = x.v;
    }
    *reinterpret_cast<Four*>(p + i) = now.p;
    *reinterpret_cast<Four*>(m + i) = now.m;
    *reinterpret_cast<Four*>(v + i) = now.v;
    if (scaled) *reinterpret_cast<Four*>(g + i) = now.g;
    if (cast) *reinterpret_cast<Pack<TC, 4>*>(cast + i) = packed<TC, 4>(now.p.v);
    now = next;
  }
}
