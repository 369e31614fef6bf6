// The table of tensors. A JavaScript tensor holds one number: slot index in the low 24 bits, generation above. The
// table lies in a reserved address range, so a slot never moves and a `const at::Tensor&` into it stays valid for a
// whole call. All environments share the table: each takes slots by the chunk, and a slot knows whose it is, so that a
// tensor of another thread is told from one's own.
#pragma once
#include "binding/environment.h"

#include <ATen/core/TensorBody.h>

#include <functional>

namespace nbit {

constexpr uint32_t kIndexBits = 24;
constexpr uint32_t kMaxSlots = 1u << kIndexBits;
constexpr uint32_t kGenerationMask = 0xfffffff;  // 24 + 28 bits stay exact in a double
constexpr uint32_t kFree = 1u << 31;             // no generation of a handle has this bit
constexpr uint32_t kGuarded = 1u << 31;          // no guardedKb has this bit by itself

struct Slot {
  at::Tensor tensor;
  uint32_t generation;  // with kFree while nothing is in it
  uint32_t owner;       // id of the environment; 0 before the first
  uint32_t next;        // free slot after this one
  uint32_t guardedKb;   // with kGuarded while a finalizer will free the tensor: what it was reported to V8 as
};
extern Slot* slots;

/** The table, when the first environment opens. */
void openSlots();
/** Gives back what an environment has. */
void closeSlots(Environment& e);
uint32_t freshSlot();
/** Room for so many tensors more: for what was reserved, and is not odd, `newHandle` does not fail. */
void reserveSlots(size_t count);
[[noreturn]] void failBadHandle(double handle);

// Tensors that hardly an operator expects: gradients that are zero everywhere have no memory (JavaScript gets zeros),
// quantized and nested ones are refused.
constexpr c10::DispatchKeySet kOdd = c10::DispatchKeySet(c10::DispatchKey::ZeroTensor) |
                                     c10::DispatchKeySet(c10::DispatchKey::Quantized) |
                                     c10::DispatchKeySet(c10::DispatchKey::NestedTensor);
at::Tensor plain(at::Tensor&& odd);
inline bool isOdd(const at::Tensor& t) { return t.key_set().has_any(kOdd); }

inline double newHandle(at::Tensor&& tensor) {
  if (!tensor.defined()) return 0;
  if (isOdd(tensor)) [[unlikely]]
    tensor = plain(std::move(tensor));
  Environment& e = *js;
  uint32_t index = e.freeSlot;
  if (index) [[likely]]
    e.freeSlot = slots[index].next;
  else index = freshSlot();
  Slot& slot = slots[index];
  new (&slot.tensor) at::Tensor(std::move(tensor));
  slot.generation &= kGenerationMask;
  ++e.live;
  return static_cast<double>(index) + static_cast<double>(kMaxSlots) * slot.generation;
}
inline double newHandle(const at::Tensor& tensor) { return newHandle(at::Tensor(tensor)); }

inline bool isLive(double handle) {
  if (!(handle >= 0 && handle < 4503599627370496.0)) return false;
  const auto bits = static_cast<uint64_t>(handle);
  const Slot& slot = slots[bits & (kMaxSlots - 1)];
  // The owner first: of another thread's slot nothing else may be read.
  return __atomic_load_n(&slot.owner, __ATOMIC_RELAXED) == js->id &&
         slot.generation == static_cast<uint32_t>(bits >> kIndexBits);
}
inline const at::Tensor& get(double handle) {
  if (!isLive(handle)) [[unlikely]]
    failBadHandle(handle);
  return slots[static_cast<uint64_t>(handle) & (kMaxSlots - 1)].tensor;
}
void release(double handle);
/** Puts another tensor into every slot whose tensor `other` knows one for (else null). Looks at all of them. */
void replaceTensors(const std::function<const at::Tensor*(const at::Tensor&)>& other);

}  // namespace nbit
