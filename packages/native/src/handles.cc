// Tensor slots seen from JavaScript: release, the garbage collector's safety net, and a tensor's metadata in one call.
#include "core.h"
#include "heap.h"

#include <sys/mman.h>

namespace nbit {

Slot* slots = nullptr;
uint32_t slotTop = 1;
uint32_t slotFree = 0;
int64_t slotsLive = 0;
double* buffer = nullptr;
size_t bufferLength = 0;

namespace {
int64_t guardedKb = 0;
int64_t reportedKb = 0;
int64_t slotsCollected = 0;

void freeSlot(uint32_t index) {
  Slot& slot = slots[index];
  slot.tensor.reset();
  if (slot.guardedKb) {
    guardedKb -= slot.guardedKb;
    slot.guardedKb = 0;
  }
  slot.generation = (slot.generation + 1) & kGenerationMask;
  if (slot.generation == 0) slot.generation = 1;
  slot.next = static_cast<int32_t>(slotFree);
  slotFree = index;
  --slotsLive;
}

// Runs inside the garbage collector: it may touch no JavaScript.
void finalize(node_api_basic_env, void* data, void*) {
  if (js.closing) return;
  const auto bits = reinterpret_cast<uint64_t>(data);
  const uint32_t index = bits & (kMaxSlots - 1);
  if (slots[index].next == -1 && slots[index].generation == static_cast<uint32_t>(bits >> kIndexBits)) {
    freeSlot(index);
    ++slotsCollected;
  }
}

void reportMemory(napi_env env) {
  // V8 hears of external memory a megabyte at a time: each report may start a collection.
  if (guardedKb - reportedKb > 1024 || reportedKb - guardedKb > 1024) {
    int64_t now;
    napi_adjust_external_memory(env, (guardedKb - reportedKb) * 1024, &now);
    reportedKb = guardedKb;
  }
}
}  // namespace

void reserveSlots() {
  void* range = mmap(nullptr, sizeof(Slot) * static_cast<size_t>(kMaxSlots), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK(range != MAP_FAILED, "cannot reserve address space for the tensor table");
  slots = static_cast<Slot*>(range);
}

at::Tensor plain(at::Tensor&& odd) {
  if (odd.is_quantized() || odd.is_nested()) fail("NBIT_UNSUPPORTED", std::string("expected a result with one number for each element. Received: a ") + (odd.is_nested() ? "nested" : "quantized") + " tensor. Use @nbit/lowbit for quantization, and padding for sequences.");
  return odd.clone();
}

void release(double handle) {
  if (isLive(handle)) freeSlot(static_cast<uint64_t>(handle) & (kMaxSlots - 1));
}

NBIT_FN(setBuffer) {
  Args a(env, info);
  NBIT_TRY
  void* data = nullptr;
  size_t length = 0;
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env, a.at[0], &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float64_array)
    fail("ERR_ARGUMENT", "setBuffer: expected a Float64Array");
  napi_ref ref;
  napi_create_reference(env, a.at[0], 1, &ref);  // never collected
  buffer = static_cast<double*>(data);
  bufferLength = length;
  return nullptr;
  NBIT_CATCH("setBuffer")
}
NBIT_FN(setCallbacks) {
  Args a(env, info);
  napi_create_reference(env, a.at[0], 1, &js.errorFactory);
  napi_create_reference(env, a.at[1], 1, &js.warningHandler);
  return nullptr;
}
NBIT_FN(releaseOne) {
  Args a(env, info);
  NBIT_TRY
  release(a.number(0));
  return nullptr;
  NBIT_CATCH("release")
}
// buffer[0..n): handles
NBIT_FN(releaseMany) {
  Args a(env, info);
  NBIT_TRY
  const int64_t n = a.integer(0);
  for (int64_t i = 0; i < n; i++) release(buffer[i]);
  if (n > 0) heap::turn();
  if (drainNeeded) drain();
  return nullptr;
  NBIT_CATCH("release")
}
NBIT_FN(guard) {
  Args a(env, info);
  NBIT_TRY
  const double handle = a.number(1);
  const at::Tensor& t = get(handle);
  Slot& slot = slots[static_cast<uint64_t>(handle) & (kMaxSlots - 1)];
  if (slot.guardedKb == 0 && t.has_storage() && t.device().is_cpu() && t.storage().use_count() <= 1) {
    slot.guardedKb = static_cast<uint32_t>(std::min<size_t>(t.storage().nbytes() >> 10, 0xfffffff0u)) + 1;
    guardedKb += slot.guardedKb;
    reportMemory(env);
  }
  napi_add_finalizer(env, a.at[0], reinterpret_cast<void*>(static_cast<uint64_t>(handle)), finalize, nullptr, nullptr);
  if (drainNeeded) drain();
  return nullptr;
  NBIT_CATCH("guard")
}
// → buffer: live, freed by the garbage collector so far. In one call: a collection between two would count a tensor twice.
NBIT_FN(tensorCounts) {
  (void)env, (void)info;
  buffer[0] = static_cast<double>(slotsLive);
  buffer[1] = static_cast<double>(slotsCollected);
  return nullptr;
}
NBIT_FN(alive) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, isLive(a.number(0)));
  NBIT_CATCH("alive")
}
/** A second handle to the same tensor. */
NBIT_FN(alias) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, put(get(a.number(0))));
  NBIT_CATCH("alias")
}

