// The recorder sits on a dispatch key that libtorch leaves unused on the way from autograd to the devices' kernels: it
// sees what autograd's forward and backward call, with autocast's casts among it, and not what those calls call.
#include "program/recorder.h"

#include "binding/errors.h"
#include "binding/library.h"

#include <ATen/SequenceNumber.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <torch/csrc/autograd/function.h>

#include <algorithm>

namespace nbit::program {

constinit thread_local Recorder* recording __attribute__((tls_model("initial-exec"))) = nullptr;
constinit thread_local LeaveReplay leaveReplay __attribute__((tls_model("initial-exec"))) = nullptr;

std::atomic<uint64_t> settings{0};

namespace {

constexpr auto kKey = c10::DispatchKey::Fake;

void record(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard once(kKey);
  const auto below = keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kKey);
  if (recording == nullptr || !recording->refusal().empty()) return op.redispatchBoxed(below, stack);
  recording->call(op, below, stack);
}

void recordAll(torch::Library& m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&record>()); }
const Registration noted(torch::Library::IMPL, "_", kKey, recordAll, __FILE__, __LINE__);

/** Training writes running statistics, and the schema does not say so. */
bool writesSilently(std::string_view op, std::string_view argument) {
  return (op == "aten::native_batch_norm" || op == "aten::cudnn_batch_norm" || op == "aten::miopen_batch_norm") &&
         (argument == "running_mean" || argument == "running_var");
}

bool isRead(const c10::OperatorHandle& op) {
  return op.hasTag(at::Tag::data_dependent_output) || op.hasTag(at::Tag::dynamic_output_shape);
}

}  // namespace

bool listens() { return c10::impl::tls_is_dispatch_key_included(kKey); }
void listen(bool on) { c10::impl::tls_set_dispatch_key_included(kKey, on); }

int32_t find(const Program& program, const at::Tensor& t) {
  if (!t.has_storage()) return -1;
  for (size_t i = 0; i < program.values.size(); i++) {
    const Value& v = program.values[i];
    if (program.buffers[v.buffer].where._unsafe_get_target() == t.storage().unsafeGetStorageImpl() && isViewOf(v, t))
      return static_cast<int32_t>(i);
  }
  return -1;
}

void Recorder::refuse(const std::string& reason) {
  if (!refusal_.empty()) return;
  refusal_ = reason;
  if (onRefusal != nullptr) onRefusal();
}

void Recorder::call(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack) {
  const std::string& name = op.schema().name();
  if (followsJavaScript && name == "aten::_local_scalar_dense") return op.redispatchBoxed(below, stack);
  if (isRead(op)) refuse(name + " reads a number or a shape from values");
  else if (op.hasTag(at::Tag::inplace_view)) refuse(name + " changes the shape of a tensor in place");
  else if (name.ends_with("::set_") || name.ends_with("::resize_") || name.ends_with("::resize_as_"))
    refuse(name + " gives a tensor other memory");
  if (!refusal_.empty()) return op.redispatchBoxed(below, stack);
  if (onOperation) onOperation();
  std::vector<at::Tensor> written;
  Operation operation = argumentsOf(op, *stack, written);
  op.redispatchBoxed(below, stack);
  if (!refusal_.empty()) return;
  for (size_t i = 0; i < written.size(); i++)
    if (find(written[i]) != operation.written[i]) return refuse(name + " gives a tensor another shape");
  resultsOf(operation, *stack);
  operation.forward = forwardOf(static_cast<int32_t>(program.operations.size()));
  program.operations.push_back(std::move(operation));
  if (onNoted != nullptr) onNoted();
}

int32_t Recorder::forwardOf(int32_t index) {
  if (const auto node = torch::autograd::get_current_node()) {
    const auto found = bySequence_.find(node->sequence_nr());
    return found == bySequence_.end() ? -1 : found->second;
  }
  // Autograd makes a node before it calls what is recorded here: the latest number is that of this operation's.
  if (c10::GradMode::is_enabled()) bySequence_.try_emplace(at::sequence_number::peek() - 1, index);
  return -1;
}

