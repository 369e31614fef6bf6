// Every operator of the dispatcher, called with arguments from the shared buffer. Converters are compiled once per
// overload from its schema; operators on the hot list have a generated direct call with the same layout of arguments.
#include "binding/dispatch.h"

#include "amp/autocast.h"
#include "binding/core.h"
#include "binding/guards.h"
#include "binding/hot.h"
#include "binding/random.h"
#include "entries/dispatch.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ScalarOps.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <deque>
#include <map>
#include <unordered_set>
#include <unordered_map>

namespace nbit {
namespace {

using c10::IValue;
using c10::TypeKind;

// One letter per kind, the same letters that JavaScript reads in a schema.
char kindOf(const c10::TypePtr& type) {
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

struct Kind {
  char kind = '?';
  bool optional = false;         // T?
  bool list = false;             // T[]
  bool elementOptional = false;  // T?[]
  c10::TypePtr element;          // of a list
};

Kind describe(c10::TypePtr type) {
  Kind k;
  if (type->kind() == TypeKind::OptionalType) {
    k.optional = true;
    type = type->castRaw<c10::OptionalType>()->getElementType();
  }
  if (type->kind() == TypeKind::ListType) {
    k.list = true;
    k.element = type->castRaw<c10::ListType>()->getElementType();
    type = k.element;
    if (type->kind() == TypeKind::OptionalType) {
      k.elementOptional = true;
      type = type->castRaw<c10::OptionalType>()->getElementType();
    }
  }
  k.kind = kindOf(type);
  return k;
}

struct Return {
  Kind kind;
  int alias = -1;  // the written argument that this result is: JavaScript returns that object
};

struct Operator {
  c10::OperatorHandle handle;
  std::string name;
  std::vector<Kind> arguments;
  std::vector<Return> returns;
  DirectCall direct = nullptr;
  bool writes = false;              // one of its arguments
  std::vector<uint32_t> uncounted;  // written arguments whose version counters the operator leaves alone
  uint64_t lastCall = 0;
  std::vector<Guard> guards;
  // Generated kernels take any layout, and hand it to code that reads memory in strides: an opaque tensor has none.
  bool readsMemory = false;
};
/** What an environment has asked for so far. */
struct Compiled {
  struct {
    std::deque<Operator> operators;  // a compile during a call moves nothing
    std::unordered_map<std::string, uint32_t> ids;
  } known;
  std::vector<std::string> interned{""};
  uint64_t calls = 0;
  // The stack is reused; a nested call (a backward in JavaScript) brings its own.
  torch::jit::Stack stack;
  bool stackBusy = false;
};
const EnvironmentLocal<Compiled> compiled;

struct StackLease {
  Compiled& home;
  torch::jit::Stack own;
  const bool shared;
  torch::jit::Stack& stack;
  explicit StackLease(Compiled& c) : home(c), shared(!c.stackBusy), stack(shared ? c.stack : own) {
    home.stackBusy = true;
    stack.clear();
  }
  ~StackLease() {
    stack.clear();
    if (shared) home.stackBusy = false;
  }
};

IValue readOne(Reader& in, char kind) {
  switch (kind) {
    case 'i': return in.integer();
    case 'd': return static_cast<int64_t>(in.dtype());
    case 'l':
      return static_cast<int64_t>(
          codeBelow(in.number(), static_cast<int>(c10::Layout::NumOptions), "the code of a layout"));
    case 'm':
      return static_cast<int64_t>(
          codeBelow(in.number(), static_cast<int>(c10::MemoryFormat::NumOptions), "the code of a memory format"));
    case 'f': return in.number();
    case 's': return in.scalar();
    case 'b': return in.flag();
    case 'S': return internedAt(in.number());
    case 'D': return decodeDevice(in.number());
    case 'g': return generatorAt(in.number());
    default: fail("NBIT_UNSUPPORTED", "an argument of this operator has a type that cannot come from JavaScript");
  }
}

template <class T, class Read>
IValue readList(Reader& in, size_t n, Read read) {
  c10::List<T> list;
  list.reserve(n);
  for (size_t i = 0; i < n; i++) list.push_back(read(in));
  return list;
}

void readArgument(Reader& in, const Kind& k, torch::jit::Stack& stack) {
  if (!k.list) {
    if (k.kind == 't') {
      if (k.optional && in.peek() == 0) {
        in.number();
        stack.emplace_back();
      } else {
        stack.emplace_back(in.tensor());
      }
      return;
    }
    if (k.optional && !in.flag()) {
      stack.emplace_back();
      return;
    }
    stack.push_back(readOne(in, k.kind));
    return;
  }
  if (in.peek() < 0) {
    in.number();
    stack.emplace_back();
    return;
  }
  const size_t n = in.count();
  switch (k.kind) {
    case 't':
      if (k.elementOptional) {
        stack.push_back(readList<std::optional<at::Tensor>>(in, n, [](Reader& r) { return r.maybeTensor(); }));
      } else {
        stack.push_back(readList<at::Tensor>(in, n, [](Reader& r) -> const at::Tensor& { return r.tensor(); }));
      }
      return;
    case 'i':
    case 'd':
    case 'l':
    case 'm': stack.push_back(readList<int64_t>(in, n, [&](Reader& r) { return readOne(r, k.kind).toInt(); })); return;
    case 'f': stack.push_back(readList<double>(in, n, [](Reader& r) { return r.number(); })); return;
    case 'b': stack.push_back(readList<bool>(in, n, [](Reader& r) { return r.flag(); })); return;
    case 's': {
      c10::impl::GenericList list(c10::NumberType::get());
      for (size_t i = 0; i < n; i++) list.push_back(IValue(in.scalar()));
      stack.emplace_back(std::move(list));
      return;
    }
    case 'S': stack.push_back(readList<std::string>(in, n, [](Reader& r) { return internedAt(r.number()); })); return;
    default: fail("NBIT_UNSUPPORTED", "an argument of this operator has a type that cannot come from JavaScript");
  }
}

void writeOne(Writer& out, IValue v) {
  if (v.isTensor()) out.tensor(std::move(v).toTensor());
  else if (v.isNone()) out.number(std::nan(""));
  else if (v.isInt() || v.isSymInt()) out.integer(v.isInt() ? v.toInt() : v.toSymInt().guard_int(__FILE__, __LINE__));
  else if (v.isDouble()) out.number(v.toDouble());
  else if (v.isBool()) out.number(v.toBool());
  else if (v.isDevice()) out.number(encodeDevice(v.toDevice()));
  else if (v.isComplexDouble()) out.scalar(v.toScalar());
  else fail("NBIT_UNSUPPORTED", "this operator returns a value that JavaScript cannot hold: " + v.tagKind());
}

void writeReturns(const Operator& op, torch::jit::Stack& stack) {
  size_t most = 0, tensors = 0;
  for (size_t i = 0; i < op.returns.size(); i++) {
    const Return& r = op.returns[i];
    if (r.alias >= 0) continue;
    const size_t n = !r.kind.list              ? 1
                     : stack[i].isTensorList() ? stack[i].toTensorList().size()
                                               : stack[i].toList().size();
    most += 1 + 3 * n;
    if (r.kind.kind != 't') continue;
    tensors += n;
    if (stack[i].isTensor() && isOdd(stack[i].toTensor())) [[unlikely]]
      stack[i] = plain(std::move(stack[i]).toTensor());
    if (!stack[i].isTensorList()) continue;
    auto list = stack[i].toTensorList();
    for (size_t j = 0; j < n; j++)
      if (isOdd(list.get(j))) [[unlikely]]
        list.set(j, plain(list.extract(j)));
  }
  Writer out(most, tensors);
  for (size_t i = 0; i < op.returns.size(); i++) {
    const Return& r = op.returns[i];
    if (r.alias >= 0) continue;
    IValue& v = stack[i];
    if (r.kind.list) {
      if (v.isTensorList()) {
        auto list = v.toTensorList();
        out.number(static_cast<double>(list.size()));
        for (size_t j = 0; j < list.size(); j++) out.tensor(list.extract(j));
      } else {
        auto list = v.toList();
        out.number(static_cast<double>(list.size()));
        for (size_t j = 0; j < list.size(); j++) writeOne(out, IValue(list.get(j)));
      }
    } else if (r.kind.kind == 's') {
      out.scalar(v.toScalar());
    } else {
      writeOne(out, std::move(v));
    }
  }
}

/** libtorch's operators that write without counting, but for fused steps (ops/aten.ts). Ours never count.
 * tests/parity/ops/writers.test.ts finds others. */
const std::unordered_set<std::string> kUncounted{"aten::_amp_foreach_non_finite_check_and_unscale_",
                                                 "aten::rrelu_with_noise",
                                                 "aten::rrelu_with_noise_",
                                                 "aten::_add_relu",
                                                 "aten::kron",
                                                 "aten::set_data"};
std::vector<uint32_t> uncountedOf(const c10::FunctionSchema& schema) {
  std::vector<uint32_t> found;
  if (schema.operator_name().getNamespace() != "nbit" && !kUncounted.count(schema.name())) return found;
  for (uint32_t i = 0; i < schema.arguments().size(); i++) {
    const auto* alias = schema.arguments()[i].alias_info();
    if (alias && alias->isWrite()) found.push_back(i);
  }
  return found;
}
/** Tensors that an operator writes: what is kept of them is then known to be old. */
struct Written {
  std::vector<at::Tensor> tensors;
  Written(const Operator& op, const torch::jit::Stack& stack) {
    for (const uint32_t i : op.uncounted) {
      const IValue& v = stack[i];
      if (v.isTensor()) tensors.push_back(v.toTensor());
      else if (v.isTensorList())
        for (const at::Tensor& t : v.toTensorVector()) tensors.push_back(t);
    }
  }
  void count() const {
    for (const at::Tensor& t : tensors)
      if (t.defined() && !t.is_inference()) t.unsafeGetTensorImpl()->bump_version();
  }
};

void callBoxed(Compiled& c, Operator& op, Reader& in) {
  StackLease lease(c);
  for (const Kind& k : op.arguments) readArgument(in, k, lease.stack);
  if (!op.guards.empty()) [[unlikely]] {
    const Arguments given(op.handle.schema(), lease.stack);
    for (const Guard& guard : op.guards) guard(given);
  }
  if (op.readsMemory) {
    for (const IValue& v : lease.stack)
      if (v.isTensor() && v.toTensor().is_mkldnn()) [[unlikely]]
        TORCH_CHECK_NOT_IMPLEMENTED(false,
                                    "expected strided tensors. Received: one in layout mkldnn (call toDense first).");
  }
  const Written written(op, lease.stack);
  op.handle.callBoxed(lease.stack);
  written.count();
  writeReturns(op, lease.stack);
}

// ---------------------------------------------------------------- schemas as JSON
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
int aliasOf(const c10::FunctionSchema& schema, const c10::Argument& ret) {
  const auto* info = ret.alias_info();
  if (!info || !info->isWrite()) return -1;
  for (size_t i = 0; i < schema.arguments().size(); i++) {
    const auto* other = schema.arguments()[i].alias_info();
    if (other && other->isWrite() && other->beforeSets() == info->beforeSets()) return static_cast<int>(i);
  }
  return -1;
}
std::string jsonSchema(const c10::FunctionSchema& s) {
  std::string o = "{\"name\":" + quote(s.name()) + ",\"overload\":" + quote(s.overload_name()) +
                  ",\"text\":" + quote(c10::toString(s)) + ",\"args\":[";
  bool first = true;
  for (const auto& a : s.arguments()) {
    o += first ? "{" : ",{";
    first = false;
    o += "\"name\":" + quote(a.name()) + "," + jsonKind(describe(a.real_type()));
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
    o += jsonKind(describe(r.real_type())) + ",\"alias\":" + std::to_string(aliasOf(s, r)) +
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

uint32_t compile(const std::string& name, const std::string& overload) {
  auto& [operators, operatorIds] = compiled().known;
  const std::string key = name + "." + overload;
  if (auto known = operatorIds.find(key); known != operatorIds.end()) return known->second;
  Operator op{c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), overload.c_str()),
              name + (overload.empty() ? "" : "." + overload),
              {},
              {},
              nullptr,
              false,
              {},
              0,
              {}};
  const auto& schema = op.handle.schema();
  for (const auto& a : schema.arguments()) op.arguments.push_back(describe(a.real_type()));
  for (const auto& r : schema.returns()) op.returns.push_back({describe(r.real_type()), aliasOf(schema, r)});
  op.guards = guardsOf(schema);
  op.uncounted = uncountedOf(schema);
  op.direct = op.guards.empty() && op.uncounted.empty() ? findDirect(c10::toString(schema)) : nullptr;
  op.writes = schema.is_mutable();
  op.readsMemory = op.handle.hasKernelForDispatchKey(c10::DispatchKey::CompositeExplicitAutogradNonFunctional) &&
                   !op.handle.hasKernelForDispatchKey(c10::DispatchKey::MkldnnCPU);
  operators.push_back(std::move(op));
  operatorIds[key] = operators.size() - 1;
  return operators.size() - 1;
}
}  // namespace

at::Tensor wrappedNumber(const at::Scalar& value) {
  at::Tensor t = c10::scalar_to_tensor(value);
  t.unsafeGetTensorImpl()->set_wrapped_number(true);
  return t;
}

const std::string& internedAt(double id) {
  const auto& interned = compiled().interned;
  if (!(id >= 0 && id < static_cast<double>(interned.size()))) fail("ERR_ARGUMENT", "unknown string id");
  return interned[static_cast<size_t>(id)];
}

void entries::call(const char*& name) {
  Reader in = message();
  const double id = in.number();
  Compiled& c = compiled();
  if (!(id >= 0 && id < static_cast<double>(c.known.operators.size()))) [[unlikely]]
    fail("ERR_ARGUMENT", "unknown operator id");
  Operator& op = c.known.operators[static_cast<size_t>(id)];
  name = op.name.c_str();
  op.lastCall = ++c.calls;
  if (op.direct) op.direct(in.at, in.end);
  else callBoxed(c, op, in);
  if (op.writes) forgetCasts();
  if (js->drainNeeded.load(std::memory_order_relaxed)) [[unlikely]]
    drain();
}
double entries::compileOp(const Args& a) { return static_cast<double>(compile(a.text(0), a.text(1))); }
bool entries::isDirect(const Args& a) {
  const auto& operators = compiled().known.operators;
  const auto id = static_cast<size_t>(a.integer(0));
  return id < operators.size() && operators[id].direct != nullptr;
}
void entries::setDirectCalls(const Args& a) {
  const bool on = a.flag(0);
  for (Operator& op : compiled().known.operators)
    op.direct = on && op.guards.empty() ? findDirect(c10::toString(op.handle.schema())) : nullptr;
}
double entries::intern(const Args& a) {
  auto& interned = compiled().interned;
  interned.push_back(a.text(0));
  return static_cast<double>(interned.size() - 1);
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

std::string entries::recentOperators() {
  const auto& operators = compiled().known.operators;
  std::vector<const Operator*> called;
  for (const Operator& op : operators)
    if (op.lastCall != 0) called.push_back(&op);
  std::sort(called.begin(), called.end(),
            [](const Operator* a, const Operator* b) { return a->lastCall > b->lastCall; });
  std::string o;
  for (const Operator* op : called) o += op->name + "\n";
  return o;
}

}  // namespace nbit
