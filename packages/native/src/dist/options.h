// Options of an entry that has many: lines of `name=value`, as @nbit/torch writes them.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nbit::dist {

class Options {
 public:
  explicit Options(const std::string& lines);
  std::string text(const std::string& name) const;
  int64_t integer(const std::string& name) const;
  bool flag(const std::string& name) const { return text(name) == "true"; }
  /** Separated by commas. */
  std::vector<int64_t> integers(const std::string& name) const;

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace nbit::dist
