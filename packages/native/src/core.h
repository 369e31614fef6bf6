// The ground of the addon: slot table of tensors, the shared argument buffer, errors. Everything here runs on the JavaScript thread.
#pragma once
#include <exception>
#include <node_api.h>

#include <ATen/core/TensorBody.h>
#include <c10/core/Scalar.h>
#include <c10/util/Exception.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace nbit {

// ---------------------------------------------------------------- slots
// A JavaScript tensor holds one number: slot index in the low 24 bits, generation above. The table lies in a reserved address range, so a slot
// never moves and a `const at::Tensor&` into it stays valid for a whole call.
constexpr uint32_t kIndexBits = 24;
constexpr uint32_t kMaxSlots = 1u << kIndexBits;
constexpr uint32_t kGenerationMask = 0xfffffff;  // 24 + 28 bits stay exact in a double

struct Slot {
  at::Tensor tensor;
  uint32_t generation;
  int32_t next;      // -1 while in use, else the next free slot
  uint32_t guardedKb;  // what a finalizer's tensor was reported to V8 as
  uint32_t unused;
};
extern Slot* slots;
extern uint32_t slotTop;
extern uint32_t slotFree;
extern int64_t slotsLive;

[[noreturn]] void failTableFull();
[[noreturn]] void failBadHandle(double handle);

// Tensors that hardly an operator expects: gradients that are zero everywhere have no memory (JavaScript gets zeros), quantized and nested ones are refused.
constexpr c10::DispatchKeySet kOdd = c10::DispatchKeySet(c10::DispatchKey::ZeroTensor) | c10::DispatchKeySet(c10::DispatchKey::Quantized) | c10::DispatchKeySet(c10::DispatchKey::NestedTensor);
at::Tensor plain(at::Tensor&& odd);

inline double put(at::Tensor&& tensor) {
  if (!tensor.defined()) return 0;
  if (tensor.key_set().has_any(kOdd)) [[unlikely]] tensor = plain(std::move(tensor));
  uint32_t index = slotFree;
  if (index) {
    slotFree = static_cast<uint32_t>(slots[index].next);
  } else {
    if (slotTop >= kMaxSlots) [[unlikely]] failTableFull();
    index = slotTop++;
    slots[index].generation = 1;
  }
  Slot& slot = slots[index];
  new (&slot.tensor) at::Tensor(std::move(tensor));
  slot.next = -1;
  ++slotsLive;
  return static_cast<double>(index) + static_cast<double>(kMaxSlots) * slot.generation;
}
inline double put(const at::Tensor& tensor) { return put(at::Tensor(tensor)); }

inline bool isLive(double handle) {
  if (!(handle >= 0 && handle < 4503599627370496.0)) return false;
  const auto bits = static_cast<uint64_t>(handle);
  const uint32_t index = bits & (kMaxSlots - 1);
  return index != 0 && index < slotTop && slots[index].next == -1 && slots[index].generation == static_cast<uint32_t>(bits >> kIndexBits);
}
inline const at::Tensor& get(double handle) {
  if (!isLive(handle)) [[unlikely]] failBadHandle(handle);
  return slots[static_cast<uint64_t>(handle) & (kMaxSlots - 1)].tensor;
}
void release(double handle);

// ---------------------------------------------------------------- the shared buffer
// One Float64Array, owned by JavaScript, carries arguments in and results out; encodings are in `docs/decisions` and in ops/encode.ts.
extern double* buffer;
extern size_t bufferLength;

/** A number as PyTorch passes it where a tensor is expected: it takes part in type promotion as a number. */
at::Tensor wrappedNumber(const at::Scalar& value);

struct Reader {
  explicit Reader(const double* from) : at(from) {}
  const double* at;

  double number() { return *at++; }
  bool flag() { return *at++ != 0; }
  int64_t integer() {
    const double d = *at++;
    if (d == d) [[likely]] return static_cast<int64_t>(d);
    return std::bit_cast<int64_t>(*at++);  // NaN announces a raw 64-bit integer
  }
  const at::Tensor& tensor() {
    const double h = *at++;
    if (h != h) [[unlikely]] return number_ = wrappedNumber(scalar());  // NaN announces a number in a tensor's place
    return get(h);
  }
  std::optional<at::Tensor> maybeTensor() {
    const double h = *at++;
    if (h == 0) return std::nullopt;
    return get(h);
  }
  at::Scalar scalar() {
    switch (static_cast<int>(*at++)) {
      case 0: return at::Scalar(integer());
      case 1: return at::Scalar(number());
      case 2: return at::Scalar(flag());
      default: {
        const double re = number();
        const double im = number();
        return at::Scalar(c10::complex<double>(re, im));
      }
    }
  }
  std::vector<int64_t> integers() {
    const auto n = static_cast<size_t>(number());
    std::vector<int64_t> list(n);
    for (auto& e : list) e = integer();
    return list;
  }
  std::vector<at::Tensor> tensors() {
    const auto n = static_cast<size_t>(number());
    std::vector<at::Tensor> list;
    list.reserve(n);
    for (size_t i = 0; i < n; i++) {
      const double h = number();
      list.push_back(h == 0 ? at::Tensor() : get(h));
    }
    return list;
  }

 private:
  at::Tensor number_;  // at most one in a call: the other operand is a tensor
};

struct Writer {
  double* at;

