// What a kernel leaves for the node of the graph that comes next.
#pragma once
#include <ATen/core/Tensor.h>

#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace nbit {

/**
 * Results by the gradient that they belong to, kept until they are asked for or `most` others were kept. Of the tensor
 * itself, not its memory: a view that was made below autograd has a version of its own.
 */
template <class T>
class ForNextNode {
 public:
  explicit ForNextNode(size_t most) : kept_(most) {}

  void keep(const at::Tensor& gradient, T what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    kept_[oldest_] = {Weak(gradient.getIntrusivePtr()), static_cast<uint32_t>(gradient._version()), std::move(what)};
    oldest_ = (oldest_ + 1) % kept_.size();
  }
  /** What was kept of this very gradient; nothing where it has been written since. */
  std::optional<T> take(const at::Tensor& gradient) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Kept& k : kept_)
      if (k.what && k.gradient.lock().get() == gradient.unsafeGetTensorImpl()) {
        Kept found = std::exchange(k, Kept{});
        return found.version == static_cast<uint32_t>(gradient._version()) ? std::move(found.what) : std::nullopt;
      }
    return std::nullopt;
  }

 private:
  using Weak = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  struct Kept {
    Weak gradient{c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>()};
    uint32_t version = 0;
    std::optional<T> what;
  };
  std::mutex mutex_;
  std::vector<Kept> kept_;
  size_t oldest_ = 0;
};

}  // namespace nbit
