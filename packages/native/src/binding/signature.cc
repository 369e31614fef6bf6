// Signatures of operators: kinds for the calls of this addon, and JSON for JavaScript, which reads the same letters.
#include "binding/signature.h"

#include "binding/args.h"
#include "entries/schemas.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <map>

namespace nbit {
namespace {

using c10::IValue;
using c10::TypeKind;

char letterOf(const c10::TypePtr& type) {
  switch (type->kind()) {
    case TypeKind::TensorType: return 't';
    case TypeKind::IntType:
    case TypeKind::SymIntType: return 'i';
    case TypeKind::FloatType:
    case TypeKind::SymFloatType: return 'f';
    case TypeKind::NumberType: return 's';
    case TypeKind::BoolType:
    case TypeKind::SymBoolType: return 'b';
    case TypeKind::StringType: return 'S';
    case TypeKind::ScalarTypeType: return 'd';
    case TypeKind::LayoutType: return 'l';
    case TypeKind::MemoryFormatType: return 'm';
    case TypeKind::DeviceObjType: return 'D';
    case TypeKind::GeneratorType: return 'g';
    default: return '?';
  }
}

int aliasOf(const c10::FunctionSchema& schema, const c10::Argument& ret) {
  const auto* info = ret.alias_info();
  if (!info || !info->isWrite()) return -1;
  for (size_t i = 0; i < schema.arguments().size(); i++) {
    const auto* other = schema.arguments()[i].alias_info();
    if (other && other->isWrite() && other->beforeSets() == info->beforeSets()) return static_cast<int>(i);
  }
  return -1;
}

std::string quote(const std::string& s) {
  std::string o = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') o += '\\';
    if (c == '\n') {
      o += "\\n";
      continue;
    }
    o += c;
  }
  return o + "\"";
}
std::string jsonDefault(const IValue& v) {
  if (v.isNone()) return "null";
  if (v.isBool()) return v.toBool() ? "true" : "false";
  if (v.isInt()) return std::to_string(v.toInt());
  if (v.isDouble()) {
    const double d = v.toDouble();
    if (std::isinf(d)) return d > 0 ? "\"inf\"" : "\"-inf\"";
    if (std::isnan(d)) return "\"nan\"";
    char text[40];
    snprintf(text, sizeof text, "%.17g", d);
    return text;
  }
  if (v.isString()) return quote(v.toStringRef());
  if (v.isDevice()) return quote(v.toDevice().str());
  if (v.isList()) {
    std::string o = "[";
    for (const auto& e : v.toListRef()) o += (o.size() > 1 ? "," : "") + jsonDefault(e);
    return o + "]";
  }
  return "null";
}
std::string jsonKind(const Kind& k) {
  return std::string("\"kind\":\"") + k.kind + "\"" + (k.optional ? ",\"optional\":true" : "") +
         (k.list ? ",\"list\":true" : "") + (k.elementOptional ? ",\"elementOptional\":true" : "");
}
std::string jsonSchema(const c10::FunctionSchema& s) {
  std::string o = "{\"name\":" + quote(s.name()) + ",\"overload\":" + quote(s.overload_name()) +
                  ",\"text\":" + quote(c10::toString(s)) + ",\"args\":[";
  bool first = true;
  for (const auto& a : s.arguments()) {
    o += first ? "{" : ",{";
    first = false;
    o += "\"name\":" + quote(a.name()) + "," + jsonKind(kindOf(a.real_type()));
    if (a.N()) o += ",\"size\":" + std::to_string(*a.N());
    if (a.kwarg_only()) o += ",\"kwarg\":true";
    if (a.alias_info() && a.alias_info()->isWrite()) o += ",\"write\":true";
    if (a.default_value()) o += ",\"default\":" + jsonDefault(*a.default_value());
    o += "}";
  }
  o += "],\"returns\":[";
  first = true;
  for (const auto& r : s.returns()) {
    o += first ? "{" : ",{";
    first = false;
    const auto [kind, alias] = returnOf(s, r);
    o += jsonKind(kind) + ",\"alias\":" + std::to_string(alias) +
         (r.name().empty() ? "" : ",\"name\":" + quote(r.name())) + "}";
  }
  return o + "]}";
}

using OverloadIndex = std::map<std::string, std::vector<std::string>>;
const OverloadIndex& overloadIndex() {
  static const OverloadIndex index = [] {
    OverloadIndex made;
    for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) made[name.name].push_back(name.overload_name);
    return made;
  }();
  return index;
}

}  // namespace

Kind kindOf(c10::TypePtr type) {
  Kind k;
  if (type->kind() == TypeKind::OptionalType) {
    k.optional = true;
    type = type->castRaw<c10::OptionalType>()->getElementType();
  }
  if (type->kind() == TypeKind::ListType) {
    k.list = true;
    type = type->castRaw<c10::ListType>()->getElementType();
    if (type->kind() == TypeKind::OptionalType) {
      k.elementOptional = true;
      type = type->castRaw<c10::OptionalType>()->getElementType();
    }
  }
  k.kind = letterOf(type);
  return k;
}

Return returnOf(const c10::FunctionSchema& schema, const c10::Argument& result) {
  return {kindOf(result.real_type()), aliasOf(schema, result)};
}

std::string entries::schemas(const Args& a) {
  const std::string name = a.text(0);
  std::string o = "[";
  auto found = overloadIndex().find(name);
  if (found != overloadIndex().end())
    for (const auto& overload : found->second) {
      auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
      if (handle) o += (o.size() > 1 ? "," : "") + jsonSchema(handle->schema());
    }
  return o + "]";
}
std::string entries::operatorNames() {
  std::string o;
  for (const auto& [name, overloads] : overloadIndex()) o += name + "\n";
  return o;
}

}  // namespace nbit
