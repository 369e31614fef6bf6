// Low-bit optimizer state on the GPU: quantization, and one pass over each block of state that reads codes, updates in
// float32 and writes codes. The arithmetic is that of the CPU's kernels (lowbit/cpu/families.inc). The macros that it
// is compiled with: manifest/kernels.json.
#include "cuda/kernels/common.cuh"
#include "lowbit_families.h"

using namespace nbit::lowbit;

static_assert(FAMILY >= 0 && FAMILY < kFamilies, "FAMILY is none of manifest/lowbit.json");
constexpr int STATES = kStateCount[FAMILY];

#define ITER ((BLOCK + VEC * TEAM - 1) / (VEC * TEAM))
#define HELD (ITER * VEC)
#define TEAMS (256 / TEAM)
#define LARGEST 3.402823466e38f
#define LARGEST_FLOAT8 448.f
// Elements of a block that a thread holds: i-th access, from element c of the block.
#define EACH_ACCESS(i, c) \
  _Pragma("unroll") for (int i = 0; i < ITER; i++) if (const int c = (i * TEAM + t) * VEC; c < count)
#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < VEC; k++)

template <class T>
__device__ __forceinline__ void load(const T* data, i64 from, int count, int t, float* out) {
  EACH_ACCESS (i, c) {
    if (ALIGNED && c + VEC <= count) {
      const auto a = *reinterpret_cast<const Pack<T, VEC>*>(data + from + c);
      EACH_ELEMENT (k) out[i * VEC + k] = toFloat(a.v[k]);
    } else {
      EACH_ELEMENT (k)
        if (c + k < count) out[i * VEC + k] = toFloat(data[from + c + k]);
    }
  }
}
template <class T>
__device__ __forceinline__ void store(T* data, i64 from, int count, int t, const float* in) {
  EACH_ACCESS (i, c) {
    if (ALIGNED && c + VEC <= count) {
      Pack<T, VEC> a;
      EACH_ELEMENT (k) a.v[k] = fromFloat<T>(in[i * VEC + k]);
      *reinterpret_cast<Pack<T, VEC>*>(data + from + c) = a;
    } else {
      EACH_ELEMENT (k)
        if (c + k < count) data[from + c + k] = fromFloat<T>(in[i * VEC + k]);
    }
  }
}

// ---- the nearest value of a map
// Bins of equal width in the float's exponent and four bits of its mantissa, from 2^-23 to 1, in the order of the
// values that they hold: negative first. A bin says how many midpoints lie below it; what lies between this bin's
// number and the next one's is searched.
#define HALF_BINS 370
#define BINS (2 * HALF_BINS)
#define BASE ((127 - 23) << 4)
template <int SIZE>
struct Codebook {
  float value[SIZE];
  float midpoint[SIZE];
  u8 start[BINS + 4];
};

__device__ __forceinline__ int binOf(float v) {
  const u32 bits = __float_as_uint(v);
  const int magnitude = min(max((int)((bits & 0x7fffffffu) >> 19) - BASE + 1, 0), HALF_BINS - 1);
  return v < 0.f ? HALF_BINS - 1 - magnitude : HALF_BINS + magnitude;
}
// How many of the midpoints from lo on, below hi, are under v.
template <int SIZE>
__device__ __forceinline__ int search(const Codebook<SIZE>& codebook, float v, int lo, int hi) {
  while (lo < hi) {
    const int m = (lo + hi) >> 1;
    if (v > codebook.midpoint[m]) lo = m + 1;
    else hi = m;
  }
  return lo;
}
template <int SIZE>
__device__ __forceinline__ void fill(Codebook<SIZE>& codebook, const float* map) {
  for (int i = threadIdx.x; i < SIZE; i += 256) {
    codebook.value[i] = map[i];
    codebook.midpoint[i] = i + 1 < SIZE ? (map[i] + map[i + 1]) * 0.5f : INFINITY;
  }
  __syncthreads();
  for (int b = threadIdx.x; b <= BINS; b += 256) {
    int start = 0;
    if (b == BINS) start = SIZE - 1;
    else if (b > 0) {
      // The lower end of the bin, in value: of a negative one the end with the larger magnitude.
      const int magnitude = b >= HALF_BINS ? b - HALF_BINS : HALF_BINS - b;
      const float end = magnitude == 0 ? 0.f : __uint_as_float((u32)(magnitude - 1 + BASE) << 19);
      start = search(codebook, b >= HALF_BINS ? end : -end, 0, SIZE - 1);
    }
    codebook.start[b] = (u8)start;
  }
}
template <int SIZE>
__device__ __forceinline__ u32 nearest(const Codebook<SIZE>& codebook, float v) {
  const int bin = binOf(v);
  return (u32)search(codebook, v, codebook.start[bin], codebook.start[bin + 1]);
}