Operation Recorder::argumentsOf(const c10::OperatorHandle& op, const torch::jit::Stack& stack,
                                std::vector<at::Tensor>& written) {
  const auto& arguments = op.schema().arguments();
  Operation operation{op, {}, {}, {}, c10::GradMode::is_enabled()};
  operation.arguments.reserve(arguments.size());
  for (size_t i = 0; i < arguments.size(); i++) {
    const c10::IValue& v = stack[stack.size() - arguments.size() + i];
    Argument a;
    if (v.isTensor() && v.toTensor().defined()) {
      a = {Argument::Kind::one, {}, {argument(v.toTensor())}};
    } else if (v.isTensorList()) {
      a.kind = Argument::Kind::many;
      for (const at::Tensor& t : v.toTensorVector()) a.values.push_back(argument(t));
    } else if (v.isOptionalTensorList()) {
      a.kind = Argument::Kind::manyOptional;
      for (const auto& t : v.toOptionalTensorVector()) a.values.push_back(t && t->defined() ? argument(*t) : -1);
    } else {
      a.constant = v;
    }
    const bool writes = (arguments[i].alias_info() && arguments[i].alias_info()->isWrite()) ||
                        writesSilently(op.schema().name(), arguments[i].name());
    if (writes) {
      const auto note = [&](int32_t value, const at::Tensor& t) {
        if (value < 0) return;
        operation.written.push_back(value);
        written.push_back(t);
        program.buffers[program.values[value].buffer].written = true;
      };
      if (a.kind == Argument::Kind::one) note(a.values[0], v.toTensor());
      else if (a.kind == Argument::Kind::many) {
        const auto tensors = v.toTensorVector();
        for (size_t k = 0; k < tensors.size(); k++) note(a.values[k], tensors[k]);
      }
    }
    operation.arguments.push_back(std::move(a));
  }
  return operation;
}

void Recorder::resultsOf(Operation& operation, const torch::jit::Stack& stack) {
  const size_t count = operation.op.schema().returns().size();
  for (size_t i = stack.size() - count; i < stack.size(); i++) {
    const c10::IValue& v = stack[i];
    if (v.isTensor()) operation.results.push_back(result(v.toTensor()));
    else if (v.isTensorList())
      for (const at::Tensor& t : v.toTensorVector()) operation.results.push_back(result(t));
  }
}

bool Recorder::takes(const at::Tensor& t) {
  if (t.layout() == c10::kStrided && t.has_storage() && !t.is_quantized() && !t.is_conj() && !t.is_neg()) return true;
  refuse("a tensor is not a view of plain memory (layout " + toString(t.layout()) + ")");
  return false;
}

int32_t Recorder::find(const at::Tensor& t) const {
  const auto buffer = buffers_.find(t.storage().unsafeGetStorageImpl());
  if (buffer == buffers_.end()) return -1;
  for (const int32_t id : valuesOf_[buffer->second])
    if (isViewOf(program.values[id], t)) return id;
  return -1;
}

int32_t Recorder::add(const at::Tensor& t, Buffer::Origin origin) {
  auto* storage = t.storage().unsafeGetStorageImpl();
  auto [found, isNew] = buffers_.try_emplace(storage, static_cast<int32_t>(program.buffers.size()));
  if (isNew) {
    program.buffers.push_back(
        {origin, false, t.storage().nbytes(),
         c10::weak_intrusive_ptr<c10::StorageImpl>(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage))});
    valuesOf_.emplace_back();
  }
  const int32_t id = static_cast<int32_t>(program.values.size());
  program.values.push_back(
      {found->second, t.storage_offset(), t.sizes().vec(), t.strides().vec(), t.scalar_type(), t.requires_grad(), {}});
  valuesOf_[found->second].push_back(id);
  return id;
}

int32_t Recorder::argument(const at::Tensor& t) {
  if (!t.defined() || !takes(t)) return -1;
  int32_t id = find(t);
  if (id < 0)
    id = add(t, t.unsafeGetTensorImpl()->is_wrapped_number() ? Buffer::Origin::number : Buffer::Origin::external);
  Value& value = program.values[id];
  value.requiresGrad |= t.requires_grad();
  const auto origin = program.buffers[value.buffer].origin;
  if (origin != Buffer::Origin::made && (runs || origin == Buffer::Origin::number) && !value.tensor.defined())
    value.tensor = t;
  return id;
}

int32_t Recorder::result(const at::Tensor& t) {
  if (!t.defined() || !takes(t)) return -1;
  const int32_t id = find(t);
  return id >= 0 ? id : add(t, Buffer::Origin::made);
}

}  // namespace nbit::program
