// What encoding needs of a map: made once per map, kept for the life of the process. There are a handful.
#include "lowbit/cpu/codebook.h"

#include <c10/util/Exception.h>
#include <c10/util/Float8_e4m3fn.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nbit::lowbit {

float floatOfHalf(uint16_t bits) { return c10::detail::fp16_ieee_to_fp32_value(bits); }
uint16_t halfOfFloat(float x) { return c10::detail::fp16_ieee_from_fp32_value(x); }

std::vector<const Kernels*> runnableKernels() {
  std::vector<const Kernels*> all;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  // ATEN_CPU_CAPABILITY is libtorch's own switch, so that one setting holds for all kernels.
  const char* wanted = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string limit = wanted == nullptr ? "" : wanted;
  if (limit != "default") {
    if (avx512 && limit != "avx2" && __builtin_cpu_supports("avx512vbmi")) all.push_back(&vbmiKernels);
    if (avx512 && limit != "avx2") all.push_back(&avx512Kernels);
    if (avx2) all.push_back(&avx2Kernels);
  }
#endif
  all.push_back(&plainKernels);
  return all;
}
std::atomic<const Kernels*>& chosenKernels() {
  static std::atomic<const Kernels*> chosen{runnableKernels().front()};
  return chosen;
}
const Kernels& kernels() { return *chosenKernels().load(std::memory_order_relaxed); }

namespace {

struct Owned {
  Codebook codebook{};
  std::vector<float> values, mid;
  std::vector<uint8_t> bins;
};

float floatOfBits(uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, 4);
  return v;
}
int codeOf(const Codebook& b, float v) {
  return static_cast<int>(std::lower_bound(b.mid, b.mid + b.size - 1, v) - b.mid);
}
// Codes of the smallest and the largest value of a bin: of a negative one the end with the larger magnitude is the
// smallest. NaN counts as infinite here. With `around`, the bin is that much wider on both sides, in units of the last
// place.
std::pair<int, int> codesOf(const Codebook& b, uint32_t bin, uint32_t around = 0) {
  const uint32_t sign = bin & 0x8000u, first = (bin & 0x7fffu) << 16;
  float ends[2] = {floatOfBits((sign << 16) | (first - std::min(first, around))),
                   floatOfBits((sign << 16) | std::min(first + 0xffffu + around, 0x7fffffffu))};
  for (float& v : ends) v = v == v ? v : sign ? -INFINITY : INFINITY;
  return {codeOf(b, std::min(ends[0], ends[1])), codeOf(b, std::max(ends[0], ends[1]))};
}
void fillBins(Owned& o) {
  o.bins.resize(65536);
  for (uint32_t bin = 0; bin < 65536; bin++) o.bins[bin] = static_cast<uint8_t>(codesOf(o.codebook, bin).first);
  o.codebook.bins = o.bins.data();
}

// A guess may be the code of any value of the bin or the one below it.
bool right(std::pair<int, int> codes, int guess) { return codes.second - 1 <= guess && guess <= codes.first; }

// The points 0 to 127 of a binade: between low and high, in 256ths of a code.
struct Band {
  int low[128], high[128];
  bool holds(int at, int value) const { return low[at] <= value && value <= high[at]; }
};
int along(int slope, int offset, int at) { return offset + (at * slope >> 7); }
// The steepest and the flattest line, in units per point, through a band as far as there is one from `from` in the
// direction `by`.
struct Reach {
  double flattest = 0, steepest = 512;
  int end;
};
Reach reach(const Band& band, int from, int by) {
  Reach r{.end = from};
  for (; r.end >= 0 && r.end < 128; r.end += by) {
    double flattest = r.flattest, steepest = r.steepest;
    for (int i = from; i != r.end; i += by) {
      const int a = std::min(i, r.end), b = std::max(i, r.end);
      flattest = std::max(flattest, static_cast<double>(band.low[b] - band.high[a]) / (b - a));
      steepest = std::min(steepest, static_cast<double>(band.high[b] - band.low[a]) / (b - a));
    }
    if (flattest > steepest) return r;
    r.flattest = flattest, r.steepest = steepest;
  }
  return r;
}
// One line and its place in the middle of the band over [from, to).
std::pair<int, int> lineOf(const Band& band, const Reach& r, int from, int to) {
  const int slope = static_cast<int>(std::lround((r.flattest + r.steepest) * 64));
  int low = 0, high = 65535;
  for (int i = from; i < to; i++)
    low = std::max(low, band.low[i] - along(slope, 0, i)), high = std::min(high, band.high[i] - along(slope, 0, i));
  return {slope, (low + high) / 2};
}
// Two lines of which the lower one stays in the band. A dynamic map has at most one change of spacing in a binade, to a
// wider one.
bool fillBinade(Codebook& b, int e) {
  Band band;
  // Never below the code of zero nor the last one: there is a midpoint above every guess.
  const int zero = codeOf(b, 0.f), last = std::max(zero, b.size - 2);
  for (int i = 0; i < 128; i++) {
    const auto codes = codesOf(b, static_cast<uint32_t>(((96 + e) << 7) + i), 2 * kNear);
    band.low[i] = std::max(zero, codes.second - 1) * 256;
    band.high[i] = std::min(last, codes.first) * 256 + 255;
  }
  const Reach up = reach(band, 0, 1), down = reach(band, 127, -1);
  for (int split = down.end + 1; split <= up.end; split++) {
    const auto [slope0, offset0] = lineOf(band, up, 0, split);
    const auto [slope1, offset1] = lineOf(band, down, split, 128);
    bool all = slope0 <= 65535 && slope1 <= 65535;
    for (int i = 0; i < 128; i++)
      all = all && band.holds(i, std::min(along(slope0, offset0, i), along(slope1, offset1, i)));
    if (!all) continue;
    b.slope[0][e] = static_cast<uint16_t>(slope0), b.offset[0][e] = static_cast<uint16_t>(offset0);
    b.slope[1][e] = static_cast<uint16_t>(slope1), b.offset[1][e] = static_cast<uint16_t>(offset1);
    return true;
  }
  return false;
}
// What the wide kernels compute of the upper 16 bits, in the same operations.
int guess(const Codebook& b, uint32_t bin) {
  const uint32_t m = std::max(bin & 0x7fffu, 96u << 7), e = (m >> 7) & 31, fraction = (m << 9) & 0xffffu;
  const auto line = [&](int i) { return static_cast<uint16_t>(b.offset[i][e] + (fraction * b.slope[i][e] >> 16)); };
  const int magnitude = std::min(line(0), line(1)) >> 8;
  return bin & 0x8000u ? std::max(b.whole - magnitude, 0) : magnitude;
}
// Whether guesses are right for the upper half of every number that a block can have: up to 1, and infinity.
bool exact(const Codebook& b, uint32_t sign) {
  bool all = right(codesOf(b, sign | 0x7f80u), guess(b, sign | 0x7f80u));
  for (uint32_t bin = 0; bin <= 0x3f80u; bin++)
    all = all && right(codesOf(b, sign | bin, 2 * kNear), guess(b, sign | bin));
  return all;
}
void fillLines(Codebook& b) {
  for (int e = 0; e < 32; e++)
    if (!fillBinade(b, e)) return;
  if (!exact(b, 0)) return;
  for (b.whole = 0; b.whole < 256 && !exact(b, 0x8000u);) b.whole++;
  b.lines = b.whole < 256;
}