// ---- float8 e4m3, without infinities
__device__ __forceinline__ float fromFloat8(u32 code) {
  const u32 exponent = (code >> 3) & 15u, mantissa = code & 7u;
  const float magnitude =
      exponent == 0 ? (float)mantissa * 0.001953125f : __uint_as_float(((exponent + 120u) << 23) | (mantissa << 20));
  return code & 0x80u ? -magnitude : magnitude;
}
__device__ __forceinline__ u32 toFloat8(float v) {
  const u32 bits = __float_as_uint(v), a = bits & 0x7fffffffu, sign = (bits >> 24) & 0x80u;
  // Adding 2^14 makes the last bit worth 2^-9, the smallest denormal.
  const u32 code = a < (121u << 23) ? __float_as_uint(__uint_as_float(a) + 16384.f) - 0x46800000u
                                    : ((a + 0x7ffffu + ((a >> 20) & 1u)) >> 20) - (120u << 3);
  return code | sign;
}

// ---- one state of a block
__host__ __device__ constexpr bool hasCodebook(int codec) { return codec == kUint8 || codec == kUint4; }
template <int CODEC, int SIZE, bool KEEP_POSITIVE>
struct State {
  void* data;
  float* absmax;

  __device__ __forceinline__ void read(const Codebook<SIZE>& codebook, i64 b, int count, int t, float* out) const {
    const i64 from = b * BLOCK;
    if (CODEC == kFloat32) return load(static_cast<const float*>(data), from, count, t, out);
    const float scale = CODEC == kFloat8 ? absmax[b] / LARGEST_FLOAT8 : absmax[b];
    const u8* bytes = static_cast<const u8*>(data) + (CODEC == kUint4 ? from / 2 : from);
    EACH_ACCESS (i, c) {
      if (CODEC == kUint4) {
#pragma unroll
        for (int k = 0; k < VEC; k += 2) {
          if (c + k >= count) continue;
          const u32 pair = bytes[(c + k) / 2];
          out[i * VEC + k] = codebook.value[pair & 15u] * scale;
          if (VEC > 1 && c + k + 1 < count) out[i * VEC + k + (VEC > 1)] = codebook.value[pair >> 4] * scale;
        }
      } else if (ALIGNED && c + VEC <= count) {
        const auto a = *reinterpret_cast<const Pack<u8, VEC>*>(bytes + c);
        EACH_ELEMENT (k)
          out[i * VEC + k] =
              (CODEC == kFloat8 ? fromFloat8(a.v[k]) : codebook.value[CODEC == kFloat8 ? 0 : a.v[k]]) * scale;
      } else {
        EACH_ELEMENT (k)
          if (c + k < count)
            out[i * VEC + k] =
                (CODEC == kFloat8 ? fromFloat8(bytes[c + k]) : codebook.value[CODEC == kFloat8 ? 0 : bytes[c + k]]) *
                scale;
      }
    }
  }

  __device__ __forceinline__ u32 encode(const Codebook<SIZE>& codebook, float x, float divisor) const {
    float v = x / divisor;
    v = v != v ? 0.f : v;
    const u32 code = CODEC == kFloat8 ? toFloat8(fminf(fmaxf(v, -1.f), 1.f) * LARGEST_FLOAT8) : nearest(codebook, v);
    // Where the lowest code stands for more than 0 already, it is kept. A state in float8 has no codebook.
    return KEEP_POSITIVE && (CODEC == kFloat8 || codebook.value[0] == 0.f) && x > 0.f && code == 0 ? 1u : code;
  }

