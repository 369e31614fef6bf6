#include "node.h"

#include <chrono>
#include <future>
#include <new>
#include <thread>

namespace nbit::pjrt::js {
namespace {
void deliver_task(napi_env env, napi_value, void*, void* data) {
  if (env == nullptr) return;
  if (const auto task = static_cast<Loop*>(data)->take()) task(env);
}

/** A promise that waits, on the JavaScript thread's side. */
struct Waiting {
  napi_deferred deferred = nullptr;
  napi_ref keep = nullptr;
  Finish finish;
};

void settle(napi_env env, Waiting& waiting, const Failure* failure) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  if (waiting.keep != nullptr) napi_delete_reference(env, waiting.keep);
  napi_value value = nullptr;
  std::unique_ptr<Failure> late;
  if (failure == nullptr) try {
      value = waiting.finish(env);
    } catch (const Failure& thrown) { late = std::make_unique<Failure>(thrown); } catch (const std::exception& thrown) {
      late = std::make_unique<Failure>("XLA_INTERNAL", thrown.what());
    } catch (const Pending&) {
      napi_get_and_clear_last_exception(env, &value);
      napi_reject_deferred(env, waiting.deferred, value);
      napi_close_handle_scope(env, scope);
      return;
    }
  if (late) failure = late.get();
  if (failure == nullptr) napi_resolve_deferred(env, waiting.deferred, value);
  else napi_reject_deferred(env, waiting.deferred, error_of(env, *failure));
  waiting.finish = nullptr;
  napi_close_handle_scope(env, scope);
}

std::unique_ptr<Failure> attempt(const std::function<void()>& work) {
  try {
    work();
    return nullptr;
  } catch (const Failure& failure) { return std::make_unique<Failure>(failure); } catch (const std::bad_alloc&) {
    return std::make_unique<Failure>("XLA_RESOURCE_EXHAUSTED", "the host's memory does not suffice.");
  } catch (const std::exception& error) { return std::make_unique<Failure>("XLA_INTERNAL", error.what()); }
}
}  // namespace

Loop::Loop(napi_env env) {
  napi_value name = from(env, std::string("nbit-xla"));
  check(env,
        napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, deliver_task,
                                        &function_),
        "a thread-safe function to be made");
  check(env, napi_unref_threadsafe_function(env, function_), "a thread-safe function");
}
void Loop::deliver(std::function<void(napi_env)> task) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  delivered_.push_back(std::move(task));
  if (napi_call_threadsafe_function(function_, this, napi_tsfn_nonblocking) != napi_ok) delivered_.pop_back();
}
std::function<void(napi_env)> Loop::take() {
  const std::lock_guard lock(mutex_);
  if (delivered_.empty()) return nullptr;
  auto task = std::move(delivered_.front());
  delivered_.pop_front();
  return task;
}
bool Loop::begin() {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  running_++;
  return true;
}
void Loop::end() {
  const std::lock_guard lock(mutex_);
  if (--running_ == 0) idle_.notify_all();
}
void Loop::close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  idle_.wait(lock, [&] { return running_ == 0; });
  std::deque<std::function<void(napi_env)>> dropped;
  dropped.swap(delivered_);
  lock.unlock();
}
void Loop::hold(napi_env env) {
  if (held_++ == 0) napi_ref_threadsafe_function(env, function_);
}
void Loop::release(napi_env env) {
  if (--held_ == 0) napi_unref_threadsafe_function(env, function_);
}

