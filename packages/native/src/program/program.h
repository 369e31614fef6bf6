// A step as a program: a flat list of operators below autograd, over values that lie in buffers. Recorded (recorder.h),
// written as text (text.h), and run again (executable.h).
#pragma once
#include <ATen/core/TensorBody.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <c10/core/StorageImpl.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nbit::program {

/** Memory that values lie in. */
struct Buffer {
  enum class Origin : uint8_t {
    made,      // by an operator of the program
    external,  // there before: an input, a parameter, a running mean, a step counter
    number,    // a number in a tensor's place, which the program keeps
  };
  Origin origin;
  bool written = false;  // by an operator; an external one is then state
  size_t bytes = 0;
  c10::weak_intrusive_ptr<c10::StorageImpl> where;  // keeps the address, not the memory: no other storage takes it
};

/** A view of a buffer. Two tensors that read the same elements in the same way are one value. */
struct Value {
  int32_t buffer;
  int64_t offset;  // in elements
  std::vector<int64_t> sizes, strides;
  at::ScalarType dtype;
  bool requiresGrad;  // as the operator saw it: some kernels ask
  at::Tensor tensor;  // of an external value, or a number
};

struct Argument {
  enum class Kind : uint8_t { constant, one, many, manyOptional };
  Kind kind = Kind::constant;
  c10::IValue constant;
  std::vector<int32_t> values;  // -1: no tensor
};

struct Operation {
  c10::OperatorHandle op;
  std::vector<Argument> arguments;
  std::vector<int32_t> results;  // tensors in order, lists flattened; -1: undefined
  std::vector<int32_t> written;  // values that it writes, of its arguments
  bool gradMode;
  int32_t forward = -1;  // of one of backward: the operation whose gradient it belongs to, where that is known
};

struct Program {
  std::vector<Buffer> buffers;
  std::vector<Value> values;
  std::vector<Operation> operations;

  bool isMade(int32_t value) const { return buffers[values[value].buffer].origin == Buffer::Origin::made; }
};

/** Whether a tensor of the value's buffer reads the same elements in the same way. */
inline bool isViewOf(const Value& v, const at::Tensor& t) {
  return v.offset == t.storage_offset() && v.dtype == t.scalar_type() && t.sizes() == v.sizes &&
         t.strides() == v.strides;
}
inline c10::intrusive_ptr<c10::StorageImpl> storageOf(const at::Tensor& t) {
  return c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(t.storage().unsafeGetStorageImpl());
}

/** Which value a tensor is; -1: none. Looks at all of them. */
int32_t find(const Program& program, const at::Tensor& t);

/** All values of an operation's arguments, -1 left out. */
template <class Use>
void eachArgument(const Operation& operation, Use use) {
  for (const Argument& a : operation.arguments)
    for (const int32_t v : a.values)
      if (v >= 0) use(v);
}

}  // namespace nbit::program
