// Environments open with a load of the addon and close with the thread, or the process, that loaded it. The shared
// buffer and its growth.
#include "binding/core.h"
#include "entries/environment.h"

#include <c10/util/ThreadLocalDebugInfo.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

namespace nbit {

Environment nobody;
constinit thread_local Environment* js __attribute__((tls_model("initial-exec"))) = &nobody;
size_t environmentLocals = 0;

namespace {
constexpr size_t kLeastBuffer = 1u << 12;
constexpr size_t kMostBuffer = kMaxSlots + 4096u;  // a result of as many tensors as there may be

std::atomic<uint32_t> lastId{0};
using Environments = std::vector<std::shared_ptr<Environment>>;
// Those of this thread, in the order of their opening. No destructor: the main thread's stay as they are until the
// process has ended.
thread_local Environments* ofThisThread = nullptr;

void close(void* data) {
  auto* e = static_cast<Environment*>(data);
  const auto found =
      std::find_if(ofThisThread->begin(), ofThisThread->end(), [&](const auto& other) { return other.get() == e; });
  if (found == ofThisThread->end()) return;
  const std::shared_ptr<Environment> mine = *found;
  // Where the main thread ends, the process does: what it holds goes with it, and drivers may be gone already.
  const bool ending = getpid() == gettid();
  if (!ending) {
    js = e;
    while (!e->locals.empty()) e->locals.pop_back();
    closeSlots(*e);
    e->warningHandler = nullptr;  // nobody listens any more
    drain();
  }
  {
    const std::lock_guard<std::mutex> lock(e->pendingMutex);
    e->env = nullptr;
  }
  js = &nobody;
  if (ending) return;
  ofThisThread->erase(found);
  if (!ofThisThread->empty()) return;
  delete ofThisThread;
  ofThisThread = nullptr;
}
}  // namespace

BufferMemory::BufferMemory(size_t n) : length(n) {
  void* range = mmap(nullptr, length * sizeof(double), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED)
    fail("TORCH_OUT_OF_MEMORY", "cannot allocate a buffer of " + std::to_string(length) + " numbers");
  data = static_cast<double*>(range);
}
BufferMemory::~BufferMemory() {
  if (data) munmap(data, length * sizeof(double));
}

Environment* environmentAt(uint64_t id) {
  if (js->id == id) return js;
  if (ofThisThread)
    for (const auto& e : *ofThisThread)
      if (e->id == id) return e.get();
  return nullptr;
}

bool switchEnvironment(napi_env env) {
  if (ofThisThread)
    for (const auto& e : *ofThisThread)
      if (e->env == env) {
        js = e.get();
        return true;
      }
  return false;
}

void openEnvironment(napi_env env) {
  auto e = std::make_shared<Environment>();
  e->id = ++lastId;
  e->env = env;
  e->thread = std::this_thread::get_id();
  e->memory = std::make_shared<BufferMemory>(kLeastBuffer);
  e->buffer = e->memory->data;
  e->bufferLength = e->memory->length;
  openSlots();
  if (napi_add_env_cleanup_hook(env, close, e.get()) != napi_ok)
    fail("NBIT_LOAD_FAILED", "Node-API refuses a cleanup hook");
  if (!ofThisThread) ofThisThread = new Environments();
  ofThisThread->push_back(e);
  js = e.get();
  installWarningHandler();
}

// ---------------------------------------------------------------- threads of autograd
namespace {
// libtorch hands this on to the threads that work for a backward. Of its kinds, nobody else uses this one.
const auto kWorking = c10::DebugInfoKind::TEST_INFO_2;
struct Working : c10::DebugInfoBase {
  std::shared_ptr<Environment> environment = js->shared_from_this();
};
}  // namespace

Environment* workingFor() {
  if (js != &nobody) return js;
  const auto* told = static_cast<Working*>(c10::ThreadLocalDebugInfo::get(kWorking));
  return told ? told->environment.get() : nullptr;
}
AutogradKnows::AutogradKnows() : told_(js->watchers > 0) {
  if (told_) c10::ThreadLocalDebugInfo::_push(kWorking, std::make_shared<Working>());
}
AutogradKnows::~AutogradKnows() {
  if (told_) c10::ThreadLocalDebugInfo::_pop(kWorking);
}

// ---------------------------------------------------------------- the shared buffer
namespace {
/** New memory with what the buffer holds, and JavaScript's view of it; the buffer itself once `take` is called. */
class LargerBuffer {
 public:
  explicit LargerBuffer(size_t least) {
    if (least > kMostBuffer) failMessage(static_cast<double>(least));
    const size_t length = std::min(std::max(kLeastBuffer, std::bit_ceil(least)), kMostBuffer);
    memory_ = std::make_shared<BufferMemory>(length);
    std::copy_n(js->buffer, std::min(js->bufferLength, length), memory_->data);
    // The view shares in the memory, which goes when neither side needs it.
    auto* share = new std::shared_ptr<BufferMemory>(memory_);
    const auto release = [](node_api_basic_env, void*, void* hint) {
      delete static_cast<std::shared_ptr<BufferMemory>*>(hint);
    };
    napi_value bytes;
    if (napi_create_external_arraybuffer(js->env, memory_->data, length * sizeof(double), release, share, &bytes) !=
            napi_ok ||
        napi_create_typedarray(js->env, napi_float64_array, length, bytes, 0, &array) != napi_ok)
      fail("TORCH_OUT_OF_MEMORY", "JavaScript refuses a buffer of " + std::to_string(length) + " numbers");
  }
  void take() {
    napi_ref ref = nullptr;
    if (napi_create_reference(js->env, array, 1, &ref) != napi_ok)
      fail("TORCH_OUT_OF_MEMORY", "JavaScript refuses a reference to the buffer");
    if (js->bufferArray) napi_delete_reference(js->env, js->bufferArray);
    js->bufferArray = ref;
    js->memory = memory_;
    js->buffer = memory_->data;
    js->bufferLength = memory_->length;
  }
  napi_value array = nullptr;

