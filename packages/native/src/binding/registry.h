// What JavaScript holds by a number.
#pragma once
#include "binding/core.h"

#include <map>
#include <memory>
#include <string>

namespace nbit {

/** Things by id. */
template <class T>
class Registry {
 public:
  double add(std::unique_ptr<T> item) {
    items_.emplace(++last_, std::move(item));
    return last_;
  }
  T& at(double id, const char* what) {
    auto found = items_.find(id);
    if (found == items_.end()) fail("ERR_ARGUMENT", std::string("expected a ") + what + " that is in use");
    return *found->second;
  }
  void remove(double id) { items_.erase(id); }

 private:
  std::map<double, std::unique_ptr<T>> items_;
  double last_ = 0;
};

}  // namespace nbit