  __device__ __forceinline__ void write(const Codebook<SIZE>& codebook, i64 b, int count, int t,
                                        const float* in) const {
    const i64 from = b * BLOCK;
    if (CODEC == kFloat32) return store(static_cast<float*>(data), from, count, t, in);
    float blockAbsmax = 0.f;
    EACH_ACCESS (i, c)
      EACH_ELEMENT (k)
        if (c + k < count) {
          const float a = fabsf(in[i * VEC + k]);
          if (a > blockAbsmax && a <= LARGEST) blockAbsmax = a;
        }
    blockAbsmax = warpMax(blockAbsmax);
#if TEAM > 32
    __shared__ float parts[8];
    __syncthreads();
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = blockAbsmax;
    __syncthreads();
#pragma unroll
    for (int w = 0; w < 8; w++) blockAbsmax = fmaxf(blockAbsmax, parts[w]);
#endif
    if (t == 0) absmax[b] = blockAbsmax;
    const float divisor = blockAbsmax > 0.f ? blockAbsmax : 1.f;
    u8* bytes = static_cast<u8*>(data) + (CODEC == kUint4 ? from / 2 : from);
    EACH_ACCESS (i, c) {
      if (CODEC == kUint4) {
#pragma unroll
        for (int k = 0; k < VEC; k += 2) {
          if (c + k >= count) continue;
          const u32 low = encode(codebook, in[i * VEC + k], divisor);
          const u32 high = VEC > 1 && c + k + 1 < count ? encode(codebook, in[i * VEC + k + (VEC > 1)], divisor) : 0u;
          bytes[(c + k) / 2] = (u8)(low | (high << 4));
        }
      } else if (ALIGNED && c + VEC <= count) {
        Pack<u8, VEC> a;
        EACH_ELEMENT (k) a.v[k] = (u8)encode(codebook, in[i * VEC + k], divisor);
        *reinterpret_cast<Pack<u8, VEC>*>(bytes + c) = a;
      } else {
        EACH_ELEMENT (k)
          if (c + k < count) bytes[c + k] = (u8)encode(codebook, in[i * VEC + k], divisor);
      }
    }
  }
};
typedef State<CODEC0, SIZE0, KEEP_POSITIVE0> State0;
typedef State<CODEC1, SIZE1, KEEP_POSITIVE1> State1;
typedef State<CODEC2, SIZE2, KEEP_POSITIVE2> State2;

// Every block of state once, in turn.
#define EACH_BLOCK(b)                         \
  const int t = threadIdx.x % TEAM;           \
  const i64 blocks = (n + BLOCK - 1) / BLOCK; \
  for (i64 b = (i64)blockIdx.x * TEAMS + threadIdx.x / TEAM; b < blocks; b += (i64)gridDim.x * TEAMS)
#define COUNT (int)(n - b * BLOCK < BLOCK ? n - b * BLOCK : BLOCK)

extern "C" __global__ void __launch_bounds__(256)
    quantize(const TP* x, void* codes, float* absmax, const float* map, i64 n) {
  __shared__ Codebook<SIZE0> codebook;
  if (map) fill(codebook, map);
  __syncthreads();
  const State0 state{codes, absmax};
  EACH_BLOCK (b) {
    const int count = COUNT;
    float v[HELD];
    load(x, b * BLOCK, count, t, v);
    state.write(codebook, b, count, t, v);
  }
}
extern "C" __global__ void __launch_bounds__(256)
    dequantize(void* codes, float* absmax, const float* map, float* out, i64 n) {
  __shared__ Codebook<SIZE0> codebook;
  for (int i = threadIdx.x; map && i < SIZE0; i += 256) codebook.value[i] = map[i];
  __syncthreads();
  const State0 state{codes, absmax};
  EACH_BLOCK (b) {
    const int count = COUNT;
    float v[HELD];
    state.read(codebook, b, count, t, v);
    store(out, b * BLOCK, count, t, v);
  }
}

