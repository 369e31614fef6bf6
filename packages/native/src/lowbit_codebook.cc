// What encoding needs of a map: made once per map, kept for the life of the process. There are a handful.
#include "lowbit_codebook.h"

#include <c10/util/Float8_e4m3fn.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace nbit::lowbit {

float floatOfHalf(uint16_t bits) { return c10::detail::fp16_ieee_to_fp32_value(bits); }
uint16_t halfOfFloat(float x) { return c10::detail::fp16_ieee_from_fp32_value(x); }

const Kernels& kernels() {
#if defined(__x86_64__)
  static const Kernels& chosen = [&]() -> const Kernels& {
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    // ATEN_CPU_CAPABILITY is libtorch's own switch, so that one setting holds for all kernels.
    const char* wanted = std::getenv("ATEN_CPU_CAPABILITY");
    const std::string limit = wanted == nullptr ? "" : wanted;
    if (limit == "default" || !avx2) return plainKernels;
    return avx512 && limit != "avx2" ? avx512Kernels : avx2Kernels;
  }();
  return chosen;
#else
  return plainKernels;
#endif
}

namespace {

struct Owned {
  Codebook book{};
  std::vector<float> values, mid;
  std::vector<uint8_t> bins;
};

void fillBins(Owned& o, int n) {
  o.bins.resize(65536);
  for (uint32_t bin = 0; bin < 65536; bin++) {
    // The smallest value of a bin: of a negative one it is the end with the larger magnitude.
    const uint32_t bits = (bin << 16) | ((bin & 0x8000u) ? 0xffffu : 0u);
    float v;
    std::memcpy(&v, &bits, 4);
    if (v != v) v = (bin & 0x8000u) ? -INFINITY : INFINITY;
    o.bins[bin] = static_cast<uint8_t>(std::lower_bound(o.mid.begin(), o.mid.begin() + n - 1, v) - o.mid.begin());
  }
}

int exponentOf(float a) {
  uint32_t bits;
  std::memcpy(&bits, &a, 4);
  return std::clamp(static_cast<int>(bits >> 23) - (127 - 31), 0, 31);
}
// The guess that the wide kernels make, in the same operations.
int guess(const Codebook& b, float v) {
  const float a = std::min(std::fabs(v), 1.f);
  const int e = exponentOf(a);
  const int line = b.line[e] + (a > b.bound[e] ? 1 : 0);
  int c = static_cast<int>(std::min(std::fmaf(a, b.slope[line], b.offset[line]), b.last[line]));
  if (std::signbit(v)) c = b.mirrored ? 2 * b.zero - 1 - c : 0;
  return std::max(c, 0);
}
bool exact(const Codebook& b) {
  // Guesses rise with the value between midpoints, so both sides of every midpoint and the ends tell all.
  const auto right = [&](float v) {
    const int code = static_cast<int>(std::lower_bound(b.mid, b.mid + b.size - 1, v) - b.mid), g = guess(b, v);
    return g == code || g == code - 1;
  };
  bool all = right(0.f) && right(-0.f) && right(1.f) && right(-1.f) && right(INFINITY) && right(-INFINITY) && right(std::numeric_limits<float>::denorm_min()) && right(-std::numeric_limits<float>::denorm_min());
  for (int i = 0; i + 1 < b.size; i++) all = all && right(b.mid[i]) && right(std::nextafterf(b.mid[i], 2.f)) && right(std::nextafterf(b.mid[i], -2.f));
  for (int e = 0; e < 32; e++) {
    const float start = std::ldexp(1.f, e - 31);
    all = all && right(start) && right(std::nextafterf(start, 0.f)) && right(-start) && right(-std::nextafterf(start, 0.f));
  }
  return all;
}

// Lines through the midpoints of the upper half: a line begins at one and goes on while they are evenly spaced.
void fillCurve(Owned& o, int n) {
  Codebook& b = o.book;
  b.zero = static_cast<int>(std::min_element(o.values.begin(), o.values.begin() + n, [](float x, float y) { return std::fabs(x) < std::fabs(y); }) - o.values.begin());
  b.mirrored = b.zero > 0;
  std::fill(std::begin(b.bound), std::end(b.bound), INFINITY);
  b.slope[0] = 0.f;
  b.offset[0] = b.last[0] = static_cast<float>(b.zero);
  int line = 0;
  std::vector<float> starts{0.f};
  for (int i = b.zero; i + 1 < n;) {
    if (++line >= 16) return;
    // From this midpoint on: steps of d, the first of them possibly shorter.
    int j = i + 1;
    const double d = i + 2 < n - 1 && o.mid[i + 2] - o.mid[i + 1] >= (o.mid[i + 1] - o.mid[i]) * 0.999f && o.mid[i + 2] - o.mid[i + 1] < (o.mid[i + 1] - o.mid[i]) * 1.6f ? o.mid[i + 2] - o.mid[i + 1]
                     : i + 1 < n - 1                                                                                                              ? o.mid[i + 1] - o.mid[i]
                                                                                                                                                  : 1.0;
    while (j + 1 < n - 1 && std::fabs(o.mid[j + 1] - o.mid[j] - d) < 0.003 * d) j++;
    const bool any = i + 1 < n - 1;
    if (any && std::fabs(o.mid[j] - o.mid[j - 1] - d) > 0.003 * d) j = i;
    const double anchor = any ? o.mid[i + 1] - d : o.mid[i];
    b.slope[line] = static_cast<float>(1.0 / d);
    b.offset[line] = static_cast<float>(i + 1 - 0.02 - anchor / d);
    const int next = std::min(std::max(j, i) + 1, n - 1);
    b.last[line] = static_cast<float>(next);
    float& bound = b.bound[exponentOf(o.mid[i])];
    if (bound != INFINITY) return;
    bound = o.mid[i];
    starts.push_back(o.mid[i]);
    i = next;
  }
  for (int e = 0; e < 32; e++) {
    const float first = e == 0 ? 0.f : std::ldexp(1.f, e - 31);
    int at = 0;
    while (at + 1 < static_cast<int>(starts.size()) && starts[at + 1] < first) at++;
    b.line[e] = at;
  }
  b.curve = exact(b);
}

}  // namespace

const Codebook& codebookOf(const float* values, int n) {
  static std::mutex mutex;
  static auto& known = *new std::unordered_map<std::string, std::unique_ptr<Owned>>();
  const std::string key(reinterpret_cast<const char*>(values), static_cast<size_t>(n) * 4);
  std::lock_guard<std::mutex> lock(mutex);
  auto& found = known[key];
  if (!found) {
    auto made = std::make_unique<Owned>();
    made->values.assign(values, values + n);
    made->values.resize(256, values[n - 1]);
    made->mid.assign(256, INFINITY);
    for (int i = 0; i + 1 < n; i++) made->mid[static_cast<size_t>(i)] = (values[i] + values[i + 1]) * 0.5f;
    fillBins(*made, n);
    made->book.size = n;
    made->book.values = made->values.data();
    made->book.mid = made->mid.data();
    made->book.bins = made->bins.data();
    fillCurve(*made, n);
    found = std::move(made);
  }
  return found->book;
}

const Codebook& float8Book() {
  static const Owned& owned = *[] {
    auto* made = new Owned;
    made->values.resize(256);
    for (int i = 0; i < 256; i++) made->values[static_cast<size_t>(i)] = c10::detail::fp8e4m3fn_to_fp32_value(static_cast<uint8_t>(i));
    made->book.size = 256;
    made->book.values = made->values.data();
    return made;
  }();
  return owned.book;
}

}  // namespace nbit::lowbit
