// Runs a planned program: one loop over kernels, without autograd.
#include "program/executable.h"

#include "binding/errors.h"

#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace nbit::program {

at::Tensor tensorOver(c10::intrusive_ptr<c10::StorageImpl> storage, const Value& v, int64_t shift) {
  at::Tensor t = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(std::move(storage)),
                                                          c10::DispatchKeySet(c10::DispatchKey::CPU),
                                                          caffe2::TypeMeta::fromScalarType(v.dtype));
  t.unsafeGetTensorImpl()->set_sizes_and_strides(v.sizes, v.strides, v.offset + shift);
  if (v.requiresGrad) t.unsafeGetTensorImpl()->set_requires_grad(true);
  return t;
}

bool Executable::isWhereItWas() const {
  for (const Known& k : known_)
    if (k.tensor.storage().unsafeGetStorageImpl() != k.storage || k.storage->data() != k.data) [[unlikely]]
      return false;
  return true;
}

void Executable::put(int32_t value, at::Tensor t) {
  const Value& v = program_.values[value];
  const auto& all = valuesOf_[v.buffer];
  if (all.size() > 1) {
    const auto storage = storageOf(t);
    const int64_t shift = t.storage_offset() - v.offset;
    for (const int32_t other : all)
      if (other != value)
        tensors_[other] =
            tensorOver(storage, program_.values[other], program_.values[other].dtype == v.dtype ? shift : 0);
  }
  tensors_[value] = std::move(t);
}
void Executable::bind(int32_t value, const at::Tensor& t) { put(value, t); }

void Executable::run(uint32_t from, uint32_t to) {
  const uint32_t first = firstStep_[from], end = firstStep_[to];
  if (first == end) return;
  const at::AutoDispatchBelowADInplaceOrView plain;
  const c10::impl::ExcludeDispatchKeyGuard uncast(c10::autocast_dispatch_keyset);
  const bool before = c10::GradMode::is_enabled();
  struct Restore {
    bool to;
    ~Restore() { c10::GradMode::set_enabled(to); }
  } restore{before};
  bool mode = before;
  for (uint32_t i = first; i < end; i++) {
    Step& step = steps_[i];
    if (step.gradMode != mode) c10::GradMode::set_enabled(mode = step.gradMode);
    for (const int32_t v : step.allocates) {
      const Value& value = program_.values[v];
      put(v, at::detail::empty_strided_cpu(value.sizes, value.strides, value.dtype));
    }
    if (step.kernel != nullptr) step.kernel(step);
    else call(step);
    for (const int32_t b : step.frees)
      for (const int32_t v : valuesOf_[b]) tensors_[v].reset();
  }
}

void Executable::finish() {
  for (const int32_t v : passing_) tensors_[v].reset();
}

void Executable::call(Step& step) {
  stack_.assign(step.form.begin(), step.form.end());
  for (const auto& [at, value] : step.holes) stack_[at] = tensors_[value];
  for (const uint32_t at : step.lists) {
    const Argument& a = step.source->arguments[at];
    if (a.kind == Argument::Kind::many) {
      c10::List<at::Tensor> list;
      list.reserve(a.values.size());
      for (const int32_t v : a.values) list.push_back(tensors_[v]);
      stack_[at] = std::move(list);
    } else {
      c10::List<std::optional<at::Tensor>> list;
      list.reserve(a.values.size());
      for (const int32_t v : a.values) list.push_back(v < 0 ? std::nullopt : std::optional(tensors_[v]));
      stack_[at] = std::move(list);
    }
  }
  step.op.callBoxed(stack_);
  if (!step.made.empty()) {
    size_t next = 0;
    const auto take = [&](at::Tensor t) {
      const int32_t value = step.made[next++];
      if (value < 0 || !t.defined()) return;
      if (t.sizes() != program_.values[value].sizes || t.strides() != program_.values[value].strides) [[unlikely]]
        fail("PROGRAM_SHAPE", step.op.schema().name() + " made another shape than it did when it was recorded");
      put(value, std::move(t));
    };
    for (c10::IValue& v : stack_) {
      if (v.isTensor()) take(std::move(v).toTensor());
      else if (v.isTensorList())
        for (const at::Tensor& t : v.toTensorVector()) take(t);
    }
  }
  stack_.clear();
}

}  // namespace nbit::program
