// Tensor slots seen from JavaScript: release, the garbage collector's safety net, and a tensor's metadata in one call.
#include "binding/checks.h"
#include "binding/core.h"
#include "binding/hold.h"
#include "entries/handles.h"
#include "memory/heap.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace nbit {

Slot* slots = nullptr;

namespace {
constexpr uint32_t kChunk = 1u << 12;
constexpr uint32_t kChunks = kMaxSlots / kChunk;

std::mutex chunkMutex;
uint32_t chunksTaken = 0;          // ever
std::vector<uint32_t> chunksFree;  // of environments that are closed

/** How many HoldTensors there are on this thread, and what is given up meanwhile. */
constinit thread_local int holding = 0;
const EnvironmentLocal<std::vector<double>> held;

/** One chunk more for an environment. */
void takeChunk(Environment& e) {
  uint32_t chunk;
  {
    const std::lock_guard<std::mutex> lock(chunkMutex);
    if (!chunksFree.empty()) {
      chunk = chunksFree.back();
      chunksFree.pop_back();
    } else if (chunksTaken < kChunks) {
      chunk = chunksTaken++;
    } else {
      fail("TENSOR_TABLE_FULL",
           "more than 16,777,215 tensors are alive at once: dispose of tensors, or make them inside scope(() => …)");
    }
  }
  e.chunks.push_back(chunk);
  e.capacity += chunk == 0 ? kChunk - 1 : kChunk;  // index 0 is no tensor
}

void freeSlot(Environment& e, uint32_t index) {
  Slot& slot = slots[index];
  at::Tensor gone = std::move(slot.tensor);  // what its end sets off finds the slot free
  e.guardedKb -= slot.guardedKb & ~kGuarded;
  slot.guardedKb = 0;
  uint32_t generation = (slot.generation + 1) & kGenerationMask;
  if (generation == 0) generation = 1;
  slot.generation = generation | kFree;
  slot.next = e.freeSlot;
  e.freeSlot = index;
  --e.live;
}

// Runs inside the garbage collector: it may touch no JavaScript.
void finalize(node_api_basic_env, void* data, void* hint) {
  Environment* e = environmentAt(reinterpret_cast<uint64_t>(hint));
  if (e == nullptr || e->env == nullptr) return;
  const auto bits = reinterpret_cast<uint64_t>(data);
  const uint32_t index = bits & (kMaxSlots - 1);
  if (slots[index].generation != static_cast<uint32_t>(bits >> kIndexBits)) return;
  if (holding > 0) held.of(*e).push_back(static_cast<double>(bits));
  else freeSlot(*e, index);
  ++e->collected;
}

/** Memory that this process may use: of the machine, or of its container. */
double machineBytes() {
  double bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  double limit = 0;
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit) bytes = std::min(bytes, limit);
  return bytes;
}

/**
 * V8 looks through its whole heap for every 64 MB that it hears of, 15 ms and more each time: for tensors, which are
 * large, too often. It hears of every fourth byte where memory is plenty, so that garbage takes at most a 64th of it.
 */
int64_t bytesForOneTold() {
  static const auto many = static_cast<int64_t>(std::clamp(machineBytes() / 64 / (64 << 20), 1.0, 4.0));
  return many;
}

void reportMemory(napi_env env) {
  // A megabyte at a time: each report may start a collection.
  Environment& e = *js;
  const int64_t told = e.guardedKb / bytesForOneTold();
  if (told - e.reportedKb > 1024 || e.reportedKb - told > 1024) {
    int64_t now;
    napi_adjust_external_memory(env, (told - e.reportedKb) * 1024, &now);
    e.reportedKb = told;
  }
}
}  // namespace

