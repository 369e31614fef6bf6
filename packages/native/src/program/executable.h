// A recorded program made ready to run again on the CPU: memory planned once, views laid out once, kernels called
// straight where they can be.
#pragma once
#include "program/arena.h"
#include "program/program.h"

#include <ATen/core/stack.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace nbit::program {

/** One call of a kernel. What needs no call (views, room that nobody has written yet) is no step. */
struct Step {
  explicit Step(const c10::OperatorHandle& o) : op(o) {}

  using Kernel = void (*)(Step&);
  Kernel kernel = nullptr;  // null: through the dispatcher
  c10::OperatorHandle op;   // the recorded operator, or its variant that takes its results' memory
  const Operation* source = nullptr;
  bool gradMode = false;

  // Through the dispatcher: arguments in the order of the schema, with the tensors that never change.
  std::vector<c10::IValue> form;
  struct Hole {
    uint32_t at;
    int32_t value;
  };
  std::vector<Hole> holes;      // tensors that are others in every run
  std::vector<uint32_t> lists;  // arguments with such tensors in a list
  std::vector<int32_t> made;    // values that the operator makes, in the order of its results; -1: not of interest

  // Kernels called straight: each argument's tensor (null where it is none), and the results'.
  std::vector<at::Tensor*> in, out;
  const at::Tensor& tensor(size_t i) const { return *in[i]; }
  at::Tensor& result(size_t i) const { return *out[i]; }

  std::vector<int32_t> allocates;  // values that get memory of their own before it
  std::vector<int32_t> frees;      // buffers that nobody reads after it
};

struct Counts {
  int64_t operators, steps, straight, folded, allocating;
  size_t arenaBytes, ownBytes;
};

/** Where the memory of buffers comes from in a run, beside the arena. */
struct Placement {
  // Of each buffer: whether it is external and another tensor in every run.
  std::vector<bool> bound;
  // Whether it outlives a run: then each has its own.
  std::vector<bool> outlives;
  // The operation after which nobody outside the program has it any more; 0: nobody has.
  std::vector<uint32_t> heldUntil;
};

class Executable {
 public:
  Executable(const Program& program, Placement placement, Arena& arena);
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  /** Runs operations [from, to) in the recorded order. */
  void run(uint32_t from, uint32_t to);
  /** Let a bound value be `t`: of the recorded dtype, shape and strides. Its buffer's other values follow. */
  void bind(int32_t value, const at::Tensor& t);
  /** The run is over: memory of its own that nobody asked for goes. */
  void finish();

  const at::Tensor& tensor(int32_t value) const { return tensors_[value]; }
  bool stays(int32_t value) const { return stays_[program_.values[value].buffer]; }
  /** Whether external memory is where it was. */
  bool isWhereItWas() const;
  const Counts& counts() const { return counts_; }
  /** What intermediate results lie in. */
  const std::shared_ptr<c10::DataPtr>& block() const { return block_; }

 private:
  friend class Planner;
  void call(Step& step);
  void put(int32_t value, at::Tensor t);

  const Program& program_;
  std::vector<at::Tensor> tensors_;  // of each value: always there, or from when a run makes it
  std::vector<bool> stays_;          // of each buffer: its memory is the same in every run
  std::vector<std::vector<int32_t>> valuesOf_;
  std::vector<Step> steps_;
  std::vector<uint32_t> firstStep_;  // of each operation, and one behind the last
  std::shared_ptr<c10::DataPtr> block_;
  std::vector<int32_t> passing_;  // values that a run makes
  struct Known {
    at::Tensor tensor;
    const c10::StorageImpl* storage;
    const void* data;
  };
  std::vector<Known> known_;
  torch::jit::Stack stack_;
  Counts counts_{};
};

/** The kernel that computes an operator into memory that is given, called without the dispatcher; null: none. */
Step::Kernel straightKernel(const Operation& operation, const Program& program);

/** `v` over memory, `shift` elements further than it was recorded. */
at::Tensor tensorOver(c10::intrusive_ptr<c10::StorageImpl> storage, const Value& v, int64_t shift = 0);

}  // namespace nbit::program
