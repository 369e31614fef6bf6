#include "dist/options.h"

#include "binding/errors.h"

#include <sstream>

namespace nbit::dist {

Options::Options(const std::string& lines) {
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    const auto at = line.find('=');
    if (at != std::string::npos) values_[line.substr(0, at)] = line.substr(at + 1);
  }
}

std::string Options::text(const std::string& name) const {
  const auto at = values_.find(name);
  if (at == values_.end()) fail("ERR_ARGUMENT", "native: expected the option " + name);
  return at->second;
}

int64_t Options::integer(const std::string& name) const {
  const std::string value = text(name);
  try {
    size_t used = 0;
    const int64_t n = std::stoll(value, &used);
    if (used == value.size()) return n;
  } catch (const std::logic_error&) {  // no number, or one too large
  }
  fail("ERR_ARGUMENT", "native: expected the option " + name + " to be a whole number. Received: " + value);
}

std::vector<int64_t> Options::integers(const std::string& name) const {
  std::vector<int64_t> list;
  std::istringstream in(text(name));
  for (std::string item; std::getline(in, item, ',');) list.push_back(Options("n=" + item).integer("n"));
  return list;
}

}  // namespace nbit::dist
