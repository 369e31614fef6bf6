// A plugin: a shared library with a table of entries. Several live in one process, each with its own table.
#pragma once
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "../abi/abi.h"
#include "failure.h"
#include "lane.h"

namespace nbit::pjrt {
using Value = std::variant<std::string, int64_t, std::vector<int64_t>, float, bool>;
using NamedValues = std::vector<std::pair<std::string, Value>>;

/** Arguments of an entry, zeroed, with their size. */
template <class Args>
Args arguments() {
  Args args;
  std::memset(static_cast<void*>(&args), 0, sizeof args);
  args.struct_size = Entry<Args>::size;
  return args;
}

class Plugin {
 public:
  /**
   * Loads a library, once per file and process; it is never unloaded, since its threads live on.
   * @throws Failure XLA_NO_PLUGIN, XLA_PLUGIN_BROKEN, XLA_NOT_A_PLUGIN, XLA_PLUGIN_VERSION, or what its initialization
   * says.
   */
  static std::shared_ptr<Plugin> load(const std::string& path);

  /** An older plugin's table may end before an entry, and a plugin may leave one null. */
  template <class Args>
  bool has() const {
    return find(Entry<Args>::index) != nullptr;
  }
  /** @throws Failure with the plugin's own status and words, or XLA_UNIMPLEMENTED where it lacks the entry. */
  template <class Args>
  void call(Args& args) const {
    if (Error* error = attempt(args)) raise(error, Entry<Args>::name);
  }
  /** For destructors: what fails there concerns nobody any more. */
  template <class Args>
  void tell(Args& args) const noexcept {
    if (has<Args>())
      if (Error* error = attempt(args)) destroy(error);
  }
  /** The same as a failure, of an error that an event brought. */
  [[noreturn]] void raise(Error* error, const char* entry) const;
  Failure failure(Error* error, const char* entry) const;

  const std::string path;
  const Version version;
  const NamedValues attributes;
  /** Names of entries that this host uses and the plugin lacks. */
  std::vector<std::string> missing() const;
  /** Where creating clients and compiling happen, one after another. */
  Lane slow;

  Plugin(std::string path, const Table* table);

 private:
  using Function = void (*)();
  Function find(size_t index) const;
  template <class Args>
  Error* attempt(Args& args) const {
    const Function entry = find(Entry<Args>::index);
    if (entry == nullptr)
      throw Failure("XLA_UNIMPLEMENTED", std::string(Entry<Args>::name) + " is missing in " + path + ".");
    return reinterpret_cast<Error* (*)(Args*)>(entry)(&args);
  }
  void destroy(Error* error) const noexcept;
  static NamedValues attributes_of(const Plugin& plugin);

  const Table* table_;
};

/** Answers of a plugin by name, copied. */
NamedValues read_named(const NamedValue* values, size_t count);
/** Options by name for a plugin; `values` must outlive what is returned. */
std::vector<NamedValue> write_named(const NamedValues& values);
}  // namespace nbit::pjrt
