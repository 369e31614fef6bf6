// Why training in several processes cannot go on: the first reason that this process learned of, for all its threads.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace nbit::dist {

struct Failure {
  const char* code;  // ERR_DIST_…
  std::string message;
};

/** Set once. Whoever waits registers to be woken, by the thread that notices. */
class FailureFlag {
 public:
  std::optional<Failure> get() const;
  /** Keeps the first; later ones are consequences of it. */
  void set(Failure failure);
  /** Calls `wake` once there is a failure, at once where there is one. @returns what `forget` takes. */
  int64_t onFailure(std::function<void(const Failure&)> wake);
  void forget(int64_t id);

 private:
  mutable std::mutex mutex_;
  std::optional<Failure> failure_;
  std::map<int64_t, std::function<void(const Failure&)>> waiting_;
  int64_t next_ = 1;
};

/** Throws what is set. */
void throwIfFailed(const FailureFlag& flag);
[[noreturn]] void throwFailure(const Failure& failure);

}  // namespace nbit::dist
