#include "program/text.h"

#include <ATen/core/Generator.h>

#include <charconv>
#include <cmath>

namespace nbit::program {
namespace {

void quoted(std::string& o, std::string_view text) {
  o += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') o += '\\';
    o += c;
  }
  o += '"';
}

void real(std::string& o, double d) {
  if (std::isnan(d)) o += "{\"number\":\"NaN\"}";
  else if (std::isinf(d)) o += d > 0 ? "{\"number\":\"Infinity\"}" : "{\"number\":\"-Infinity\"}";
  else {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, d).ptr;
    std::string_view text(digits, static_cast<size_t>(end - digits));
    o += "{\"float\":";
    o += text;
    o += '}';
  }
}
void whole(std::string& o, int64_t i) {
  if (i <= (1LL << 53) && i >= -(1LL << 53)) o += std::to_string(i);
  else o += "{\"integer\":\"" + std::to_string(i) + "\"}";
}

template <class List, class Each>
void list(std::string& o, const List& items, Each each) {
  o += '[';
  bool first = true;
  for (const auto& item : items) {
    if (!first) o += ',';
    first = false;
    each(item);
  }
  o += ']';
}
void integers(std::string& o, const std::vector<int64_t>& items) {
  list(o, items, [&](int64_t i) { whole(o, i); });
}
void ids(std::string& o, const std::vector<int32_t>& items) {
  list(o, items, [&](int32_t i) { o += i < 0 ? "null" : std::to_string(i); });
}

void constant(std::string& o, const c10::IValue& v) {
  if (v.isNone() || (v.isTensor() && !v.toTensor().defined())) o += "null";
  else if (v.isInt()) whole(o, v.toInt());
  else if (v.isSymInt()) whole(o, v.toSymInt().guard_int(__FILE__, __LINE__));
  else if (v.isDouble()) real(o, v.toDouble());
  else if (v.isBool()) o += v.toBool() ? "true" : "false";
  else if (v.isString()) quoted(o, v.toStringRef());
  else if (v.isDevice()) {
    o += "{\"device\":";
    quoted(o, v.toDevice().str());
    o += '}';
  } else if (v.isGenerator()) {
    o += "{\"generator\":";
    o += v.toGenerator().defined() ? "true}" : "false}";
  } else if (v.isComplexDouble()) {
    const auto c = v.toComplexDouble();
    o += "{\"complex\":[";
    real(o, c.real());
    o += ',';
    real(o, c.imag());
    o += "]}";
  } else if (v.isList()) {
    list(o, v.toListRef(), [&](const c10::IValue& item) { constant(o, item); });
  } else {
    o += "{\"other\":";
    quoted(o, v.tagKind());
    o += '}';
  }
}

void argument(std::string& o, const Argument& a) {
  switch (a.kind) {
    case Argument::Kind::constant: constant(o, a.constant); return;
    case Argument::Kind::one: o += "{\"value\":" + std::to_string(a.values[0]) + "}"; return;
    default:
      o += "{\"values\":";
      ids(o, a.values);
      o += '}';
  }
}

}  // namespace

std::string toText(const Program& p) {
  std::string o = "{\"buffers\":";
  list(o, p.buffers, [&](const Buffer& b) {
    o += "{\"bytes\":" + std::to_string(b.bytes) + ",\"origin\":\"";
    o += b.origin == Buffer::Origin::made ? "made" : b.origin == Buffer::Origin::number ? "number" : "external";
    o += b.written ? "\",\"written\":true}" : "\",\"written\":false}";
  });
  o += ",\"values\":";
  list(o, p.values, [&](const Value& v) {
    o += "{\"buffer\":" + std::to_string(v.buffer) + ",\"offset\":" + std::to_string(v.offset) +
         ",\"dtype\":" + std::to_string(static_cast<int>(v.dtype)) + ",\"shape\":";
    integers(o, v.sizes);
    o += ",\"strides\":";
    integers(o, v.strides);
    if (v.tensor.defined() && p.buffers[v.buffer].origin == Buffer::Origin::number) {
      o += ",\"number\":";
      constant(o, c10::IValue(v.tensor.item()));
    }
    o += '}';
  });
  o += ",\"operators\":";
  list(o, p.operations, [&](const Operation& operation) {
    const auto& schema = operation.op.schema();
    o += "{\"name\":";
    quoted(o, schema.name());
    o += ",\"overload\":";
    quoted(o, schema.overload_name());
    o += ",\"arguments\":{";
    for (size_t i = 0; i < operation.arguments.size(); i++) {
      if (i > 0) o += ',';
      quoted(o, schema.arguments()[i].name());
      o += ':';
      argument(o, operation.arguments[i]);
    }
    o += "},\"results\":";
    ids(o, operation.results);
    o += ",\"writes\":";
    ids(o, operation.written);
    if (operation.forward >= 0) o += ",\"forward\":" + std::to_string(operation.forward);
    o += '}';
  });
  return o + "}";
}

}  // namespace nbit::program