// → buffer: dtype, device, flags, ndim, numel, storageOffset, layout, itemsize, sizes…, strides…
NBIT_FN(meta) {
  Args a(env, info);
  NBIT_TRY
  const at::Tensor& t = get(a.number(0));
  double* b = buffer;
  b[0] = static_cast<double>(t.scalar_type());
  b[1] = encodeDevice(t.device());
  const bool strided = t.layout() == c10::kStrided;
  b[2] = (t.requires_grad() ? 1 : 0) | (t.is_leaf() ? 2 : 0) | (strided && t.is_contiguous() ? 4 : 0) | (t.is_view() ? 8 : 0) | (t.is_inference() ? 16 : 0) | (t.is_conj() ? 32 : 0) |
         (t.is_neg() ? 64 : 0);
  const auto sizes = t.sizes();
  b[3] = static_cast<double>(sizes.size());
  b[4] = static_cast<double>(t.numel());
  b[5] = strided ? static_cast<double>(t.storage_offset()) : 0;
  b[6] = static_cast<double>(t.layout());
  b[7] = static_cast<double>(t.dtype().itemsize());
  double* o = b + 8;
  for (auto s : sizes) *o++ = static_cast<double>(s);
  if (strided)
    for (auto s : t.strides()) *o++ = static_cast<double>(s);
  return nullptr;
  NBIT_CATCH("meta")
}
NBIT_FN(dtypeOf) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, static_cast<double>(get(a.number(0)).scalar_type()));
  NBIT_CATCH("dtype")
}
/** Which storage a tensor looks at and from where: equal pairs share memory. */
NBIT_FN(dataPointer) {
  Args a(env, info);
  NBIT_TRY
  const at::Tensor& t = get(a.number(0));
  return toJs(env, t.has_storage() ? static_cast<double>(reinterpret_cast<uintptr_t>(t.const_data_ptr())) : 0.0);
  NBIT_CATCH("dataPtr")
}
NBIT_FN(storageInfo) {
  Args a(env, info);
  NBIT_TRY
  const at::Tensor& t = get(a.number(0));
  buffer[0] = t.has_storage() ? static_cast<double>(reinterpret_cast<uintptr_t>(t.storage().data())) : 0.0;
  buffer[1] = t.has_storage() ? static_cast<double>(t.storage().nbytes()) : 0.0;
  buffer[2] = t.is_inference() ? -1.0 : static_cast<double>(t._version());
  return nullptr;
  NBIT_CATCH("storage")
}

std::vector<Entry> handleEntries() {
  return {{"setBuffer", setBuffer}, {"setCallbacks", setCallbacks}, {"release", releaseOne}, {"releaseMany", releaseMany}, {"guard", guard}, {"tensorCounts", tensorCounts},
          {"alive", alive}, {"alias", alias}, {"meta", meta}, {"dtypeOf", dtypeOf}, {"dataPointer", dataPointer}, {"storageInfo", storageInfo}};
}

}  // namespace nbit
