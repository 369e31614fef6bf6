// Holds abi.h against XLA's own header: places in the table, sizes, and the offset and size of every field. Compiled
// where that header is there, with the CPU plugin.
#pragma once
#include "xla/pjrt/c/pjrt_c_api.h"

#include "abi.h"

static_assert(nbit::pjrt::MAJOR == PJRT_API_MAJOR);
static_assert(nbit::pjrt::MINOR <= PJRT_API_MINOR, "a header newer than this one appends; an older one lacks entries");

#define SAME(Ours, Theirs, field)                                  \
  static_assert(offsetof(Ours, field) == offsetof(Theirs, field)); \
  static_assert(sizeof(Ours::field) == sizeof(Theirs::field));
#define FIELD(Type, name) SAME(Ours, Theirs, name)
#define ENTRY(Name, Index, last, ...)                                                                        \
  namespace nbit::pjrt::check_##Name {                                                                       \
    using Ours = Name##_Args;                                                                                \
    using Theirs = PJRT_##Name##_Args;                                                                       \
    static_assert(offsetof(PJRT_Api, PJRT_##Name) == offsetof(Table, entries) + Index * sizeof(void (*)())); \
    static_assert(Entry<Ours>::size == PJRT_##Name##_Args_STRUCT_SIZE);                                      \
    __VA_ARGS__                                                                                              \
  }
#include "abi-entries.inc"
#undef ENTRY
#undef FIELD

namespace nbit::pjrt::check_structs {
static_assert(offsetof(Table, pjrt_api_version) == offsetof(PJRT_Api, pjrt_api_version));
SAME(Version, PJRT_Api_Version, major_version)
SAME(Version, PJRT_Api_Version, minor_version)
static_assert(sizeof(Version) == sizeof(PJRT_Api_Version));
SAME(NamedValue, PJRT_NamedValue, name)
SAME(NamedValue, PJRT_NamedValue, name_size)
SAME(NamedValue, PJRT_NamedValue, type)
SAME(NamedValue, PJRT_NamedValue, int64_array_value)
SAME(NamedValue, PJRT_NamedValue, value_size)
static_assert(sizeof(NamedValue) == PJRT_NamedValue_STRUCT_SIZE);
SAME(Program, PJRT_Program, code)
SAME(Program, PJRT_Program, code_size)
SAME(Program, PJRT_Program, format)
SAME(Program, PJRT_Program, format_size)
static_assert(sizeof(Program) == PJRT_Program_STRUCT_SIZE);
SAME(TiledLayout, PJRT_Buffer_MemoryLayout_Tiled, minor_to_major)
SAME(TiledLayout, PJRT_Buffer_MemoryLayout_Tiled, num_tiles)
static_assert(sizeof(TiledLayout) == PJRT_Buffer_MemoryLayout_Tiled_STRUCT_SIZE);
SAME(MemoryLayout, PJRT_Buffer_MemoryLayout, tiled)
SAME(MemoryLayout, PJRT_Buffer_MemoryLayout, type)
static_assert(sizeof(MemoryLayout) == sizeof(PJRT_Buffer_MemoryLayout));
SAME(ExecuteOptions, PJRT_ExecuteOptions, launch_id)
SAME(ExecuteOptions, PJRT_ExecuteOptions, non_donatable_input_indices)
SAME(ExecuteOptions, PJRT_ExecuteOptions, num_non_donatable_input_indices)
SAME(ExecuteOptions, PJRT_ExecuteOptions, context)
SAME(ExecuteOptions, PJRT_ExecuteOptions, incarnation_ids)
static_assert(sizeof(ExecuteOptions) == PJRT_ExecuteOptions_STRUCT_SIZE);
static_assert(static_cast<int>(ValueType::boolean) == PJRT_NamedValue_kBool);
static_assert(static_cast<int>(ValueType::int64List) == PJRT_NamedValue_kInt64List);
static_assert(static_cast<int>(HostBufferSemantics::untilTransferCompletes) ==
              PJRT_HostBufferSemantics_kImmutableUntilTransferCompletes);
}  // namespace nbit::pjrt::check_structs
#undef SAME