 private:
  std::shared_ptr<BufferMemory> memory_;
};
}  // namespace

void growBuffer(size_t least) {
  napi_value handler = nullptr, undefined, result;
  if (!js->bufferHandler || napi_get_reference_value(js->env, js->bufferHandler, &handler) != napi_ok || !handler)
    failMessage(static_cast<double>(least));
  LargerBuffer larger(least);
  napi_get_undefined(js->env, &undefined);
  {
    const StayHere stay;
    if (napi_call_function(js->env, undefined, handler, 1, &larger.array, &result) != napi_ok) throw JsPending{};
  }
  larger.take();
}

void failMessage(double written) {
  if (!(written >= 1)) fail("ERR_ARGUMENT", "native: expected the buffer to begin with how many numbers were written");
  fail("NBIT_TOO_MANY", "one call can take or give at most " + std::to_string(kMostBuffer) + " numbers. Received: " +
                            std::to_string(static_cast<uint64_t>(std::min(written, 9e18))) + ". Do it in parts");
}
void failShort() { fail("ERR_ARGUMENT", "native: expected as many numbers in the buffer as this function reads"); }
void failNumber(const char* what, double value) {
  fail("ERR_ARGUMENT", std::string("native: expected ") + what + " in its range. Received: " + std::to_string(value));
}

c10::Device decodeDevice(double code) {
  const int c = codeBelow(code, static_cast<int>(c10::COMPILE_TIME_MAX_DEVICE_TYPES) * 256, "the code of a device");
  const int index = c % 256 - 1;
  const auto type = static_cast<c10::DeviceType>(c / 256);
  if (index > 127 || (type == c10::DeviceType::CPU && index > 0))
    fail("ERR_ARGUMENT", "expected the index of a device that there may be. Received: " +
                             c10::DeviceTypeName(type, true) + ":" + std::to_string(index));
  return c10::Device(type, static_cast<c10::DeviceIndex>(index));
}

napi_value entries::buffer(const Args& a) {
  const int64_t least = a.integer(0);
  if (least < 0) a.failAt(0, "a length");
  if (js->bufferArray && static_cast<size_t>(least) <= js->bufferLength) {
    napi_value array = nullptr;
    napi_get_reference_value(a.env, js->bufferArray, &array);
    if (array) return array;
  }
  LargerBuffer larger(std::max(static_cast<size_t>(least), js->bufferLength));
  larger.take();
  return larger.array;
}
void entries::setCallbacks(const Args& a) {
  napi_ref made[3] = {};
  for (size_t i = 0; i < 3; i++)
    if (a.type(i) != napi_function) a.failAt(i, "a function");
  for (size_t i = 0; i < 3; i++) made[i] = a.function(i);
  napi_ref* const kept[3] = {&js->errorFactory, &js->warningHandler, &js->bufferHandler};
  for (size_t i = 0; i < 3; i++) {
    if (*kept[i]) napi_delete_reference(a.env, *kept[i]);
    *kept[i] = made[i];
  }
}

}  // namespace nbit
