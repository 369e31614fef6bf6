// One load of the addon into one JavaScript environment: its tensors, its buffer, what waits for its thread. A process
// has one for every thread that uses tensors, and for every vm context or further copy of the packages on such a
// thread. They share libtorch, its kernels and its switches, and no tensor.
#pragma once
#include <node_api.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace nbit {

/** Memory of the shared buffer. Native: whatever JavaScript does with its view (a transfer, say), writing here stays
 * safe. */
struct BufferMemory {
  explicit BufferMemory(size_t length);
  ~BufferMemory();
  BufferMemory(const BufferMemory&) = delete;
  BufferMemory& operator=(const BufferMemory&) = delete;
  double* data = nullptr;
  size_t length;
};

struct Environment : std::enable_shared_from_this<Environment> {
  napi_env env = nullptr;    // null: none, or closed
  uint32_t id = UINT32_MAX;  // owner of its slots; none is used twice
  std::thread::id thread;

  // One Float64Array carries arguments in and results out (message.h).
  double* buffer = nullptr;
  size_t bufferLength = 0;
  std::shared_ptr<BufferMemory> memory;
  napi_ref bufferArray = nullptr;

  // Slots of tensors (slots.h).
  uint32_t freeSlot = 0;               // given back: head of a list
  uint32_t nextSlot = 0, endSlot = 0;  // not used yet, of the chunk in hand
  std::vector<uint32_t> chunks;        // all that it has; those from `begun` on are untouched
  size_t begun = 0;
  int64_t capacity = 0, live = 0, collected = 0;
  int64_t guardedKb = 0, reportedKb = 0;

  napi_ref errorFactory = nullptr;    // (code, message, op) => Error
  napi_ref warningHandler = nullptr;  // (message) => void
  napi_ref bufferHandler = nullptr;   // (Float64Array) => void: there is a larger one
  bool warningsMuted = false;

  std::atomic<bool> drainNeeded{false};
  std::mutex pendingMutex;
  std::vector<napi_ref> pendingRefs;
  std::vector<std::string> pendingWarnings;

  std::atomic<int64_t> javascriptNodes{
      0};  // alive, backward or hook: while any is, CUDA's backward must stay on this thread

  /** How many things look at what backward does on threads of libtorch: policies, kept casts, traces. */
  int watchers = 0;

  std::vector<std::shared_ptr<void>> locals;  // of EnvironmentLocal

  bool onItsThread() const { return env != nullptr && thread == std::this_thread::get_id(); }
};

extern Environment nobody;
/** The environment that this thread works for; `nobody` on threads of libtorch, and where none was opened. */
extern constinit thread_local Environment* js __attribute__((tls_model("initial-exec")));

/** Makes `env`'s environment the current one; false when it is closed. */
bool switchEnvironment(napi_env env);
inline bool enter(napi_env env) { return js->env == env || switchEnvironment(env); }

/** Opens an environment for this load; throws where it cannot. */
void openEnvironment(napi_env env);
/** That of this thread with this id; null when it is closed. */
Environment* environmentAt(uint64_t id);

/** The environment for which this thread works: its own, on a thread of autograd that of the backward; null where there
 * is none. */
Environment* workingFor();
/** While it lives, threads of autograd that this thread sets to work know its environment. Free where nothing watches.
 */
class AutogradKnows {
 public:
  AutogradKnows();
  ~AutogradKnows();
  AutogradKnows(const AutogradKnows&) = delete;
  AutogradKnows& operator=(const AutogradKnows&) = delete;

 private:
  bool told_ = false;
};

/** A call into JavaScript may enter other environments of this thread: this one is current again afterwards. */
struct StayHere {
  Environment* const before = js;
  ~StayHere() { js = before; }
};

/** A T for each environment, made where it is first asked for. */
template <class T>
class EnvironmentLocal {
 public:
  T& operator()() const { return of(*js); }
  T& of(Environment& e) const {
    if (index_ >= e.locals.size() || !e.locals[index_]) [[unlikely]]
      make(e);
    return *static_cast<T*>(e.locals[index_].get());
  }

 private:
  void make(Environment& e) const {
    if (index_ >= e.locals.size()) e.locals.resize(index_ + 1);
    e.locals[index_] = std::make_shared<T>();
  }
  static size_t nextIndex() {
    extern size_t environmentLocals;
    return environmentLocals++;
  }
  const size_t index_ = nextIndex();
};

}  // namespace nbit
