// Clients, devices and topologies of the CPU plugin.
#include "state.h"

#include <cstdlib>

#include "xla/pjrt/plugin/xla_cpu/xla_cpu_pjrt_client.h"

namespace {
constexpr int MOST_DEVICES = 1024;

void lend(absl::string_view text, const char*& data, size_t& size) {
  data = text.data();
  size = text.size();
}

/** A count in decimal digits, from 1 to MOST_DEVICES; else 0. */
int count_in(const std::string& text) {
  char* end = nullptr;
  const long count = std::strtol(text.c_str(), &end, 10);
  return !text.empty() && *end == 0 && count >= 1 && count <= MOST_DEVICES ? static_cast<int>(count) : 0;
}
}  // namespace

absl::StatusOr<std::shared_ptr<xla::PjRtClient>> make_client(int devices) {
  if (const char* asked = std::getenv("NBIT_XLA_DEVICES"); devices == 0 && asked != nullptr && *asked != 0) {
    devices = count_in(asked);
    if (devices == 0)
      return absl::InvalidArgumentError("NBIT_XLA_DEVICES: expected a whole number from 1 to 1024. Received: " +
                                        std::string(asked));
  }
  xla::CpuClientOptions options;
  options.cpu_device_count = devices == 0 ? 1 : devices;
  auto client = xla::GetXlaPjrtCpuClient(options);
  if (!client.ok()) return client.status();
  return std::shared_ptr<xla::PjRtClient>(std::move(*client));
}

namespace entries {
PJRT_Error* Client_Create(PJRT_Client_Create_Args* args) {
  int devices = 0;
  for (size_t i = 0; i < args->num_options; i++) {
    const PJRT_NamedValue& option = args->create_options[i];
    const std::string name(option.name, option.name_size);
    if (name != "cpu_device_count" || option.type != PJRT_NamedValue_kInt64)
      return invalid("the CPU plugin takes the option cpu_device_count, a whole number. Received: " + name);
    if (option.int64_value < 1 || option.int64_value > MOST_DEVICES)
      return invalid("cpu_device_count: expected 1 to 1024. Received: " + std::to_string(option.int64_value));
    devices = static_cast<int>(option.int64_value);
  }
  ASSIGN_OR_RETURN(client, make_client(devices));
  auto* made = new PJRT_Client{std::move(client), {}, {}};
  for (auto* device : made->client->addressable_devices()) {
    made->own.push_back({{device}, device});
    made->devices.push_back(&made->own.back());
  }
  args->client = made;
  return nullptr;
}
PJRT_Error* Client_Destroy(PJRT_Client_Destroy_Args* args) {
  delete args->client;
  return nullptr;
}
PJRT_Error* Client_PlatformName(PJRT_Client_PlatformName_Args* args) {
  lend(args->client->client->platform_name(), args->platform_name, args->platform_name_size);
  return nullptr;
}
PJRT_Error* Client_PlatformVersion(PJRT_Client_PlatformVersion_Args* args) {
  lend(args->client->client->platform_version(), args->platform_version, args->platform_version_size);
  return nullptr;
}
PJRT_Error* Client_ProcessIndex(PJRT_Client_ProcessIndex_Args* args) {
  args->process_index = args->client->client->process_index();
  return nullptr;
}
PJRT_Error* Client_Devices(PJRT_Client_Devices_Args* args) {
  args->devices = args->client->devices.data();
  args->num_devices = args->client->devices.size();
  return nullptr;
}
PJRT_Error* Client_AddressableDevices(PJRT_Client_AddressableDevices_Args* args) {
  args->addressable_devices = args->client->devices.data();
  args->num_addressable_devices = args->client->devices.size();
  return nullptr;
}

PJRT_Error* DeviceDescription_Id(PJRT_DeviceDescription_Id_Args* args) {
  args->id = args->device_description->device->id();
  return nullptr;
}
PJRT_Error* DeviceDescription_ProcessIndex(PJRT_DeviceDescription_ProcessIndex_Args* args) {
  args->process_index = args->device_description->device->process_index();
  return nullptr;
}
PJRT_Error* DeviceDescription_Attributes(PJRT_DeviceDescription_Attributes_Args* args) {
  args->attributes = nullptr;
  args->num_attributes = 0;
  return nullptr;
}
PJRT_Error* DeviceDescription_Kind(PJRT_DeviceDescription_Kind_Args* args) {
  lend(args->device_description->device->device_kind(), args->device_kind, args->device_kind_size);
  return nullptr;
}
PJRT_Error* DeviceDescription_DebugString(PJRT_DeviceDescription_DebugString_Args* args) {
  lend(args->device_description->device->DebugString(), args->debug_string, args->debug_string_size);
  return nullptr;
}
PJRT_Error* DeviceDescription_ToString(PJRT_DeviceDescription_ToString_Args* args) {
  lend(args->device_description->device->ToString(), args->to_string, args->to_string_size);
  return nullptr;
}
PJRT_Error* Device_GetDescription(PJRT_Device_GetDescription_Args* args) {
  args->device_description = &args->device->description;
  return nullptr;
}
PJRT_Error* Device_IsAddressable(PJRT_Device_IsAddressable_Args* args) {
  args->is_addressable = args->device->device->IsAddressable();
  return nullptr;
}
PJRT_Error* Device_LocalHardwareId(PJRT_Device_LocalHardwareId_Args* args) {
  args->local_hardware_id = args->device->device->local_hardware_id().value();
  return nullptr;
}

/** `cpu` is one device, `cpu:4` four. */
PJRT_Error* TopologyDescription_Create(PJRT_TopologyDescription_Create_Args* args) {
  const std::string name(args->topology_name, args->topology_name_size);
  const int devices = name == "cpu" ? 1 : name.rfind("cpu:", 0) == 0 ? count_in(name.substr(4)) : 0;
  if (devices == 0) return invalid("expected the topology cpu, or cpu:N with N devices. Received: " + name);
  if (args->num_options > 0) return invalid("topologies of the CPU plugin take no options");
  ASSIGN_OR_RETURN(client, make_client(devices));
  auto* made = new PJRT_TopologyDescription{std::move(client), {}, {}};
  for (const auto* device : made->client->addressable_devices()) {
    made->own.push_back({device});
    made->descriptions.push_back(&made->own.back());
  }
  args->topology = made;
  return nullptr;
}
PJRT_Error* TopologyDescription_Destroy(PJRT_TopologyDescription_Destroy_Args* args) {
  delete args->topology;
  return nullptr;
}
PJRT_Error* TopologyDescription_PlatformName(PJRT_TopologyDescription_PlatformName_Args* args) {
  lend(args->topology->client->platform_name(), args->platform_name, args->platform_name_size);
  return nullptr;
}
PJRT_Error* TopologyDescription_PlatformVersion(PJRT_TopologyDescription_PlatformVersion_Args* args) {
  lend(args->topology->client->platform_version(), args->platform_version, args->platform_version_size);
  return nullptr;
}
PJRT_Error* TopologyDescription_GetDeviceDescriptions(PJRT_TopologyDescription_GetDeviceDescriptions_Args* args) {
  args->descriptions = args->topology->descriptions.data();
  args->num_descriptions = args->topology->descriptions.size();
  return nullptr;
}
}  // namespace entries
