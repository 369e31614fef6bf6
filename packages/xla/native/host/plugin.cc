#include "plugin.h"

#include <dlfcn.h>
#include <link.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace nbit::pjrt {
namespace {
constexpr const char* STATUS[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

std::string version_text(int major, int minor) { return std::to_string(major) + "." + std::to_string(minor); }

/** The code of what is loaded into the process at a moment. */
class LoadedCode {
 public:
  LoadedCode() {
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* self) {
          for (int i = 0; i < info->dlpi_phnum; i++) {
            const auto& part = info->dlpi_phdr[i];
            if (part.p_type != PT_LOAD) continue;
            const uintptr_t start = info->dlpi_addr + part.p_vaddr;
            static_cast<LoadedCode*>(self)->parts_.emplace_back(start, start + part.p_memsz);
          }
          return 0;
        },
        this);
  }
  bool holds(const void* code) const {
    const auto at = reinterpret_cast<uintptr_t>(code);
    return std::any_of(parts_.begin(), parts_.end(), [&](const auto& p) { return p.first <= at && at < p.second; });
  }

 private:
  std::vector<std::pair<uintptr_t, uintptr_t>> parts_;
};

/**
 * What signals do stays as it was: libtpu would ignore a hangup of the terminal, and take faults away from JavaScript's
 * engine, which turns some of them into exceptions. SIGPROF, which its own timers send, is left to it.
 *
 * A plugin loads beside the program's own threads, and what those set meanwhile is theirs: a handler of code that was
 * there before, or none. Taking Node's handler of SIGCHLD away would leave it waiting for its children for good.
 */
class KeptSignals {
 public:
  KeptSignals() {
    for (size_t i = 0; i < std::size(KEPT); i++) sigaction(KEPT[i], nullptr, &before_[i]);
  }
  ~KeptSignals() {
    for (size_t i = 0; i < std::size(KEPT); i++) {
      struct sigaction now;
      sigaction(KEPT[i], nullptr, &now);
      if (now.sa_handler != before_[i].sa_handler && is_plugins(now)) sigaction(KEPT[i], &before_[i], nullptr);
    }
  }

 private:
  bool is_plugins(const struct sigaction& action) const {
    if (action.sa_handler == SIG_DFL) return false;
    return action.sa_handler == SIG_IGN || !loaded_.holds(reinterpret_cast<const void*>(action.sa_handler));
  }
  static constexpr int KEPT[] = {SIGHUP, SIGINT,  SIGQUIT, SIGTERM, SIGSEGV, SIGBUS,  SIGILL,
                                 SIGFPE, SIGABRT, SIGTRAP, SIGPIPE, SIGCHLD, SIGUSR1, SIGUSR2};
  struct sigaction before_[std::size(KEPT)];
  const LoadedCode loaded_;
};

const Table* table_of(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* why = dlerror();
    throw Failure("XLA_PLUGIN_BROKEN", path + " does not load: " + (why == nullptr ? "no reason given" : why) + ".");
  }
  auto get = reinterpret_cast<const Table* (*)()>(dlsym(library, "GetPjrtApi"));
  if (get == nullptr)
    throw Failure("XLA_NOT_A_PLUGIN", path + " is a library, but no PJRT plugin: it exports no GetPjrtApi.");
  const Table* table = get();
  if (table == nullptr || table->struct_size < offsetof(Table, entries))
    throw Failure("XLA_NOT_A_PLUGIN", path + " is no PJRT plugin: its GetPjrtApi returns no table.");
  const Version& version = table->pjrt_api_version;
  if (version.major_version != MAJOR)
    throw Failure("XLA_PLUGIN_VERSION", path + " speaks version " +
                                            version_text(version.major_version, version.minor_version) +
                                            " of the PJRT API. Expected version " + std::to_string(MAJOR) +
                                            ".x (this host: " + version_text(MAJOR, MINOR) + ").");
  // Without these not even a refusal could be read.
  if (table->struct_size < offsetof(Table, entries) + 4 * sizeof(void*) || table->entries[0] == nullptr ||
      table->entries[1] == nullptr)
    throw Failure("XLA_PLUGIN_VERSION", path + " lacks the entries that report errors.");
  return table;
}
}  // namespace

std::shared_ptr<Plugin> Plugin::load(const std::string& path) {
  static auto* mutex = new std::mutex;
  static auto* loaded = new std::map<std::pair<dev_t, ino_t>, std::shared_ptr<Plugin>>;
  struct stat file;
  if (stat(path.c_str(), &file) != 0)
    throw Failure("XLA_NO_PLUGIN", "no PJRT plugin at " + path + ": " + std::strerror(errno) + ".");
  if (!S_ISREG(file.st_mode)) throw Failure("XLA_NO_PLUGIN", "no PJRT plugin at " + path + ": not a file.");
  const std::lock_guard lock(*mutex);
  auto& plugin = (*loaded)[{file.st_dev, file.st_ino}];
  if (plugin == nullptr) {
    const KeptSignals kept;
    plugin = std::make_shared<Plugin>(path, table_of(path));
  }
  return plugin;
}

