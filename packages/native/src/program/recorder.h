// Records what operators do on this thread, below autograd and autocast, while they run.
#pragma once
#include "program/program.h"

#include <ATen/core/stack.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

namespace nbit::program {

/** One recording, from `begin` to `end`. Holds no memory of what it saw: only addresses, and what was there before. */
class Recorder {
 public:
  /** Runs an operator and notes it down. */
  void call(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack);

  /** What happens cannot be repeated. The first reason counts; the step goes on as if nothing recorded it. */
  void refuse(const std::string& reason);
  const std::string& refusal() const { return refusal_; }
  /** Told of the first reason, where it arises. */
  void (*onRefusal)() = nullptr;
  /** Told before each operator is noted down. */
  std::function<void()> onOperation;
  /** Told after each: its caller is who called the operator. */
  void (*onNoted)() = nullptr;
  /** JavaScript runs again in a replay: what it reads and decides, it reads and decides again. */
  bool followsJavaScript = false;
  /** The program is run, and keeps the tensors that were there before. Else it is read, and keeps none. */
  bool runs = true;

  /** The value that a tensor is; one that no operator has made is noted down as external. */
  int32_t know(const at::Tensor& t) { return argument(t); }

  Program program;

 private:
  bool takes(const at::Tensor& t);
  int32_t find(const at::Tensor& t) const;
  int32_t add(const at::Tensor& t, Buffer::Origin origin);
  int32_t argument(const at::Tensor& t);
  int32_t result(const at::Tensor& t);
  /** `written`: the tensors that it writes, as `Operation::written`. */
  Operation argumentsOf(const c10::OperatorHandle& op, const torch::jit::Stack& stack,
                        std::vector<at::Tensor>& written);
  void resultsOf(Operation& operation, const torch::jit::Stack& stack);

  /** Which operation of forward an operator that runs now belongs to; notes that of forward down. */
  int32_t forwardOf(int32_t index);

  std::string refusal_;
  std::unordered_map<uint64_t, int32_t> bySequence_;  // autograd's numbers of nodes → operations of forward
  std::unordered_map<const c10::StorageImpl*, int32_t> buffers_;
  std::vector<std::vector<int32_t>> valuesOf_;  // of each buffer
};

/** The recorder of this thread; null: none. Operators go to it while `listen` says so. */
extern constinit thread_local Recorder* recording __attribute__((tls_model("initial-exec")));
void listen(bool on);
bool listens();

using LeaveReplay = void (*)(const char* reason);
/** While a replay follows JavaScript's calls: goes on eagerly from here. Null: none does. */
extern constinit thread_local LeaveReplay leaveReplay __attribute__((tls_model("initial-exec")));

/** Counts changes of settings of the process that decide what operators do: a step recorded before one is of no use. */
extern std::atomic<uint64_t> settings;
inline void settingChanges() { settings.fetch_add(1, std::memory_order_relaxed); }

/** Something happens that no operator does, and that changes what later operators do. Costs a look at two variables. */
inline void unrecorded(const char* reason) {
  if (recording != nullptr) [[unlikely]]
    recording->refuse(reason);
  if (leaveReplay != nullptr) [[unlikely]]
    leaveReplay(reason);
}
/** Something is read, or made, that JavaScript would do again where it runs again. */
inline void outsideOfPrograms(const char* reason) {
  if (recording != nullptr && !recording->followsJavaScript) [[unlikely]]
    recording->refuse(reason);
}
/** A graph is changed, which a replay that follows JavaScript does not have. */
inline void needsGraph(const char* reason) {
  if (leaveReplay != nullptr) [[unlikely]]
    leaveReplay(reason);
  if (recording != nullptr && recording->followsJavaScript) [[unlikely]]
    recording->refuse(reason);
}

}  // namespace nbit::program
