// Autocast policies of one's own: a boxed kernel on the Autocast key of any operator, which casts its tensors as an
// active policy says, or else as libtorch would.
#include "amp/policy.h"

#include "amp/weight_casts.h"
#include "binding/core.h"
#include "binding/library.h"
#include "entries/policy.h"
#include "fused/linear.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/ones.h>
#include <torch/library.h>

#include <map>
#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace nbit {
namespace {

// none: as the inputs are. lower: the region's dtype. full: float32. promote: the widest input. banned: an error.
// banned16: an error for 16-bit inputs.
enum class Rule : uint8_t { none, lower, full, promote, banned, banned16 };

using Rules = std::unordered_map<std::string, Rule>;
struct Policy {
  c10::DeviceType device;
  Rules rules;  // "aten::mm.out" style: name, or name.overload
  const uint64_t serial = ++serials;
  static inline std::atomic<uint64_t> serials{0};
  std::shared_ptr<Rules> libtorch = std::make_shared<Rules>();  // what libtorch itself does with these
  std::vector<std::unique_ptr<torch::Library>> registrations;
  ~Policy();
};
struct State {
  std::map<double, std::shared_ptr<Policy>> policies;
  double last = 0;
  std::vector<std::shared_ptr<Policy>> active;  // innermost last; one that is freed meanwhile ends with its region
};
const EnvironmentLocal<State> state;

// Kernels are the whole process's: a thread may meet one that another thread's policy brought, and then does as
// libtorch would. Threads look at a copy of their own, made anew when the list has changed.
using Known = std::vector<std::pair<c10::DeviceType, std::shared_ptr<const Rules>>>;
std::mutex& knownMutex = *new std::mutex;
Known& known = *new Known;
std::atomic<uint64_t> knownVersion{0};

const Known& libtorchRules() {
  thread_local Known mine;
  thread_local uint64_t version = 0;
  if (version != knownVersion.load(std::memory_order_acquire)) {
    const std::lock_guard<std::mutex> lock(knownMutex);
    mine = known;
    version = knownVersion;
  }
  return mine;
}
void know(c10::DeviceType device, const std::shared_ptr<const Rules>& rules) {
  const std::lock_guard<std::mutex> lock(knownMutex);
  known.emplace_back(device, rules);
  ++knownVersion;
}
Policy::~Policy() {
  registrations.clear();
  const std::lock_guard<std::mutex> lock(knownMutex);
  std::erase_if(known, [&](const auto& k) { return k.second == libtorch; });
  ++knownVersion;
}

Rule parseRule(const std::string& s) {
  if (s == "lower") return Rule::lower;
  if (s == "float32") return Rule::full;
  if (s == "promote") return Rule::promote;
  if (s == "banned") return Rule::banned;
  if (s == "banned16") return Rule::banned16;
  return Rule::none;
}

bool castable(const at::Tensor& t, c10::DeviceType device) {
  return t.defined() && t.device().type() == device && at::isFloatingType(t.scalar_type()) &&
         t.scalar_type() != at::kDouble;
}

template <class Fn>
void eachTensor(torch::jit::Stack& stack, size_t count, Fn fn) {
  for (size_t i = stack.size() - count; i < stack.size(); i++) {
    c10::IValue& v = stack[i];
    if (v.isTensor()) {
      v = fn(v.toTensor());
    } else if (v.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor t : v.toTensorList()) list.push_back(fn(t));
      v = list;
    }
  }
}

Rule ruleOf(const c10::OperatorName& name, c10::DeviceType device, Rule otherwise = Rule::none) {
  if (Environment* const here = workingFor(); here != nullptr && here->watchers > 0) {
    const auto& active = state.of(*here).active;
    for (auto p = active.rbegin(); p != active.rend(); ++p) {
      if ((*p)->device != device) continue;
      const auto found = (*p)->rules.find(name.name);
      if (found != (*p)->rules.end()) return found->second;
    }
  }
  for (const auto& [of, rules] : libtorchRules()) {
    if (of != device) continue;
    const auto found = rules->find(name.name);
    if (found != rules->end()) return found->second;
  }
  return otherwise;
}

at::Tensor castTo(at::ScalarType target, const at::Tensor& t, c10::DeviceType device) {
  if (!castable(t, device) || t.scalar_type() == target) return t;
  if (at::Tensor kept = cachedWeightCast(target, t); kept.defined()) return kept;
  return at::autocast::cached_cast(target, t, device);
}

