// Every operator of the dispatcher, called with arguments from the shared buffer. Converters are compiled once per
// overload from its schema; operators on the hot list have a generated direct call with the same layout of arguments.
#include "binding/dispatch.h"

#include "amp/autocast.h"
#include "binding/boxed_values.h"
#include "binding/core.h"
#include "binding/guards.h"
#include "binding/hot.h"
#include "entries/dispatch.h"
#include "program/session.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ScalarOps.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <deque>
#include <unordered_set>
#include <unordered_map>

namespace nbit {
namespace {

using c10::IValue;

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

/** libtorch's operators that write without counting, but for fused steps (ops/aten.ts). Ours never count; our fused
 * step is none that should, as a graph from before it may go backward after it. tests/parity/ops/writers.test.ts finds
 * others. */
const std::unordered_set<std::string> kUncounted{"aten::_amp_foreach_non_finite_check_and_unscale_",
                                                 "aten::rrelu_with_noise",
                                                 "aten::rrelu_with_noise_",
                                                 "aten::_add_relu",
                                                 "aten::kron",
                                                 "aten::set_data"};
std::vector<uint32_t> uncountedOf(const c10::FunctionSchema& schema) {
  std::vector<uint32_t> found;
  const bool ours = schema.operator_name().getNamespace() == "nbit" && schema.name() != "nbit::fused_adam_";
  if (!ours && !kUncounted.count(schema.name())) return found;
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
  writeReturns(op.returns, lease.stack);
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
  for (const auto& a : schema.arguments()) op.arguments.push_back(kindOf(a.real_type()));
  for (const auto& r : schema.returns()) op.returns.push_back(returnOf(schema, r));
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

Signature signatureOf(uint32_t id) {
  const Operator& op = compiled().known.operators[id];
  return {op.name, op.arguments, op.returns};
}
void callOperator(uint32_t id, const char*& name) {
  Reader in = message();
  in.number();
  Compiled& c = compiled();
  Operator& op = c.known.operators[id];
  name = op.name.c_str();
  op.lastCall = ++c.calls;
  if (op.direct) op.direct(in.at, in.end);
  else callBoxed(c, op, in);
  if (op.writes) forgetCasts();
  if (js->drainNeeded.load(std::memory_order_relaxed)) [[unlikely]]
    drain();
}

void entries::call(const char*& name) {
  const double id = message().number();
  if (!(id >= 0 && id < static_cast<double>(compiled().known.operators.size()))) [[unlikely]]
    fail("ERR_ARGUMENT", "unknown operator id");
  if (program::session != nullptr) [[unlikely]]
    program::callInSession(static_cast<uint32_t>(id), name);
  else callOperator(static_cast<uint32_t>(id), name);
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
