// The shared buffer's language. Arguments: [0] how many numbers were written in all, this one included, then they.
// Results begin at [0]. Encodings: tensor = handle (0 = none); integer = number, or NaN and then 64 raw bits; scalar =
// tag, then the value; list = length (-1 = none), then the elements; other optional values = 0, or 1 and then the
// value. A reader stops where writing stopped, and a writer makes room first: neither leaves the buffer, whatever is in
// it.
#pragma once
#include "binding/slots.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/Scalar.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace nbit {

[[noreturn]] void failMessage(double written);
[[noreturn]] void failShort();
[[noreturn]] void failNumber(const char* what, double value);

/** A number as PyTorch passes it where a tensor is expected: it takes part in type promotion as a number. */
at::Tensor wrappedNumber(const at::Scalar& value);
c10::Device decodeDevice(double code);
inline double encodeDevice(c10::Device d) { return static_cast<int>(d.type()) * 256 + d.index() + 1; }

/** A whole number in [0, end), for codes. */
inline int codeBelow(double d, int end, const char* what) {
  if (!(d >= 0 && d < end) || d != static_cast<int>(d)) [[unlikely]]
    failNumber(what, d);
  return static_cast<int>(d);
}
inline at::ScalarType dtypeAt(double code) {
  const auto type =
      static_cast<at::ScalarType>(codeBelow(code, static_cast<int>(at::ScalarType::NumOptions), "the code of a dtype"));
  if (type == at::ScalarType::Undefined) failNumber("the code of a dtype", code);
  return type;
}
inline int64_t wholeNumber(double d) {
  if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0)) [[unlikely]]
    failNumber("a whole number", d);
  return static_cast<int64_t>(d);
}

struct Reader {
  Reader(const double* from, const double* to) : at(from), end(to) {}
  const double* at;
  const double* end;

  double number() {
    if (at == end) [[unlikely]]
      failShort();
    return *at++;
  }
  double peek() const {
    if (at == end) [[unlikely]]
      failShort();
    return *at;
  }
  bool flag() { return number() != 0; }
  int64_t integer() {
    const double d = number();
    if (d == d) [[likely]]
      return wholeNumber(d);
    return std::bit_cast<int64_t>(number());  // NaN announces a raw 64-bit integer
  }
  at::ScalarType dtype() { return dtypeAt(number()); }
  const at::Tensor& tensor() {
    const double h = number();
    if (h != h) [[unlikely]]
      return number_ = wrappedNumber(scalar());  // NaN announces a number in a tensor's place
    return get(h);
  }
  std::optional<at::Tensor> maybeTensor() {
    const double h = number();
    if (h == 0) return std::nullopt;
    return get(h);
  }
  at::Scalar scalar() {
    switch (codeBelow(number(), 4, "the tag of a number")) {
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
  /** Length of a list: every element takes a number at least. */
  size_t count() {
    const double n = number();
    if (!(n >= 0 && n <= static_cast<double>(end - at)) || n != static_cast<double>(static_cast<size_t>(n)))
        [[unlikely]]
      failNumber("a list's length, of what was written,", n);
    return static_cast<size_t>(n);
  }
  std::vector<int64_t> integers() {
    std::vector<int64_t> list(count());
    for (auto& e : list) e = integer();
    return list;
  }
  std::vector<at::Tensor> tensors() {
    const size_t n = count();
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

/** What JavaScript wrote into the buffer. */
inline Reader message() {
  const double written = js->buffer[0];
  if (!(written >= 1 && written <= static_cast<double>(js->bufferLength))) [[unlikely]]
    failMessage(written);
  return Reader(js->buffer + 1, js->buffer + static_cast<size_t>(written));
}
/** `n` numbers at the beginning of the buffer, where their count is an argument. */
inline double* numbers(int64_t n, size_t each = 1) {
  if (n < 0 || static_cast<uint64_t>(n) > js->bufferLength / each) [[unlikely]]
    failMessage(static_cast<double>(n) * static_cast<double>(each));
  return js->buffer;
}

/** A buffer of at least so many numbers; what is in it stays. */
void growBuffer(size_t length);

/** Results, from the beginning of the buffer on. Ask for room first: then nothing fails half-way, and no handle is
 * lost. */
class Writer {
 public:
  explicit Writer(size_t countOfNumbers, size_t countOfTensors = 0) : Writer() { room(countOfNumbers, countOfTensors); }
  Writer() : at_(js->buffer), end_(js->buffer + js->bufferLength) {}

  void room(size_t countOfNumbers, size_t countOfTensors) {
    if (countOfTensors > 0) reserveSlots(countOfTensors);
    if (countOfNumbers <= static_cast<size_t>(end_ - at_)) [[likely]]
      return;
    const auto written = static_cast<size_t>(at_ - js->buffer);
    growBuffer(written + countOfNumbers);
    at_ = js->buffer + written;
    end_ = js->buffer + js->bufferLength;
  }

  void number(double d) {
    if (at_ == end_) [[unlikely]]
      failShort();
    *at_++ = d;
  }
  void integer(int64_t i) {
    if (i <= (1LL << 53) && i >= -(1LL << 53)) {
      number(static_cast<double>(i));
    } else {
      number(std::nan(""));
      number(std::bit_cast<double>(i));
    }
  }
  void tensor(at::Tensor&& t) { number(newHandle(std::move(t))); }
  void tensors(std::vector<at::Tensor>&& list) {
    for (auto& t : list)
      if (isOdd(t)) [[unlikely]]
        t = plain(std::move(t));
    room(list.size() + 1, list.size());
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

 private:
  double* at_;
  double* end_;
};

}  // namespace nbit