// ---- families
struct StepArgs {
  double lr, beta1, beta2;
  float beta3, alpha, eps, weightDecay, step, trustCoefficient, maxUnorm;
  int nesterov;
};
// Numbers that a recorded graph must read anew at each replay come from memory; null: the number in StepArgs.
struct StepPointers {
  const float* lr;
  const float* step;  // null where each tensor has its own (Item)
  const float* gradScale;
  const float* foundInf;
  const float* trust;
};
struct Hyper {
  float lr, beta1, beta2, beta3, oneMinusBeta1, oneMinusBeta2, oneMinusBeta3, alpha, eps, weightDecay, decayFactor,
      stepSize, inverseCorrection1, inverseRootCorrection2, trust;
  bool first, nesterov;
};

// By one thread, for those that share h.
__device__ __forceinline__ void prepare(Hyper& h, const StepArgs& a, const StepPointers& p, float number, bool mine) {
  if (mine) {
    const double lr = p.lr ? (double)*p.lr : a.lr, step = (double)number;
    h.lr = (float)lr;
    h.beta1 = (float)a.beta1;
    h.beta2 = (float)a.beta2;
    h.beta3 = a.beta3;
    h.oneMinusBeta1 = 1.f - h.beta1;
    h.oneMinusBeta2 = 1.f - h.beta2;
    h.oneMinusBeta3 = 1.f - h.beta3;
    h.alpha = a.alpha;
    h.eps = a.eps;
    h.weightDecay = a.weightDecay;
    h.decayFactor = 1.f - h.lr * h.weightDecay;
    const double c1 = 1.0 - pow(a.beta1, step), c2 = 1.0 - pow(a.beta2, step);
    h.stepSize = (float)(lr / c1);
    h.inverseCorrection1 = (float)(1.0 / c1);
    h.inverseRootCorrection2 = (float)(1.0 / sqrt(c2));
    h.trust = p.trust ? *p.trust : 1.f;
    h.first = step == 1.0;
    h.nesterov = a.nesterov != 0;
  }
}
__device__ __forceinline__ float momentum(float grad, float& b, const Hyper& h) {
  b = h.first ? grad : fmaf(h.beta1, b, grad);
  return h.nesterov ? fmaf(h.beta1, b, grad) : b;
}
__device__ __forceinline__ void moments(float grad, float& m, float& v, const Hyper& h) {
  m = fmaf(h.beta1, m, h.oneMinusBeta1 * grad);
  v = fmaf(h.beta2, v, h.oneMinusBeta2 * grad * grad);
}
__device__ __forceinline__ float denominator(float v, const Hyper& h) {
  return fmaf(sqrtf(v), h.inverseRootCorrection2, h.eps);
}
// What LAMB and LARS compare with the parameter's size; moves the states.
__device__ __forceinline__ float direction(float p, float g, float* s, const Hyper& h) {
  if constexpr (FAMILY == kLamb) {
    moments(g, s[0], s[1], h);
    return fmaf(h.weightDecay, p, s[0] * h.inverseCorrection1 / denominator(s[1], h));
  } else {
    return fmaf(h.weightDecay, p, g);
  }
}
// The new parameter; moves the states.
__device__ __forceinline__ float advance(float p, float g, float* s, const Hyper& h) {
  if constexpr (FAMILY == kMomentum) {
    return p - h.lr * momentum(fmaf(h.weightDecay, p, g), s[0], h);
  } else if constexpr (FAMILY == kLion) {
    const float d = fmaf(h.beta1, s[0], h.oneMinusBeta1 * g);
    s[0] = fmaf(h.beta2, s[0], h.oneMinusBeta2 * g);
    return p * h.decayFactor - h.lr * (d > 0.f ? 1.f : d < 0.f ? -1.f : 0.f);
  } else if constexpr (FAMILY == kRmsprop || FAMILY == kAdagrad) {
    const float grad = fmaf(h.weightDecay, p, g);
    s[0] = FAMILY == kRmsprop ? fmaf(h.beta1, s[0], h.oneMinusBeta1 * grad * grad) : fmaf(grad, grad, s[0]);
    return p - h.lr * grad / (sqrtf(s[0]) + h.eps);
  } else if constexpr (FAMILY == kAdam) {
    moments(fmaf(h.weightDecay, p, g), s[0], s[1], h);
    return p - h.stepSize * s[0] / denominator(s[1], h);
  } else if constexpr (FAMILY == kAdamW) {
    moments(g, s[0], s[1], h);
    return p * h.decayFactor - h.stepSize * s[0] / denominator(s[1], h);
  } else if constexpr (FAMILY == kLamb) {
    return p - h.lr * (h.trust * direction(p, g, s, h));
  } else if constexpr (FAMILY == kLars) {
    return p - h.lr * momentum(h.trust * direction(p, g, s, h), s[0], h);
  } else {  // kAdemamix
    moments(g, s[0], s[2], h);
    s[1] = fmaf(h.beta3, s[1], h.oneMinusBeta3 * g);
    return p * h.decayFactor - h.lr * ((s[0] * h.inverseCorrection1 + h.alpha * s[1]) / denominator(s[2], h));
  }
}
__device__ __forceinline__ bool isFinite(float v) { return fabsf(v) <= LARGEST; }