template <c10::DeviceType device>
void policyKernel(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const Rule rule = ruleOf(op.operator_name(), device);
  const size_t count = op.schema().arguments().size();
  bool banned = rule == Rule::banned;
  if (rule == Rule::banned16)
    eachTensor(*stack, count, [&](const at::Tensor& t) {
      banned = banned || (t.defined() && (t.scalar_type() == at::kHalf || t.scalar_type() == at::kBFloat16));
      return t;
    });
  if (banned)
    fail("AMP_BANNED",
         "this operator is unsafe in 16 bits under this policy. Use its form on logits, or put it in autocast({ "
         "enabled: false }, …)");
  const c10::impl::ExcludeDispatchKeyGuard outside(at::autocast::get_autocast_dispatch_key_from_device_type(device));
  if (rule != Rule::none && rule != Rule::banned16) {
    at::ScalarType target = rule == Rule::lower ? at::autocast::get_autocast_dtype(device) : at::kFloat;
    bool cast = true;
    if (rule == Rule::promote) {
      target = at::autocast::get_autocast_dtype(device);
      bool any = false;
      eachTensor(*stack, count, [&](const at::Tensor& t) {
        if (castable(t, device)) {
          any = true;
          if (t.scalar_type() == at::kFloat) target = at::kFloat;
        }
        return t;
      });
      cast = any;
    }
    if (cast) eachTensor(*stack, count, [&](const at::Tensor& t) { return castTo(target, t, device); });
  }
  op.callBoxed(stack);
}

// The operator that nearly all weights go through, without the boxes. The same as policyKernel does.
template <c10::DeviceType device>
at::Tensor linearKernel(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("aten::linear", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&)>();
  if (ruleOf(op.operator_name(), device, Rule::lower) != Rule::lower) {
    torch::jit::Stack stack{input, weight, bias};
    policyKernel<device>(op, &stack);
    return std::move(stack.front()).toTensor();
  }
  const at::ScalarType target = at::autocast::get_autocast_dtype(device);
  const c10::impl::ExcludeDispatchKeyGuard outside(at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const at::Tensor lower = castTo(target, input, device);
  if constexpr (device == c10::kCUDA)
    if (at::Tensor out = mixedLinear(lower, weight, bias); out.defined()) return out;
  return op.call(lower, castTo(target, weight, device),
                 bias ? std::optional<at::Tensor>(castTo(target, *bias, device)) : std::nullopt);
}

void registerLinear(torch::Library& library, c10::DeviceType device) {
  library.impl("linear", device == c10::kCPU ? torch::CppFunction(TORCH_FN((linearKernel<c10::kCPU>)))
                                             : torch::CppFunction(TORCH_FN((linearKernel<c10::kCUDA>))));
}

std::vector<std::string> split(const std::string& s, char by) {
  std::vector<std::string> parts;
  size_t from = 0;
  for (size_t at = s.find(by); at != std::string::npos; at = s.find(by, from)) {
    parts.push_back(s.substr(from, at - from));
    from = at + 1;
  }
  parts.push_back(s.substr(from));
  return parts;
}
}  // namespace

