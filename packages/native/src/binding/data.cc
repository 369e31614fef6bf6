// Values between JavaScript memory and tensors: always copies, so neither side can outlive the other.
#include "amp/autocast.h"
#include "binding/core.h"
#include "entries/data.h"
#include "functorch/transforms.h"
#include "program/recorder.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <cstring>
#include <iterator>

namespace nbit {

namespace {
struct Bytes {
  void* data = nullptr;
  size_t length = 0;
};
Bytes bytesOf(napi_env env, napi_value v) {
  Bytes b;
  bool is = false;
  if (napi_is_typedarray(env, v, &is) == napi_ok && is) {
    napi_typedarray_type type;
    size_t count = 0;
    napi_get_typedarray_info(env, v, &type, &count, &b.data, nullptr, nullptr);
    static constexpr size_t widths[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, /* float16 */ 2};
    if (static_cast<size_t>(type) >= std::size(widths)) fail("ERR_ARGUMENT", "expected a typed array of a known kind");
    b.length = count * widths[type];
    return b;
  }
  if (napi_is_dataview(env, v, &is) == napi_ok && is) {
    if (napi_get_dataview_info(env, v, &b.length, &b.data, nullptr, nullptr) != napi_ok)
      fail("ERR_ARGUMENT", "expected a DataView over memory that is there");
    return b;
  }
  if (napi_is_arraybuffer(env, v, &is) == napi_ok && is) {
    napi_get_arraybuffer_info(env, v, &b.data, &b.length);
    return b;
  }
  fail("ERR_ARGUMENT", "expected a typed array or an ArrayBuffer");
}
at::Tensor onCpu(const at::Tensor& given) {
  const OutsideTransforms plain;
  const at::Tensor t = withValues(given);
  // A gradient known to be zero everywhere (that of sgn, say) is a tensor without memory.
  if (t._is_zerotensor()) return at::zeros(t.sizes(), t.options().device(at::kCPU));
  return t.detach().resolve_conj().resolve_neg().to(at::kCPU).contiguous();
}
/** Where V8 itself makes a large one and cannot, it ends the process; its constructor throws. */
napi_value newArrayBuffer(napi_env env, size_t length, void** data) {
  napi_value result = nullptr;
  if (length < (size_t{1} << 24)) {
    if (napi_create_arraybuffer(env, length, data, &result) == napi_ok) return result;
  } else {
    napi_value global, constructor, argument = toJs(env, static_cast<double>(length));
    size_t made = 0;
    napi_get_global(env, &global);
    if (napi_get_named_property(env, global, "ArrayBuffer", &constructor) == napi_ok &&
        napi_new_instance(env, constructor, 1, &argument, &result) == napi_ok &&
        napi_get_arraybuffer_info(env, result, data, &made) == napi_ok && made == length)
      return result;
    napi_value error;
    napi_get_and_clear_last_exception(env, &error);
  }
  fail("TORCH_OUT_OF_MEMORY", "cannot allocate an ArrayBuffer of " + std::to_string(length) + " bytes");
}
}  // namespace

double entries::fromBytes(const Args& a) {
  program::outsideOfPrograms("a tensor is made of JavaScript's numbers");
  const Bytes source = bytesOf(a.env, a.at[0]);
  const auto dtype = a.dtype(1);
  const auto device = decodeDevice(a.number(2));
  Reader in = message();
  const auto sizes = in.integers();
  const OutsideTransforms plain;
  at::Tensor t = at::empty(sizes, at::TensorOptions().dtype(dtype));
  if (t.nbytes() != source.length)
    fail("ERR_ARGUMENT", "expected " + std::to_string(t.nbytes()) +
                             " bytes for this shape and dtype. Received: " + std::to_string(source.length));
  if (source.length) std::memcpy(t.mutable_data_ptr(), source.data, source.length);
  if (!device.is_cpu()) t = t.to(device);
  return newHandle(std::move(t));
}
napi_value entries::toBytes(const Args& a) {
  program::outsideOfPrograms("values are read into JavaScript");
  const at::Tensor t = onCpu(get(a.number(0)));
  void* data = nullptr;
  napi_value result = newArrayBuffer(a.env, t.nbytes(), &data);
  if (t.nbytes()) std::memcpy(data, t.const_data_ptr(), t.nbytes());
  return result;
}
void entries::copyFromBytes(const Args& a) {
  program::unrecorded("JavaScript's numbers are written into a tensor");
  const OutsideTransforms plain;
  if (insideTransform() && !get(a.number(0)).has_storage())
    fail("ERR_FUNC_TRANSFORM",
         "expected a tensor of no function transform. Received: one inside of func.vmap or func.grad");
  at::Tensor t = get(a.number(0)).detach();
  if (t._is_zerotensor())
    fail("ERR_ARGUMENT",
         "expected a tensor with memory of its own. Received: a gradient that is zero everywhere. Clone it first.");
  const Bytes source = bytesOf(a.env, a.at[1]);
  if (t.nbytes() != source.length)
    fail("ERR_ARGUMENT",
         "expected " + std::to_string(t.nbytes()) + " bytes. Received: " + std::to_string(source.length));
  if (source.length == 0) return;
  if (t.device().is_cpu() && t.is_contiguous()) {
    std::memcpy(t.mutable_data_ptr(), source.data, source.length);
    if (!t.is_inference()) t.unsafeGetTensorImpl()->bump_version();
  } else {
    at::Tensor staged = at::empty(t.sizes(), t.options().device(at::kCPU));
    std::memcpy(staged.mutable_data_ptr(), source.data, source.length);
    t.copy_(staged);
  }
  forgetCasts();
}
void entries::item(const Args& a) {
  const at::Scalar s = get(a.number(0)).item();
  Writer(3).scalar(s);
}
void entries::items() {
  Reader in = message();
  const auto list = in.tensors();
  Writer out(list.size());
  for (const auto& t : list) {
    if (!t.defined()) failBadHandle(0);
    out.number(t.item<double>());
  }
}

bool entries::countSteps(const Args& a) {
  if (program::recording != nullptr) return false;  // by an operator then, which is recorded
  const int64_t n = a.integer(0);
  double* list = numbers(n);
  for (int64_t i = 0; i < n; i++) {
    const at::Tensor& t = get(list[i]);
    const bool plain = t.device().is_cpu() && t.scalar_type() == at::kFloat && t.numel() == 1 &&
                       t.layout() == c10::kStrided && t.has_storage() && !t.requires_grad() && !t.is_inference();
    if (!plain) return false;
  }
  for (int64_t i = 0; i < n; i++) {
    const at::Tensor& t = get(list[i]);
    float* count = t.mutable_data_ptr<float>();
    *count += 1;
    t.unsafeGetTensorImpl()->bump_version();
    list[i] = *count;
  }
  return true;
}

}  // namespace nbit