struct Maps {
  const float* map[3];
};
struct States {
  void* data[3];
  float* absmax[3];
  Maps maps;
};
#define OPEN_STATES                                                      \
  __shared__ Codebook<SIZE0> codebook0;                                  \
  __shared__ Codebook<SIZE1> codebook1;                                  \
  __shared__ Codebook<SIZE2> codebook2;                                  \
  __shared__ Hyper h;                                                    \
  if (pointers.foundInf && *pointers.foundInf != 0.f) return;            \
  prepare(h, args, pointers, *pointers.step, threadIdx.x == 0);          \
  if (hasCodebook(CODEC0)) fill(codebook0, s.maps.map[0]);               \
  if (STATES > 1 && hasCodebook(CODEC1)) fill(codebook1, s.maps.map[1]); \
  if (STATES > 2 && hasCodebook(CODEC2)) fill(codebook2, s.maps.map[2]); \
  __syncthreads();                                                       \
  const State0 s0{s.data[0], s.absmax[0]};                               \
  const State1 s1{s.data[1], s.absmax[1]};                               \
  const State2 s2{s.data[2], s.absmax[2]};                               \
  const float unscale = pointers.gradScale ? *pointers.gradScale : 1.f;
#define READ_BLOCK                                                                          \
  float pv[HELD], gv[HELD], v0[HELD], v1[STATES > 1 ? HELD : 1], v2[STATES > 2 ? HELD : 1]; \
  load(p, b* BLOCK, count, t, pv);                                                          \
  load(g, b* BLOCK, count, t, gv);                                                          \
  s0.read(codebook0, b, count, t, v0);                                                      \
  if (STATES > 1) s1.read(codebook1, b, count, t, v1);                                      \
  if (STATES > 2) s2.read(codebook2, b, count, t, v2);

// Sums of squares of parameter and direction, for layerwise ratios: sums[gridDim][2]. A gradient that is not finite
// counts as zero.
extern "C" __global__ void __launch_bounds__(256)
    norms(const TP* p, const TG* g, States s, double* sums, i64 n, StepArgs args, StepPointers pointers) {
  __shared__ double parts[8][2];
  OPEN_STATES
  double a = 0, u = 0;
  EACH_BLOCK (b) {
    const int count = COUNT;
    READ_BLOCK
    EACH_ACCESS (i, c)
      EACH_ELEMENT (k)
        if (c + k < count) {
          const int e = i * VEC + k;
          float own[3] = {v0[e], STATES > 1 ? v1[STATES > 1 ? e : 0] : 0.f, STATES > 2 ? v2[STATES > 2 ? e : 0] : 0.f};
          const float raw = gv[e] / unscale;
          const float d = direction(pv[e], isFinite(raw) ? raw : 0.f, own, h);
          a += (double)pv[e] * pv[e];
          u += (double)d * d;
        }
  }
  for (int d = 16; d; d >>= 1) {
    a += __shfl_xor_sync(~0u, a, d);
    u += __shfl_xor_sync(~0u, u, d);
  }
  if ((threadIdx.x & 31) == 0) {
    parts[threadIdx.x >> 5][0] = a;
    parts[threadIdx.x >> 5][1] = u;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < 8; w++) {
      a += parts[w][0];
      u += parts[w][1];
    }
    sums[2 * blockIdx.x] = a;
    sums[2 * blockIdx.x + 1] = u;
  }
}
// One block: |p| / |direction|, 1 where either is zero.
extern "C" __global__ void __launch_bounds__(256) trust(const double* sums, int blocks, float* out, StepArgs args) {
  __shared__ double parts[2][256];
  double a = 0, u = 0;
  for (int b = threadIdx.x; b < blocks; b += 256) {
    a += sums[2 * b];
    u += sums[2 * b + 1];
  }
  parts[0][threadIdx.x] = a;
  parts[1][threadIdx.x] = u;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < 256; i++) {
    a += parts[0][i];
    u += parts[1][i];
  }
  const float pn = (float)sqrt(a), un = (float)sqrt(u);
  const float ratio = pn > 0.f && un > 0.f ? (float)((double)args.trustCoefficient * pn / un) : 1.f;
  *out = args.maxUnorm > 0.f ? fminf(ratio, args.maxUnorm) : ratio;
}

