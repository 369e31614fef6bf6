// What the opaque handles of the PJRT C API are in this plugin, and how a status becomes the API's error.
#pragma once
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "xla/pjrt/c/pjrt_c_api.h"
#include "xla/pjrt/pjrt_client.h"

struct PJRT_Error {
  absl::Status status;
};
struct PJRT_Event {
  xla::Future<> future;
};
struct PJRT_DeviceDescription {
  const xla::PjRtDevice* device;
};
struct PJRT_Device {
  PJRT_DeviceDescription description;
  xla::PjRtDevice* device;
};
struct PJRT_Client {
  std::shared_ptr<xla::PjRtClient> client;
  std::list<PJRT_Device> own;
  std::vector<PJRT_Device*> devices;
};
/** Of the CPU: as many devices as its name asks for, in a client that compiles and never runs. */
struct PJRT_TopologyDescription {
  std::shared_ptr<xla::PjRtClient> client;
  std::list<PJRT_DeviceDescription> own;
  std::vector<PJRT_DeviceDescription*> descriptions;
};
struct PJRT_Buffer {
  std::unique_ptr<xla::PjRtBuffer> buffer;
  PJRT_Device* device;
};
/** Of a loaded executable or of one compiled ahead of time; texts and lists that the API lends out live here. */
struct PJRT_Executable {
  std::shared_ptr<xla::PjRtClient> client;
  std::shared_ptr<xla::PjRtLoadedExecutable> loaded;
  std::shared_ptr<xla::PjRtExecutable> compiled;
  std::string name, program, fingerprint;
  std::map<std::string, xla::PjRtValueType> costs;
  std::vector<PJRT_NamedValue> properties;
};
struct PJRT_LoadedExecutable {
  PJRT_Client* client;
  std::shared_ptr<xla::PjRtLoadedExecutable> loaded;
  std::vector<PJRT_Device*> devices;
  std::string fingerprint;
};
struct PJRT_SerializedExecutable {
  std::string bytes;
};

#define RETURN_IF_ERROR(expression)                                             \
  if (absl::Status status = (expression); !status.ok()) return new PJRT_Error { \
      status                                                                    \
    }
#define ASSIGN_OR_RETURN(variable, expression)                            \
  auto variable##_or = (expression);                                      \
  if (!variable##_or.ok()) return new PJRT_Error{variable##_or.status()}; \
  auto variable = std::move(*variable##_or)

inline PJRT_Error* invalid(const std::string& message) { return new PJRT_Error{absl::InvalidArgumentError(message)}; }
inline PJRT_Error* unimplemented(const std::string& message) {
  return new PJRT_Error{absl::UnimplementedError(message)};
}

/** A client with so many devices; 0: what NBIT_XLA_DEVICES says, else one. */
absl::StatusOr<std::shared_ptr<xla::PjRtClient>> make_client(int devices);

// The entries; plugin.cc puts them into the table.
#define SUPPLIED(Name) PJRT_Error* Name(PJRT_##Name##_Args* args);
namespace entries {
#include "entries.inc"
}  // namespace entries
#undef SUPPLIED
