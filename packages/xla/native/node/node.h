// Between JavaScript and the host: values, handles, promises, and the one place where a failure becomes an XlaError.
#pragma once
#include <node_api.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "../host/objects.h"

namespace nbit::pjrt::js {
/** A JavaScript exception is on its way already (a getter threw). */
struct Pending {};
/** @throws Pending, or Failure XLA_ARGUMENT that says what was expected. */
void check(napi_env env, napi_status status, const char* expected);

/**
 * Of one JavaScript thread: brings results from other threads to it. After it has closed nothing arrives any more, and
 * nothing of it runs.
 */
class Loop : public std::enable_shared_from_this<Loop> {
 public:
  explicit Loop(napi_env env);
  /** Called on the JavaScript thread. */
  void deliver(std::function<void(napi_env)> task);
  /** The next that was delivered; empty when it was dropped since. */
  std::function<void(napi_env)> take();
  /** Whether work may begin; each true is followed by one `end`, when it is over. */
  bool begin();
  void end();
  /** Refuses what comes, and waits for what runs. */
  void close();
  /** A promise that waits keeps the thread's event loop alive. */
  void hold(napi_env env);
  void release(napi_env env);

 private:
  std::mutex mutex_;
  std::condition_variable idle_;
  napi_threadsafe_function function_ = nullptr;
  std::deque<std::function<void(napi_env)>> delivered_;
  bool closed_ = false;
  int running_ = 0, held_ = 0;
};

struct Instance;
/** What an external holds. */
struct HandleBase {
  virtual ~HandleBase() = default;
  virtual void close() = 0;
  /** Bytes that the garbage collector is told of, since it sees a handle of a few: told again when they go. */
  int64_t bytes = 0;
  void release(napi_env env);
  std::shared_ptr<Instance> owner;
};
struct Instance {
  std::shared_ptr<Loop> loop;
  Token token = std::make_shared<const char>();
  napi_ref make_error = nullptr;
  /** All that JavaScript holds: closed before the process's static objects go. */
  std::unordered_set<HandleBase*> handles;
  /** Once, before the libraries' own objects go. */
  void end();
};
const std::shared_ptr<Instance>& instance(napi_env env);

enum class Kind : uint64_t { plugin = 1, client, topology, program, buffer };
/** Empty once it was closed. */
template <class Core>
struct Handle final : HandleBase {
  explicit Handle(std::shared_ptr<Core> core) : core(std::move(core)) {}
  std::shared_ptr<Core> core;
  void close() override { core = nullptr; }
};
template <class Core>
constexpr Kind kind_of();
template <>
constexpr Kind kind_of<Plugin>() {
  return Kind::plugin;
}
template <>
constexpr Kind kind_of<ClientCore>() {
  return Kind::client;
}
template <>
constexpr Kind kind_of<TopologyCore>() {
  return Kind::topology;
}
template <>
constexpr Kind kind_of<ProgramCore>() {
  return Kind::program;
}
template <>
constexpr Kind kind_of<BufferCore>() {
  return Kind::buffer;
}

napi_value wrap_handle(napi_env env, Kind kind, std::unique_ptr<HandleBase> handle);
/** @throws Failure XLA_HANDLE for what is no handle of this kind. */
HandleBase* unwrap_handle(napi_env env, napi_value value, Kind kind);

template <class Core>
napi_value wrap(napi_env env, std::shared_ptr<Core> core) {
  auto handle = std::make_unique<Handle<Core>>(std::move(core));
  if constexpr (std::is_same_v<Core, BufferCore>) handle->bytes = static_cast<int64_t>(handle->core->bytes);
  return wrap_handle(env, kind_of<Core>(), std::move(handle));
}
template <class Core>
Handle<Core>& handle(napi_env env, napi_value value) {
  return *static_cast<Handle<Core>*>(unwrap_handle(env, value, kind_of<Core>()));
}
/** @throws Failure XLA_CLOSED for what was closed. */
template <class Core>
std::shared_ptr<Core> open(napi_env env, napi_value value) {
  auto core = handle<Core>(env, value).core;
  if (core == nullptr) throw Failure("XLA_CLOSED", "it was closed.");
  return core;
}

// Values.
std::string text(napi_env env, napi_value value);
/** A whole number that a double holds exactly. */
int64_t whole(napi_env env, napi_value value);
std::vector<napi_value> list(napi_env env, napi_value value);
std::vector<int64_t> wholes(napi_env env, napi_value value);
/** Bytes of a typed array, a DataView or an ArrayBuffer, copied: JavaScript may detach what it owns at any time. */
std::string bytes(napi_env env, napi_value value);
NamedValues named(napi_env env, napi_value value);

napi_value from(napi_env env, const std::string& text);
napi_value from(napi_env env, double number);
napi_value from(napi_env env, const Value& value);
napi_value from(napi_env env, const std::vector<int64_t>& values);
napi_value object(napi_env env, const NamedValues& values);
napi_value array(napi_env env, const std::vector<napi_value>& values);
napi_value record(napi_env env, const std::vector<std::pair<const char*, napi_value>>& fields);
napi_value undefined(napi_env env);
/** An ArrayBuffer that owns these bytes. */
napi_value owned_bytes(napi_env env, std::unique_ptr<std::vector<char>> bytes);

napi_value error_of(napi_env env, const Failure& failure);

using Args = std::vector<napi_value>;
using Finish = std::function<napi_value(napi_env)>;
/** What a piece of work does elsewhere: at its end it calls `done` once, from any thread, with the failure if it
 * failed. */
using Done = std::function<void(std::unique_ptr<Failure> failure)>;

/**
 * A promise of what `work` does on a lane and `finish` makes of it on the JavaScript thread. `keep`, if any, stays
 * reachable till then.
 */
napi_value promise(napi_env env, Lane& lane, std::function<void()> work, Finish finish, napi_value keep = nullptr);
/** The same for work that goes on after it has returned: it is over once `done` was called. */
napi_value promise_later(napi_env env, Lane& lane, std::function<void(Done)> work, Finish finish,
                         napi_value keep = nullptr);
/** Calls `done` when an event of a plugin has come, and destroys it. */
void when_ready(const std::shared_ptr<Plugin>& plugin, Event* event, const char* what, Done done);
/** Blocks this thread until the event has come. @throws its failure. */
void wait_for(const std::shared_ptr<Plugin>& plugin, Event* event, const char* what);

/** Calls a function of the addon, and throws what it refuses. */
napi_value guarded(napi_env env, napi_callback_info info, size_t count, napi_value (*function)(napi_env, const Args&));
}  // namespace nbit::pjrt::js
