// What libtorch itself does not check: for the operators of manifest/guards.json, arguments that would end the process,
// or keep it busy for ever, become errors before the call is dispatched.
#pragma once
#include <ATen/core/function_schema.h>
#include <ATen/core/stack.h>

#include <functional>
#include <vector>

namespace nbit {

/** The arguments of one call, by the names of its schema. */
class Arguments {
 public:
  Arguments(const c10::FunctionSchema& schema, const torch::jit::Stack& stack) : schema(schema), stack_(stack) {}
  const c10::FunctionSchema& schema;
  /** Null where this overload has no such argument, or the call none. */
  const c10::IValue* find(const char* name) const;
  const c10::IValue& at(size_t i) const { return stack_[stack_.size() - schema.arguments().size() + i]; }
  /** Undefined where there is none. */
  at::Tensor tensor(const char* name) const;
  /** Every tensor, alone or in a list, with the argument that it is. */
  template <class F>
  void eachTensor(F f) const {
    for (size_t i = 0; i < schema.arguments().size(); i++) {
      const c10::Argument& argument = schema.arguments()[i];
      const c10::IValue& v = at(i);
      if (v.isTensor() && v.toTensor().defined()) f(v.toTensor(), argument);
      else if (v.isList())
        for (const c10::IValue& e : v.toListRef())
          if (e.isTensor() && e.toTensor().defined()) f(e.toTensor(), argument);
    }
  }

 private:
  const torch::jit::Stack& stack_;
};

/** Throws what is wrong with a call. */
using Guard = std::function<void(const Arguments&)>;

/** The guards of an operator, found once, when it is compiled. None for nearly all. */
std::vector<Guard> guardsOf(const c10::FunctionSchema& schema);

}  // namespace nbit
