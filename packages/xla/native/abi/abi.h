// The binary interface of PJRT plugins, as far as this host uses it: the table of entries, and what each one takes.
//
// A plugin exports `GetPjrtApi()`, which returns its table. Minor versions only append to the table and to the structs,
// and everything carries its size, so that old and new fit together; major versions do not. What stands in
// abi-entries.inc is the interface of version 0.90; abi-check.h compares it with XLA's own header where that is there.
#pragma once
#include <cstddef>
#include <cstdint>

namespace nbit::pjrt {
constexpr int MAJOR = 0;
constexpr int MINOR = 90;

struct Error;
struct Event;
struct Client;
struct Device;
struct DeviceDescription;
struct TopologyDescription;
struct Executable;
struct LoadedExecutable;
struct Buffer;
struct SerializedExecutable;
struct Memory;
struct Extension;

struct Version {
  size_t struct_size;
  Extension* extension_start;
  int major_version;
  int minor_version;
};
/** The entries follow one another; a table that is shorter than an index has not got that entry. */
struct Table {
  size_t struct_size;
  Extension* extension_start;
  Version pjrt_api_version;
  void (*entries[1])();
};

enum class ValueType : int { string = 0, int64, int64List, float32, boolean };
/** An option, or an answer, by name. */
struct NamedValue {
  size_t struct_size;
  Extension* extension_start;
  const char* name;
  size_t name_size;
  ValueType type;
  union {
    const char* string_value;
    int64_t int64_value;
    const int64_t* int64_array_value;
    float float_value;
    bool bool_value;
  };
  size_t value_size;  // elements of a list, bytes of a string, else 1
};

struct Program {
  size_t struct_size;
  Extension* extension_start;
  char* code;
  size_t code_size;
  const char* format;
  size_t format_size;
};

struct TiledLayout {
  size_t struct_size;
  Extension* extension_start;
  const int64_t* minor_to_major;
  size_t minor_to_major_size;
  const int64_t* tile_dims;
  const size_t* tile_dim_sizes;
  size_t num_tiles;
};
struct StridedLayout {
  size_t struct_size;
  Extension* extension_start;
  const int64_t* byte_strides;
  size_t num_byte_strides;
};
struct MemoryLayout {
  size_t struct_size;
  Extension* extension_start;
  union {
    TiledLayout tiled;
    StridedLayout strides;
  };
  int type;  // 0: tiled
};

struct ExecuteOptions {
  size_t struct_size;
  Extension* extension_start;
  void* send_callbacks;
  void* recv_callbacks;
  size_t num_send_ops;
  size_t num_recv_ops;
  int launch_id;
  const int64_t* non_donatable_input_indices;
  size_t num_non_donatable_input_indices;
  void* context;
  const char* call_location;
  size_t num_tasks;
  int* task_ids;
  int64_t* incarnation_ids;
};

/** Called once an event has come, on a thread of the plugin's or at once; owns the error. */
using ReadyCallback = void (*)(Error* error, void* user_arg);
using SerializedDeleter = void (*)(SerializedExecutable* serialized);

/** How long the host's memory must stay as it is. */
enum class HostBufferSemantics : int { onlyDuringCall = 0, untilTransferCompletes = 1 };

// A struct of arguments for each entry: `Client_Compile_Args` and so on.
#define FIELD(Type, name) Type name;
#define ENTRY(Name, Index, last, ...) \
  struct Name##_Args {                \
    size_t struct_size;               \
    Extension* extension_start;       \
    __VA_ARGS__                       \
  };
#include "abi-entries.inc"
#undef ENTRY
#undef FIELD

/** Of a struct of arguments: its entry's place in the table, its name, and its size, which ends with the last field. */
template <class Args>
struct Entry;
#define FIELD(Type, name)
#define ENTRY(Name, Index, last, ...)                                                       \
  template <>                                                                               \
  struct Entry<Name##_Args> {                                                               \
    static constexpr size_t index = Index;                                                  \
    static constexpr const char* name = "PJRT_" #Name;                                      \
    static constexpr size_t size = offsetof(Name##_Args, last) + sizeof(Name##_Args::last); \
  };
#include "abi-entries.inc"
#undef ENTRY
#undef FIELD
}  // namespace nbit::pjrt