void openSlots() {
  const std::lock_guard<std::mutex> lock(chunkMutex);
  if (slots) return;
  void* range = mmap(nullptr, sizeof(Slot) * static_cast<size_t>(kMaxSlots), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK(range != MAP_FAILED, "cannot reserve address space for the tensor table");
  slots = static_cast<Slot*>(range);
}

at::Tensor plain(at::Tensor&& odd) {
  if (odd.is_quantized() || odd.is_nested())
    fail("NBIT_UNSUPPORTED", std::string("expected a result with one number for each element. Received: a ") +
                                 (odd.is_nested() ? "nested" : "quantized") +
                                 " tensor. Use @nbit/lowbit for quantization, and padding for sequences.");
  return odd.clone();
}

void closeSlots(Environment& e) {
  for (const uint32_t chunk : e.chunks)
    for (uint32_t i = chunk * kChunk; i < (chunk + 1) * kChunk; i++)
      if (slots[i].owner == e.id && !(slots[i].generation & kFree)) freeSlot(e, i);
  const std::lock_guard<std::mutex> lock(chunkMutex);
  chunksFree.insert(chunksFree.end(), e.chunks.begin(), e.chunks.end());
  e.chunks.clear();
  e.freeSlot = e.nextSlot = e.endSlot = 0;
  e.capacity = 0;
}

void replaceTensors(const std::function<const at::Tensor*(const at::Tensor&)>& other) {
  for (const uint32_t chunk : js->chunks)
    for (uint32_t i = chunk * kChunk; i < (chunk + 1) * kChunk; i++)
      if (slots[i].owner == js->id && !(slots[i].generation & kFree) && slots[i].tensor.defined())
        if (const at::Tensor* t = other(slots[i].tensor)) slots[i].tensor = at::Tensor(*t);
}

uint32_t freshSlot() {
  Environment& e = *js;
  if (e.nextSlot == e.endSlot) {
    if (e.begun == e.chunks.size()) takeChunk(e);
    const uint32_t chunk = e.chunks[e.begun++];
    e.nextSlot = chunk == 0 ? 1 : chunk * kChunk;
    e.endSlot = (chunk + 1) * kChunk;
  }
  const uint32_t index = e.nextSlot++;
  Slot& slot = slots[index];
  if (slot.generation == 0) slot.generation = 1 | kFree;
  __atomic_store_n(&slot.owner, e.id, __ATOMIC_RELAXED);
  return index;
}

void reserveSlots(size_t count) {
  Environment& e = *js;
  while (static_cast<size_t>(e.capacity - e.live) < count) takeChunk(e);
}

void release(double handle) {
  if (!isLive(handle)) return;
  if (holding > 0) [[unlikely]]
    held().push_back(handle);
  else freeSlot(*js, static_cast<uint64_t>(handle) & (kMaxSlots - 1));
}

HoldTensors::HoldTensors() { ++holding; }
HoldTensors::~HoldTensors() {
  --holding;
  js->drainNeeded = true;
}
void releaseHeld() {
  if (holding > 0) return;
  const std::vector<double> all = std::move(held());
  held().clear();
  for (const double handle : all) release(handle);
}

void failBadHandle(double handle) {
  if (handle == 0)
    fail("TENSOR_DISPOSED",
         "a tensor is needed here. Received: a disposed tensor or none. Keep it with keep(t), or return it from its "
         "scope");
  if (handle > 0 && handle < 4503599627370496.0) {
    const uint32_t owner =
        __atomic_load_n(&slots[static_cast<uint64_t>(handle) & (kMaxSlots - 1)].owner, __ATOMIC_RELAXED);
    if (owner == js->id)
      fail("TENSOR_DISPOSED", "the tensor has been disposed. Keep it with keep(t), or return it from its scope");
    if (owner != 0)
      fail("TENSOR_FOREIGN",
           "expected a tensor of this thread and of this copy of the library. Received: another's. Send its values: "
           "toTypedArray() there, tensor(…) here");
  }
  fail("TENSOR_HANDLE", "expected the handle of a tensor. Received: a number that none has");
}

void entries::release(const Args& a) { nbit::release(a.number(0)); }
void entries::releaseMany(const Args& a) {
  const int64_t n = a.integer(0);
  const double* handles = numbers(n);
  for (int64_t i = 0; i < n; i++) nbit::release(handles[i]);
  if (n > 0) heap::turn();
  if (js->drainNeeded) drain();
}
void entries::attachFinalizer(const Args& a) {
  const double handle = a.number(1);
  const at::Tensor& t = get(handle);
  const napi_valuetype type = a.type(0);
  if (type != napi_object && type != napi_function) a.failAt(0, "an object");
  Slot& slot = slots[static_cast<uint64_t>(handle) & (kMaxSlots - 1)];
  if ((slot.guardedKb & ~kGuarded) == 0 && t.has_storage() && t.device().is_cpu() && t.storage().use_count() <= 1) {
    slot.guardedKb = static_cast<uint32_t>(std::min<size_t>(t.storage().nbytes() >> 10, kGuarded - 2)) + 1;
    js->guardedKb += slot.guardedKb;
    reportMemory(a.env);
  }
  if (napi_add_finalizer(a.env, a.at[0], reinterpret_cast<void*>(static_cast<uint64_t>(handle)), finalize,
                         reinterpret_cast<void*>(static_cast<uint64_t>(js->id)), nullptr) == napi_ok)
    slot.guardedKb |= kGuarded;
  if (js->drainNeeded) drain();
}
void entries::tensorCounts() {
  js->buffer[0] = static_cast<double>(js->live);
  js->buffer[1] = static_cast<double>(js->collected);
}
std::string entries::unguarded() {
  std::string lines;
  for (const uint32_t chunk : js->chunks)
    for (uint32_t i = chunk * kChunk; i < (chunk + 1) * kChunk; i++)
      if (slots[i].owner == js->id && !(slots[i].generation & kFree) && !(slots[i].guardedKb & kGuarded))
        lines += described(slots[i].tensor) + "\n";
  return lines;
}
bool entries::alive(const Args& a) { return isLive(a.number(0)); }
double entries::alias(const Args& a) { return newHandle(get(a.number(0))); }

void entries::meta(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  const auto sizes = t.sizes();
  if (8 + 2 * sizes.size() > js->bufferLength) growBuffer(8 + 2 * sizes.size());
  double* b = js->buffer;
  b[0] = static_cast<double>(t.scalar_type());
  b[1] = encodeDevice(t.device());
  const bool strided = t.layout() == c10::kStrided;
  b[2] = (t.requires_grad() ? 1 : 0) | (t.is_leaf() ? 2 : 0) | (strided && t.is_contiguous() ? 4 : 0) |
         (t.is_view() ? 8 : 0) | (t.is_inference() ? 16 : 0) | (t.is_conj() ? 32 : 0) | (t.is_neg() ? 64 : 0);
  b[3] = static_cast<double>(sizes.size());
  b[4] = static_cast<double>(t.numel());
  b[5] = strided ? static_cast<double>(t.storage_offset()) : 0;
  b[6] = static_cast<double>(t.layout());
  b[7] = static_cast<double>(t.dtype().itemsize());
  double* o = b + 8;
  for (auto s : sizes) *o++ = static_cast<double>(s);
  if (strided)
    for (auto s : t.strides()) *o++ = static_cast<double>(s);
}
double entries::dtypeOf(const Args& a) { return static_cast<double>(get(a.number(0)).scalar_type()); }
double entries::dataPointer(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  return t.has_storage() ? static_cast<double>(reinterpret_cast<uintptr_t>(t.const_data_ptr())) : 0.0;
}
void entries::storageInfo(const Args& a) {
  const at::Tensor& t = get(a.number(0));
  js->buffer[0] = t.has_storage() ? static_cast<double>(reinterpret_cast<uintptr_t>(t.storage().data())) : 0.0;
  js->buffer[1] = t.has_storage() ? static_cast<double>(t.storage().nbytes()) : 0.0;
  js->buffer[2] = t.is_inference() ? -1.0 : static_cast<double>(t._version());
}

}  // namespace nbit
