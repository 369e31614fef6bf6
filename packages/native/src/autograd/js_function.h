// JavaScript functions that the graph calls: the backward of a node, hooks.
#pragma once
#include "binding/core.h"

#include <c10/util/SmallVector.h>

#include <memory>

namespace nbit {

// A JavaScript function that the graph calls: in its own environment, where it is deleted too.
class JsFunction {
 public:
  JsFunction(const Args& a, size_t i) : home_(js->shared_from_this()), ref_(a.function(i)) { ++home_->javascriptNodes; }
  ~JsFunction() {
    --home_->javascriptNodes;
    deferDelete(*home_, ref_);
  }
  JsFunction(const JsFunction&) = delete;
  JsFunction& operator=(const JsFunction&) = delete;

  Environment& home() const { return *home_; }
  napi_ref ref() const { return ref_; }

 private:
  const std::shared_ptr<Environment> home_;
  const napi_ref ref_;
};

// One call of it, in its environment. The buffer carries the arguments, behind a mark that JavaScript takes away when
// it has read them: handles that nobody read (the stack overflowed, say) are released. An exception stays pending and
// unwinds autograd.
class Calling {
 public:
  explicit Calling(const JsFunction& fn) : fn_(fn) {
    if (!fn.home().onItsThread())
      fail("AUTOGRAD_THREAD",
           "a JavaScript backward or hook was reached on another thread: the graph nests backward calls too deeply, or "
           "runs on a GPU with multithreaded backward. Move it out of the nested backward");
    js = &fn.home();
    napi_open_handle_scope(js->env, &scope_);
  }
  ~Calling() { napi_close_handle_scope(fn_.home().env, scope_); }

  /** Begins the arguments: so many numbers behind the mark, so many tensors among them. */
  Writer begin(size_t numbers, size_t tensors) {
    Writer out(1 + numbers, tensors);
    out.number(kUnread);
    return out;
  }
  void tensor(Writer& out, at::Tensor&& t) {
    given_.push_back(newHandle(std::move(t)));
    out.number(given_.back());
  }
  /** What it returns, valid while this lives. `argument`: one besides those in the buffer. */
  napi_value run(napi_value argument = nullptr) {
    napi_value fn, undefined, result = nullptr;
    napi_get_undefined(js->env, &undefined);
    bool done = napi_get_reference_value(js->env, fn_.ref(), &fn) == napi_ok;
    {
      const StayHere stay;
      done = done &&
             napi_call_function(js->env, undefined, fn, argument == nullptr ? 0 : 1, &argument, &result) == napi_ok;
    }
    if (js->buffer[0] == kUnread)
      for (const double handle : given_) release(handle);
    if (!done) throw JsPending{};
    return result;
  }

 private:
  static constexpr double kUnread = -1;
  const StayHere outer_;
  const JsFunction& fn_;
  napi_handle_scope scope_ = nullptr;
  c10::SmallVector<double, 8> given_;
};

}  // namespace nbit