  void number(double d) { *at++ = d; }
  void integer(int64_t i) {
    const auto d = static_cast<double>(i);
    if (i <= (1LL << 53) && i >= -(1LL << 53)) {
      *at++ = d;
    } else {
      *at++ = std::nan("");
      *at++ = std::bit_cast<double>(i);
    }
  }
  void tensor(at::Tensor&& t) { *at++ = put(std::move(t)); }
  void tensors(std::vector<at::Tensor>&& list) {
    number(static_cast<double>(list.size()));
    for (auto& t : list) tensor(std::move(t));
  }
  void scalar(const at::Scalar& s) {
    if (s.isBoolean()) {
      number(2);
      number(s.toBool());
    } else if (s.isIntegral(false)) {
      number(0);
      integer(s.toLong());
    } else if (s.isComplex()) {
      number(3);
      const auto c = s.toComplexDouble();
      number(c.real());
      number(c.imag());
    } else {
      number(1);
      number(s.toDouble());
    }
  }
};

inline double encodeDevice(c10::Device d) { return static_cast<int>(d.type()) * 256 + d.index() + 1; }
inline c10::Device decodeDevice(double code) {
  const int c = static_cast<int>(code);
  return c10::Device(static_cast<c10::DeviceType>(c / 256), static_cast<c10::DeviceIndex>(c % 256 - 1));
}

// ---------------------------------------------------------------- errors
// Thrown when a JavaScript exception is already pending: it keeps its identity while C++ unwinds. A std::exception, because the autograd engine catches
// only those; anything else leaves its thread marked as busy, and after 60 of them backward moves to another thread for good.
struct JsPending : std::exception {
  const char* what() const noexcept override { return "a JavaScript exception is pending"; }
};

/** The one place where a C++ exception becomes a JavaScript error. Call inside a catch block. */
napi_value throwCurrent(napi_env env, const char* op) noexcept;
[[noreturn]] void fail(const char* code, const std::string& message);

// ---------------------------------------------------------------- Node-API
struct Environment {
  napi_env env = nullptr;
  napi_ref errorFactory = nullptr;    // (code, message, op) => Error
  napi_ref warningHandler = nullptr;  // (message) => void
  bool closing = false;
};
extern Environment js;
bool onJsThread();
/** Release JavaScript references whose C++ owners died where none could be deleted; report warnings. Cheap when there are none. */
void drain();
extern bool drainNeeded;
void deferDelete(napi_ref ref);

struct Args {
  napi_env env;
  size_t count;
  napi_value at[8];
  Args(napi_env e, napi_callback_info info) : env(e), count(8) {
    napi_get_cb_info(e, info, &count, at, nullptr, nullptr);
    for (size_t i = count; i < 8; i++) at[i] = nullptr;
  }
  double number(size_t i) const {
    double d = 0;
    if (i >= count || napi_get_value_double(env, at[i], &d) != napi_ok) fail("ERR_ARGUMENT", "native: expected argument " + std::to_string(i) + " to be a number");
    return d;
  }
  int64_t integer(size_t i) const { return static_cast<int64_t>(number(i)); }
  bool flag(size_t i) const {
    bool b = false;
    if (i >= count || napi_get_value_bool(env, at[i], &b) != napi_ok) fail("ERR_ARGUMENT", "native: expected argument " + std::to_string(i) + " to be a boolean");
    return b;
  }
  std::string text(size_t i) const {
    size_t n = 0;
    if (i >= count || napi_get_value_string_utf8(env, at[i], nullptr, 0, &n) != napi_ok) fail("ERR_ARGUMENT", "native: expected argument " + std::to_string(i) + " to be a string");
    std::string s(n, '\0');
    napi_get_value_string_utf8(env, at[i], s.data(), n + 1, &n);
    return s;
  }
};

inline napi_value toJs(napi_env env, double d) { napi_value v; napi_create_double(env, d, &v); return v; }
inline napi_value toJs(napi_env env, bool b) { napi_value v; napi_get_boolean(env, b, &v); return v; }
inline napi_value toJs(napi_env env, const std::string& s) { napi_value v; napi_create_string_utf8(env, s.data(), s.size(), &v); return v; }

struct Entry {
  const char* name;
  napi_callback fn;
};

#define NBIT_FN(fn_name) static napi_value fn_name(napi_env env, napi_callback_info info)
#define NBIT_TRY try {
#define NBIT_CATCH(op)                 \
  }                                    \
  catch (...) {                        \
    return ::nbit::throwCurrent(env, op); \
  }

// One table per domain; addon.cc joins them.
std::vector<Entry> handleEntries();
std::vector<Entry> dispatchEntries();
std::vector<Entry> dataEntries();
std::vector<Entry> autogradEntries();
std::vector<Entry> linearEntries();
std::vector<Entry> autocastEntries();
std::vector<Entry> autocastPolicyEntries();
std::vector<Entry> randomEntries();
std::vector<Entry> traceEntries();
std::vector<Entry> allocatorEntries();
std::vector<Entry> contextEntries();
/** Absent (null) in an addon built for a libtorch without CUDA. */
__attribute__((weak)) std::vector<Entry> cudaEntries();

/** Generators made by JavaScript, by id; 0 is "none". */
at::Generator& generatorAt(double id);
/** Strings that JavaScript interned, by id. */
const std::string& internedAt(double id);

}  // namespace nbit
