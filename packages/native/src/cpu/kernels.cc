#include "cpu/kernels.h"

#include "binding/core.h"
#include "entries/cpu_kernels.h"
#include "program/recorder.h"

#include <cstdlib>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace nbit::cpu {

std::atomic<bool> fast{true};

namespace {

struct Features {
  bool x86 = false;
  bool avx512 = false, avx512Bfloat = false, avx512Half = false, amxBfloat = false, amxHalf = false;
};

#if defined(__x86_64__)
Features detect() {
  Features f{.x86 = true};
  // ATEN_CPU_CAPABILITY is libtorch's own switch, so that one setting holds for all kernels.
  const char* wanted = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string limit = wanted == nullptr ? "" : wanted;
  // The compiler's check asks the operating system, too, whether it saves the registers.
  f.avx512 = limit != "default" && limit != "avx2" && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!f.avx512 || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return f;
  f.avx512Half = (d >> 23 & 1) != 0;
  f.amxBfloat = (d >> 22 & 1) != 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return f;
  f.avx512Bfloat = (a >> 5 & 1) != 0;
  f.amxHalf = (a >> 21 & 1) != 0;
  return f;
}
#else
Features detect() { return {}; }
#endif

const Features& features() {
  static const Features found = detect();
  return found;
}

// What tests choose among; none: by the machine.
enum class Choice : uint8_t { none, widened, floats, bfloats };
std::atomic<Choice> choice{Choice::none};

// oneDNN makes the descriptors of a product anew for each call: 10 µs. Beyond so many multiply-adds (150 µs of AVX-512,
// 10 of AMX) that no longer shows, and its blocking for the caches does.
constexpr double kLargest = 1 << 26, kLargestBesideAmx = 1 << 20;

bool hasNative(c10::ScalarType dtype) {
  const Features& f = features();
  return dtype == c10::kHalf ? f.avx512Half || f.amxHalf : false;
}

}  // namespace

bool widens(c10::ScalarType dtype) {
  if (!fast) return false;
  if (choice != Choice::none) return true;
  const Features& f = features();
  return f.x86 && ((dtype == c10::kHalf && !hasNative(dtype)) || (dtype == c10::kBFloat16 && !f.avx512));
}

Way wayOf(c10::ScalarType dtype, double multiplyAdds) {
  if (!fast || (dtype != c10::kHalf && dtype != c10::kBFloat16)) return Way::libtorch;
  if (choice != Choice::none) return choice == Choice::widened ? Way::widened : Way::own;
  const Features& f = features();
  if (!f.x86 || hasNative(dtype)) return Way::libtorch;
  if (!f.avx512) return Way::widened;
  if (dtype == c10::kHalf || !f.avx512Bfloat) return Way::own;
  return multiplyAdds <= (f.amxBfloat ? kLargestBesideAmx : kLargest) ? Way::own : Way::libtorch;
}

const ProductKernels& productsOf([[maybe_unused]] c10::ScalarType dtype) {
#if defined(__x86_64__)
  if (dtype == c10::kBFloat16 && features().avx512Bfloat && choice != Choice::floats) return bfloatProducts;
  return floatProducts;
#else
  fail("NBIT_UNSUPPORTED", "this CPU has no kernels of ours for matrix products");
#endif
}

const AttentionKernels* attentionOf([[maybe_unused]] c10::ScalarType dtype) {
#if defined(__x86_64__)
  const Features& f = features();
  if (!fast || (dtype != c10::kHalf && dtype != c10::kBFloat16) || choice == Choice::widened) return nullptr;
  // libtorch's attention has products by AMX and by AVX-512 FP16.
  if (choice == Choice::none && (!f.avx512 || hasNative(dtype) || (dtype == c10::kBFloat16 && f.amxBfloat)))
    return nullptr;
  return &productsOf(dtype) == &bfloatProducts ? &bfloatAttention : &floatAttention;
#else
  return nullptr;
#endif
}

const NormKernels* normOf([[maybe_unused]] c10::ScalarType dtype) {
#if defined(__x86_64__)
  if (fast && (dtype == c10::kHalf || dtype == c10::kBFloat16) && features().avx512 && choice != Choice::widened)
    return &avx512Norm;
#endif
  return nullptr;
}

}  // namespace nbit::cpu

namespace nbit {

void entries::setCpuKernels(const Args& a) {
  program::settingChanges();
  cpu::fast = a.flag(0);
}
bool entries::getCpuKernels() { return cpu::fast; }

std::string entries::cpuProducts() {
  const auto& f = cpu::features();
  return f.avx512Bfloat ? "bfloats floats widened" : f.avx512 ? "floats widened" : "widened";
}
void entries::chooseCpuProducts(const Args& a) {
  const std::string name = a.text(0);
  if (name == "") cpu::choice = cpu::Choice::none;
  else if (name == "widened") cpu::choice = cpu::Choice::widened;
  else if (name == "floats" && cpu::features().avx512) cpu::choice = cpu::Choice::floats;
  else if (name == "bfloats" && cpu::features().avx512Bfloat) cpu::choice = cpu::Choice::bfloats;
  else fail("ERR_ARGUMENT", "expected one of cpuProducts(). Received: " + name);
}

}  // namespace nbit