double entries::policyCreate(const Args& a) {
  auto policy = std::make_shared<Policy>();
  policy->device = a.deviceType(0);
  if (policy->device != c10::kCPU && policy->device != c10::kCUDA)
    fail("NBIT_UNSUPPORTED", "autocast policies exist for cpu and cuda");
  const auto key = at::autocast::get_autocast_dispatch_key_from_device_type(policy->device);
  const Quiet replacing;
  auto library = std::make_unique<torch::Library>(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
  for (const auto& line : split(a.text(1), '\n')) {
    const auto fields = split(line, '\t');
    if (fields.size() != 3) continue;
    const std::string name = "aten::" + fields[0];
    bool exists = false;
    for (const auto& op : c10::Dispatcher::singleton().getAllOpNames()) {
      if (op.name != name) continue;
      const auto handle = c10::Dispatcher::singleton().findSchema(op);
      if (!handle) continue;
      exists = true;
      if (fields[1] == "libtorch" && !handle->hasKernelForDispatchKey(key)) continue;  // libtorch casts nothing there
      const std::string full = op.overload_name.empty() ? fields[0] : fields[0] + "." + op.overload_name;
      if (full == "linear") registerLinear(*library, policy->device);
      else if (policy->device == c10::kCPU)
        library->impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&policyKernel<c10::kCPU>>());
      else library->impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&policyKernel<c10::kCUDA>>());
    }
    if (!exists) fail("ERR_NO_OPERATOR", "this libtorch has no operator " + name);
    if (fields[1] != "libtorch")
      policy->rules[name] = parseRule(fields[1]);  // else its kernel is there for the casts alone
    (*policy->libtorch)[name] = parseRule(fields[2]);
  }
  policy->registrations.push_back(std::move(library));
  know(policy->device, policy->libtorch);
  auto& mine = state();
  mine.policies[++mine.last] = std::move(policy);
  return mine.last;
}
void entries::policyFree(const Args& a) { state().policies.erase(a.number(0)); }
void entries::policyPush(const Args& a) {
  auto& [policies, last, active] = state();
  const auto found = policies.find(a.number(0));
  if (found == policies.end()) fail("ERR_ARGUMENT", "expected a policy that is in use");
  active.push_back(found->second);
  ++js->watchers;
}
uint64_t activePolicies() {
  uint64_t all = 0;
  for (const auto& policy : state().active) all = all * 1099511628211u + policy->serial;
  return all;
}
void entries::policyPop() {
  auto& active = state().active;
  if (active.empty()) return;
  active.pop_back();
  --js->watchers;
}
namespace {
/** What stands for an argument when only the casts before a call matter: small tensors of ones, and the plainest of
 * everything else. `narrow`: which tensors are bfloat16; 0 none, 1 all, 2 the first. */
c10::IValue sampleOf(const c10::Argument& a, c10::Device device, int narrow, int& position) {
  const auto ones = [&] {
    return at::ones({2, 2}, at::TensorOptions().device(device).dtype(
                                narrow == 1 || (narrow == 2 && position++ == 0) ? at::kBFloat16 : at::kFloat));
  };
  if (a.kwarg_only() && a.default_value()) return *a.default_value();
  c10::TypePtr type = a.real_type();
  if (type->kind() == c10::TypeKind::OptionalType) return {};
  const bool list = type->kind() == c10::TypeKind::ListType;
  if (list) type = type->castRaw<c10::ListType>()->getElementType();
  const auto n = static_cast<size_t>(a.N().value_or(2));
  switch (type->kind()) {
    case c10::TypeKind::TensorType:
      return list ? c10::IValue(std::vector<at::Tensor>{ones(), ones()}) : c10::IValue(ones());
    case c10::TypeKind::OptionalType: return c10::IValue(c10::List<std::optional<at::Tensor>>());
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: return list ? c10::IValue(std::vector<int64_t>(n, 1)) : c10::IValue(1);
    case c10::TypeKind::FloatType:
    case c10::TypeKind::SymFloatType: return list ? c10::IValue(std::vector<double>(n, 1.0)) : c10::IValue(1.0);
    case c10::TypeKind::NumberType: return c10::IValue(1);
    case c10::TypeKind::BoolType: return list ? c10::IValue(c10::List<bool>({true, true, true})) : c10::IValue(false);
    case c10::TypeKind::StringType:
      return a.default_value() && a.default_value()->isString() ? *a.default_value() : c10::IValue("none");
    case c10::TypeKind::ScalarTypeType: return c10::IValue(static_cast<int64_t>(at::kFloat));
    case c10::TypeKind::DeviceObjType: return c10::IValue(device);
    default: fail("NBIT_UNSUPPORTED", "no sample of an argument of this type");
  }
}
}  // namespace
void entries::autocastProbe(const Args& a) {
  const std::string name = a.text(0), overload = a.text(1);
  const c10::DeviceType type = a.deviceType(2);
  const int narrow = static_cast<int>(a.integer(3));
  const auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!handle || !handle->hasKernelForDispatchKey(at::autocast::get_autocast_dispatch_key_from_device_type(type)))
    fail("ERR_ARGUMENT", "expected an operator that autocast knows");
  torch::jit::Stack stack;
  int position = 0;
  for (const c10::Argument& argument : handle->schema().arguments())
    stack.push_back(sampleOf(argument, c10::Device(type), narrow, position));
  handle->callBoxed(stack);
}
std::string entries::dumpKernels(const Args& a) {
  auto handle = c10::Dispatcher::singleton().findOp({a.text(0), a.text(1)});
  return handle ? handle->dumpState() : std::string();
}

void registerAutocastLinear() {
  const Quiet replacing;
  static std::once_flag once;
  std::call_once(once, [] {
    static auto& library =
        *new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::AutocastCUDA, __FILE__, __LINE__);
    registerLinear(library, c10::kCUDA);
  });
}

}  // namespace nbit
