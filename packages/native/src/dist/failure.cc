#include "dist/failure.h"

#include "binding/errors.h"

#include <vector>

namespace nbit::dist {

std::optional<Failure> FailureFlag::get() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

void FailureFlag::set(Failure failure) {
  std::vector<std::function<void(const Failure&)>> woken;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failure_) return;
    failure_ = std::move(failure);
    for (auto& [id, wake] : waiting_) woken.push_back(std::move(wake));
    waiting_.clear();
  }
  for (const auto& wake : woken) wake(*failure_);
}

int64_t FailureFlag::onFailure(std::function<void(const Failure&)> wake) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_) {
      waiting_.emplace(next_, std::move(wake));
      return next_++;
    }
  }
  wake(*failure_);
  return 0;
}

void FailureFlag::forget(int64_t id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  waiting_.erase(id);
}

void throwFailure(const Failure& failure) { fail(failure.code, failure.message); }
void throwIfFailed(const FailureFlag& flag) {
  if (const auto failure = flag.get()) throwFailure(*failure);
}

}  // namespace nbit::dist
