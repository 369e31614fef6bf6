// libtorch's header of function transforms can write them down as JSON by a library whose headers it does not ship. What
// that header needs to be read is declared here; nothing is defined, and nothing of it is called.
#pragma once
#include <string>

namespace nlohmann {

struct json {
  json();
  template <class T>
  explicit json(const T& value);
  std::string dump() const;
  static json parse(const std::string& text);
  template <class T>
  T get() const;
};

}  // namespace nlohmann