template <class Value>
void fillPlanes(uint8_t (&planes)[4][256], const Value* values) {
  for (int i = 0; i < 256; i++)
    for (int k = 0; k < 4; k++) std::memcpy(&planes[k][i], reinterpret_cast<const char*>(values + i) + k, 1);
}
// Maps that are encoded without divisions: their first midpoint above zero is far above it, and below zero there is
// none, or the negative of every one above.
void fillEdges(Codebook& b) {
  const int zero = codeOf(b, 0.f);
  if (!b.lines || b.size != 256 || !(b.mid[zero] > 1e-9f)) return;
  bool mirrored = zero == 127 || zero == 128;
  for (int code = zero; mirrored && code < 255; code++)
    mirrored = code >= 2 * zero || b.mid[2 * zero - 1 - code] == -b.mid[code];
  if (zero > 0 && !mirrored) return;
  b.half = mirrored ? Half::mirrored : Half::positive;
  b.sum = 2 * zero;
  for (int code = zero; code < 255; code++) {
    uint32_t& edge = b.edge[mirrored ? code & 127 : code];
    std::memcpy(&edge, b.mid + code, 4);
    edge -= kNear;
  }
  fillPlanes(b.edgeBytes, b.edge);
}

}  // namespace

const Codebook& codebookOf(const float* values, int n) {
  static std::mutex mutex;
  static auto& known = *new std::unordered_map<std::string, std::unique_ptr<Owned>>();
  const std::string key(reinterpret_cast<const char*>(values), static_cast<size_t>(n) * 4);
  std::lock_guard<std::mutex> lock(mutex);
  if (known.find(key) == known.end())
    for (int i = 0; i + 1 < n; i++)
      TORCH_CHECK_VALUE(values[i] <= values[i + 1], "expected map to be ascending. Received: ", values[i], " before ",
                        values[i + 1], " at ", i);
  auto& found = known[key];
  if (!found) {
    auto made = std::make_unique<Owned>();
    made->values.assign(values, values + n);
    made->values.resize(256, values[n - 1]);
    made->mid.assign(256, INFINITY);
    for (int i = 0; i + 1 < n; i++) made->mid[static_cast<size_t>(i)] = (values[i] + values[i + 1]) * 0.5f;
    made->codebook.size = n;
    made->codebook.values = made->values.data();
    made->codebook.mid = made->mid.data();
    fillPlanes(made->codebook.valueBytes, made->codebook.values);
    fillPlanes(made->codebook.midBytes, made->codebook.mid);
    fillBins(*made);
    fillLines(made->codebook);
    fillEdges(made->codebook);
    found = std::move(made);
  }
  return found->codebook;
}

const Codebook& float8Book() {
  static const Owned& owned = *[] {
    auto* made = new Owned;
    made->values.resize(256);
    for (int i = 0; i < 256; i++)
      made->values[static_cast<size_t>(i)] = c10::detail::fp8e4m3fn_to_fp32_value(static_cast<uint8_t>(i));
    made->codebook.size = 256;
    made->codebook.values = made->values.data();
    fillPlanes(made->codebook.valueBytes, made->codebook.values);
    return made;
  }();
  return owned.codebook;
}

}  // namespace nbit::lowbit