void Instance::end() {
  Lane::blockProfiling();
  loop->close();
  for (HandleBase* handle : handles) handle->close();
  // What ran drops what it held a moment after it is over, on its own thread.
  for (int waited = 0; token.use_count() > 1 && waited < 10'000; waited++)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

const std::shared_ptr<Instance>& instance(napi_env env) {
  void* data = nullptr;
  check(env, napi_get_instance_data(env, &data), "the addon's instance");
  return *static_cast<std::shared_ptr<Instance>*>(data);
}

napi_value error_of(napi_env env, const Failure& failure) {
  napi_value code = from(env, failure.code), message = from(env, failure.message), made = nullptr;
  if (const napi_ref factory = instance(env)->make_error; factory != nullptr) {
    napi_value function = nullptr;
    const napi_value given[] = {code, message};
    if (napi_get_reference_value(env, factory, &function) == napi_ok && function != nullptr &&
        napi_call_function(env, undefined(env), function, 2, given, &made) == napi_ok)
      return made;
    napi_value thrown;
    bool pending = false;
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending) napi_get_and_clear_last_exception(env, &thrown);
  }
  check(env, napi_create_error(env, code, message, &made), "an error to be made");
  return made;
}

napi_value promise_later(napi_env env, Lane& lane, std::function<void(Done)> work, Finish finish, napi_value keep) {
  auto waiting = std::make_shared<Waiting>();
  waiting->finish = std::move(finish);
  napi_value made;
  check(env, napi_create_promise(env, &waiting->deferred, &made), "a promise to be made");
  if (keep != nullptr) check(env, napi_create_reference(env, keep, 1, &waiting->keep), "an object to be kept");
  const auto loop = instance(env)->loop;
  loop->hold(env);
  const Done done = [loop, waiting](std::unique_ptr<Failure> failure) {
    const std::shared_ptr<Failure> shared(std::move(failure));
    loop->deliver([loop, waiting, shared](napi_env env) {
      loop->release(env);
      settle(env, *waiting, shared.get());
    });
    loop->end();
  };
  waiting.reset();
  lane.post([loop, done, work = std::move(work)]() mutable {
    if (!loop->begin()) return;
    if (auto failure = attempt([&] { work(done); })) done(std::move(failure));
  });
  return made;
}
napi_value promise(napi_env env, Lane& lane, std::function<void()> work, Finish finish, napi_value keep) {
  return promise_later(
      env, lane,
      [work = std::move(work)](const Done& done) {
        work();
        done(nullptr);
      },
      std::move(finish), keep);
}

void when_ready(const std::shared_ptr<Plugin>& plugin, Event* event, const char* what, Done done) {
  struct Wait {
    std::shared_ptr<Plugin> plugin;
    Event* event;
    const char* what;
    Done done;
    void destroy() const {
      auto args = arguments<Event_Destroy_Args>();
      args.event = event;
      plugin->tell(args);
    }
    static void come(Error* error, void* data) {
      const std::unique_ptr<Wait> wait(static_cast<Wait*>(data));
      auto failure = error == nullptr ? nullptr : std::make_unique<Failure>(wait->plugin->failure(error, wait->what));
      wait->destroy();
      wait->done(std::move(failure));
    }
  };
  if (event == nullptr) return done(nullptr);
  auto wait = std::make_unique<Wait>(Wait{plugin, event, what, std::move(done)});
  if (plugin->has<Event_OnReady_Args>()) {
    auto args = arguments<Event_OnReady_Args>();
    args.event = event;
    args.callback = Wait::come;
    args.user_arg = wait.get();
    if (auto failure = attempt([&] { plugin->call(args); })) {
      wait->destroy();
      return wait->done(std::move(failure));
    }
    wait.release();
  } else {
    auto args = arguments<Event_Await_Args>();
    args.event = event;
    auto failure = attempt([&] { plugin->call(args); });
    wait->destroy();
    wait->done(std::move(failure));
  }
}

void wait_for(const std::shared_ptr<Plugin>& plugin, Event* event, const char* what) {
  std::promise<std::unique_ptr<Failure>> come;
  auto future = come.get_future();
  when_ready(plugin, event, what, [&come](std::unique_ptr<Failure> failure) { come.set_value(std::move(failure)); });
  if (const auto failure = future.get()) throw *failure;
}

napi_value guarded(napi_env env, napi_callback_info info, size_t count, napi_value (*function)(napi_env, const Args&)) {
  const auto raise = [env](const Failure& failure) {
    try {
      napi_throw(env, error_of(env, failure));
    } catch (...) { napi_throw_error(env, failure.code.c_str(), failure.message.c_str()); }
  };
  try {
    Args args(count);
    size_t given = count;
    check(env, napi_get_cb_info(env, info, &given, args.data(), nullptr, nullptr), "a call");
    return function(env, args);
  } catch (const Pending&) {
  } catch (const Failure& failure) { raise(failure); } catch (const std::bad_alloc&) {
    raise({"XLA_RESOURCE_EXHAUSTED", "the host's memory does not suffice."});
  } catch (const std::exception& error) { raise({"XLA_INTERNAL", error.what()}); }
  return nullptr;
}
}  // namespace nbit::pjrt::js