// One of the tensors that a launch steps, and the first of its blocks among those of all.
struct Item {
  TP* p;
  const TG* g;
  void* data[3];
  float* absmax[3];
  const float* step;
  i64 n, first;
};
#define ITEMS 32
struct Items {
  Item item[ITEMS];
  i64 blocks;
  int count;
};
#if TEAM == 32
#define TEAM_SYNC __syncwarp()
#else
#define TEAM_SYNC __syncthreads()
#endif

// Elements whose gradient is not finite keep parameter and states; with foundInf nothing changes at all. All tensors in
// one launch: what a block needs to know of its codebooks costs it more than the blocks of most tensors.
extern "C" __global__ void __launch_bounds__(256)
    step(const __grid_constant__ Items items, Maps maps, StepArgs args, StepPointers pointers) {
  __shared__ Codebook<SIZE0> codebook0;
  __shared__ Codebook<SIZE1> codebook1;
  __shared__ Codebook<SIZE2> codebook2;
  __shared__ Hyper numbers[TEAMS];
  if (pointers.foundInf && *pointers.foundInf != 0.f) return;
  if (hasCodebook(CODEC0)) fill(codebook0, maps.map[0]);
  if (STATES > 1 && hasCodebook(CODEC1)) fill(codebook1, maps.map[1]);
  if (STATES > 2 && hasCodebook(CODEC2)) fill(codebook2, maps.map[2]);
  __syncthreads();
  const float unscale = pointers.gradScale ? *pointers.gradScale : 1.f;
  const int t = threadIdx.x % TEAM, team = threadIdx.x / TEAM;
  const Hyper& h = numbers[team];
  float known = NAN;  // the step that h is of
  int at = 0;
  for (i64 all = (i64)blockIdx.x * TEAMS + team; all < items.blocks; all += (i64)gridDim.x * TEAMS) {
    while (at + 1 < items.count && all >= items.item[at + 1].first) at++;
    const Item& item = items.item[at];
    const float number = *item.step;
    if (number != known) {
      TEAM_SYNC;
      prepare(numbers[team], args, pointers, number, t == 0);
      TEAM_SYNC;
      known = number;
    }
    TP* p = item.p;
    const TG* g = item.g;
    const i64 n = item.n, b = all - item.first;
    const State0 s0{item.data[0], item.absmax[0]};
    const State1 s1{item.data[1], item.absmax[1]};
    const State2 s2{item.data[2], item.absmax[2]};
    const int count = COUNT;
    READ_BLOCK
    EACH_ACCESS (i, c)
      EACH_ELEMENT (k)
        if (c + k < count) {
          const int e = i * VEC + k;
          float own[3] = {v0[e], STATES > 1 ? v1[STATES > 1 ? e : 0] : 0.f, STATES > 2 ? v2[STATES > 2 ? e : 0] : 0.f};
          const float raw = gv[e] / unscale;
          const float next = advance(pv[e], raw, own, h);
          if (isFinite(raw)) {
            pv[e] = next;
            v0[e] = own[0];
            if (STATES > 1) v1[STATES > 1 ? e : 0] = own[1];
            if (STATES > 2) v2[STATES > 2 ? e : 0] = own[2];
          }
        }
    store(p, b * BLOCK, count, t, pv);
    s0.write(codebook0, b, count, t, v0);
    if (STATES > 1) s1.write(codebook1, b, count, t, v1);
    if (STATES > 2) s2.write(codebook2, b, count, t, v2);
  }
}
