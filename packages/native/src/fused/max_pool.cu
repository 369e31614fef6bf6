// Max pooling over images with channels last, forward and backward. What was largest in a window is one byte, its place
// in the window; backward gathers, so nothing is cleared or added to in memory. The macros that it is compiled with:
// manifest/kernels.json.
#include "cuda/kernels/common.cuh"

#define PACKS (CHANNELS / 8)
#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < 8; k++)
typedef Pack<TX, 8> Packed;
// Images of inH × inW, pooled to outH × outW.
struct Sizes {
  int inH, inW, outH, outW;
};

// A block has a row of windows, a thread packs of them. codes: null where no backward will ask.
extern "C" __global__ void __launch_bounds__(64) forward(const TX* x, TX* out, u8* codes, Sizes s) {
  const int image = blockIdx.x / s.outH, h0 = (int)(blockIdx.x % s.outH) * SH - PH;
  const Packed* from = reinterpret_cast<const Packed*>(x) + (i64)image * s.inH * s.inW * PACKS;
  const i64 to = (i64)blockIdx.x * s.outW * PACKS;
  for (int i = threadIdx.x; i < s.outW * PACKS; i += 64) {
    const int pack = i % PACKS, w0 = i / PACKS * SW - PW;
    float best[8];
    u32 at[8];
    bool any = false;
#pragma unroll
    for (int kh = 0; kh < KH; kh++)
#pragma unroll
      for (int kw = 0; kw < KW; kw++) {
        const int h = h0 + kh, w = w0 + kw;
        if (h < 0 || h >= s.inH || w < 0 || w >= s.inW) continue;
        float v[8];
        unpack(from[(i64)(h * s.inW + w) * PACKS + pack], v);
        // As PyTorch: the first of equals, the last NaN.
        EACH_ELEMENT (k)
          if (!any || v[k] > best[k] || v[k] != v[k]) {
            best[k] = v[k];
            at[k] = kh * KW + kw;
          }
        any = true;
      }
    reinterpret_cast<Packed*>(out)[to + i] = packed<TX, 8>(best);
    if (!codes) continue;
    Pack<u8, 8> c;
    EACH_ELEMENT (k) c.v[k] = (u8)at[k];
    reinterpret_cast<Pack<u8, 8>*>(codes)[to + i] = c;
  }
}

// A block has a row of the input, a thread packs of its pixels: what they were the largest of, in a fixed order. At
// most ACROSS windows reach a pixel each way.
#define ACROSS_H ((KH + SH - 1) / SH)
#define ACROSS_W ((KW + SW - 1) / SW)
extern "C" __global__ void __launch_bounds__(64) backward(const TX* g, const u8* codes, TX* gx, Sizes s) {
  const int image = blockIdx.x / s.inH, h = (int)(blockIdx.x % s.inH) + PH;
  const i64 from = (i64)image * s.outH * s.outW * PACKS, to = (i64)blockIdx.x * s.inW * PACKS;
  const int lastH = h / SH;
  for (int i = threadIdx.x; i < s.inW * PACKS; i += 64) {
    const int pack = i % PACKS, w = i / PACKS + PW, lastW = w / SW;
    Packed grads[ACROSS_H * ACROSS_W];
    uint2 places[ACROSS_H * ACROSS_W];
#pragma unroll
    for (int a = 0; a < ACROSS_H; a++)
#pragma unroll
      for (int b = 0; b < ACROSS_W; b++) {
        const int oh = lastH - a, ow = lastW - b, n = a * ACROSS_W + b;
        const bool reaches = oh >= 0 && oh < s.outH && h - oh * SH < KH && ow >= 0 && ow < s.outW && w - ow * SW < KW;
        const i64 at = from + (i64)(oh * s.outW + ow) * PACKS + pack;
        // A window that does not reach adds zeros, whatever its place says.
        places[n] = reaches ? reinterpret_cast<const uint2*>(codes)[at] : uint2{~0u, ~0u};
        if (reaches) grads[n] = reinterpret_cast<const Packed*>(g)[at];
        else
          EACH_ELEMENT (k) grads[n].v[k] = fromFloat<TX>(0.f);
      }
    float sum[8];
    EACH_ELEMENT (k) sum[k] = 0.f;
#pragma unroll
    for (int a = 0; a < ACROSS_H; a++)
#pragma unroll
      for (int b = 0; b < ACROSS_W; b++) {
        if (lastH - a < 0 || lastH - a >= s.outH || h - (lastH - a) * SH >= KH) continue;  // the whole block
        const u32 code = (h - (lastH - a) * SH) * KW + (w - (lastW - b) * SW);
        const uint2 p = places[a * ACROSS_W + b];
        Packed grad = grads[a * ACROSS_W + b];
        float v[8];
        if constexpr (sizeof(TX) == 2) {
          // Two neighbours at once: a byte of the comparison makes a mask for each.
          const u32 low = __vcmpeq4(p.x, code * 0x01010101u), high = __vcmpeq4(p.y, code * 0x01010101u);
          u32* words = reinterpret_cast<u32*>(&grad);
          words[0] &= __byte_perm(low, 0, 0x1100);
          words[1] &= __byte_perm(low, 0, 0x3322);
          words[2] &= __byte_perm(high, 0, 0x1100);
          words[3] &= __byte_perm(high, 0, 0x3322);
          unpack(grad, v);
          EACH_ELEMENT (k) sum[k] += v[k];
        } else {
          unpack(grad, v);
          EACH_ELEMENT (k) sum[k] += (((k < 4 ? p.x : p.y) >> (k % 4 * 8)) & 255u) == code ? v[k] : 0.f;
        }
      }
    reinterpret_cast<Packed*>(gx)[to + i] = packed<TX, 8>(sum);
  }
}