Plugin::Plugin(std::string path, const Table* table)
    : path(std::move(path)), version(table->pjrt_api_version), attributes(), table_(table) {
  auto initialize = arguments<Plugin_Initialize_Args>();
  if (has<Plugin_Initialize_Args>()) call(initialize);
  const_cast<NamedValues&>(attributes) = attributes_of(*this);
}

NamedValues Plugin::attributes_of(const Plugin& plugin) {
  if (!plugin.has<Plugin_Attributes_Args>()) return {};
  auto args = arguments<Plugin_Attributes_Args>();
  plugin.call(args);
  return read_named(args.attributes, args.num_attributes);
}

Plugin::Function Plugin::find(size_t index) const {
  return offsetof(Table, entries) + (index + 1) * sizeof(Function) <= table_->struct_size ? table_->entries[index]
                                                                                          : nullptr;
}

std::vector<std::string> Plugin::missing() const {
  std::vector<std::string> names;
#define FIELD(Type, name)
#define ENTRY(Name, Index, last, ...) \
  if (!has<Name##_Args>()) names.emplace_back(Entry<Name##_Args>::name);
#include "../abi/abi-entries.inc"
#undef ENTRY
#undef FIELD
  return names;
}

Failure Plugin::failure(Error* error, const char* entry) const {
  auto message = arguments<Error_Message_Args>();
  message.error = error;
  reinterpret_cast<void (*)(Error_Message_Args*)>(find(Entry<Error_Message_Args>::index))(&message);
  const std::string text(message.message == nullptr ? "" : message.message,
                         message.message == nullptr ? 0 : message.message_size);
  size_t status = 2;
  if (has<Error_GetCode_Args>()) {
    auto code = arguments<Error_GetCode_Args>();
    code.error = error;
    if (Error* another = attempt(code)) destroy(another);
    else status = static_cast<size_t>(code.code);
  }
  destroy(error);
  return Failure(std::string("XLA_") + (status < std::size(STATUS) ? STATUS[status] : "UNKNOWN"),
                 std::string(entry) + ": " + text);
}
void Plugin::raise(Error* error, const char* entry) const { throw failure(error, entry); }

void Plugin::destroy(Error* error) const noexcept {
  auto args = arguments<Error_Destroy_Args>();
  args.error = error;
  reinterpret_cast<void (*)(Error_Destroy_Args*)>(find(Entry<Error_Destroy_Args>::index))(&args);
}

NamedValues read_named(const NamedValue* values, size_t count) {
  NamedValues read;
  for (size_t i = 0; i < count; i++) {
    const NamedValue& each = values[i];
    const std::string name(each.name, each.name_size);
    switch (each.type) {
      case ValueType::string: read.emplace_back(name, std::string(each.string_value, each.value_size)); break;
      case ValueType::int64: read.emplace_back(name, each.int64_value); break;
      case ValueType::int64List:
        read.emplace_back(name, std::vector<int64_t>(each.int64_array_value, each.int64_array_value + each.value_size));
        break;
      case ValueType::float32: read.emplace_back(name, each.float_value); break;
      case ValueType::boolean: read.emplace_back(name, each.bool_value); break;
    }
  }
  return read;
}

std::vector<NamedValue> write_named(const NamedValues& values) {
  std::vector<NamedValue> written;
  for (const auto& [name, value] : values) {
    NamedValue each{};
    each.struct_size = sizeof each;
    each.name = name.data();
    each.name_size = name.size();
    each.value_size = 1;
    if (const auto* text = std::get_if<std::string>(&value)) {
      each.type = ValueType::string;
      each.string_value = text->data();
      each.value_size = text->size();
    } else if (const auto* whole = std::get_if<int64_t>(&value)) {
      each.type = ValueType::int64;
      each.int64_value = *whole;
    } else if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) {
      each.type = ValueType::int64List;
      each.int64_array_value = list->data();
      each.value_size = list->size();
    } else if (const auto* number = std::get_if<float>(&value)) {
      each.type = ValueType::float32;
      each.float_value = *number;
    } else {
      each.type = ValueType::boolean;
      each.bool_value = std::get<bool>(value);
    }
    written.push_back(each);
  }
  return written;
}
}  // namespace nbit::pjrt
