#include "objects.h"

namespace nbit::pjrt {
namespace {
DeviceFacts describe(const Plugin& plugin, DeviceDescription* description) {
  DeviceFacts facts{-1, 0, -1, "", "", {}};
  auto id = arguments<DeviceDescription_Id_Args>();
  id.device_description = description;
  plugin.call(id);
  facts.id = id.id;
  auto kind = arguments<DeviceDescription_Kind_Args>();
  kind.device_description = description;
  plugin.call(kind);
  facts.kind.assign(kind.device_kind, kind.device_kind_size);
  if (plugin.has<DeviceDescription_ProcessIndex_Args>()) {
    auto process = arguments<DeviceDescription_ProcessIndex_Args>();
    process.device_description = description;
    plugin.call(process);
    facts.process = process.process_index;
  }
  if (plugin.has<DeviceDescription_ToString_Args>()) {
    auto text = arguments<DeviceDescription_ToString_Args>();
    text.device_description = description;
    plugin.call(text);
    facts.text.assign(text.to_string, text.to_string_size);
  }
  if (plugin.has<DeviceDescription_Attributes_Args>()) {
    auto attributes = arguments<DeviceDescription_Attributes_Args>();
    attributes.device_description = description;
    plugin.call(attributes);
    facts.attributes = read_named(attributes.attributes, attributes.num_attributes);
  }
  return facts;
}

/** Never destroyed: it must outlive whatever may still end a client. */
Lane& graveyard() {
  static auto* lane = new Lane;
  return *lane;
}
}  // namespace

std::shared_ptr<ClientCore> ClientCore::create(Token token, std::shared_ptr<Plugin> plugin,
                                               const NamedValues& options) {
  return {new ClientCore(std::move(token), std::move(plugin), options),
          [](ClientCore* client) { graveyard().post([client] { delete client; }); }};
}

ClientCore::ClientCore(Token mark, std::shared_ptr<Plugin> from, const NamedValues& options)
    : token(std::move(mark)), plugin(std::move(from)) {
  const auto named = write_named(options);
  auto create = arguments<Client_Create_Args>();
  create.create_options = named.data();
  create.num_options = named.size();
  plugin->call(create);
  client = create.client;
  try {
    auto name = arguments<Client_PlatformName_Args>();
    name.client = client;
    plugin->call(name);
    platform.assign(name.platform_name, name.platform_name_size);
    auto release = arguments<Client_PlatformVersion_Args>();
    release.client = client;
    plugin->call(release);
    version.assign(release.platform_version, release.platform_version_size);
    auto list = arguments<Client_AddressableDevices_Args>();
    list.client = client;
    plugin->call(list);
    devices.assign(list.addressable_devices, list.addressable_devices + list.num_addressable_devices);
    for (Device* device : devices) {
      auto description = arguments<Device_GetDescription_Args>();
      description.device = device;
      plugin->call(description);
      facts.push_back(describe(*plugin, description.device_description));
      if (!plugin->has<Device_LocalHardwareId_Args>()) continue;
      auto local = arguments<Device_LocalHardwareId_Args>();
      local.device = device;
      plugin->call(local);
      facts.back().local = local.local_hardware_id;
    }
    if (devices.empty()) throw Failure("XLA_NO_DEVICE", plugin->path + " has no device on this machine.");
  } catch (...) {
    auto destroy = arguments<Client_Destroy_Args>();
    destroy.client = client;
    plugin->tell(destroy);
    throw;
  }
}
ClientCore::~ClientCore() {
  auto destroy = arguments<Client_Destroy_Args>();
  destroy.client = client;
  plugin->tell(destroy);
}

TopologyCore::TopologyCore(Token mark, std::shared_ptr<Plugin> from, const std::string& name,
                           const NamedValues& options)
    : token(std::move(mark)), plugin(std::move(from)) {
  const auto named = write_named(options);
  auto create = arguments<TopologyDescription_Create_Args>();
  create.topology_name = name.data();
  create.topology_name_size = name.size();
  create.create_options = named.data();
  create.num_options = named.size();
  plugin->call(create);
  topology = create.topology;
  try {
    auto title = arguments<TopologyDescription_PlatformName_Args>();
    title.topology = topology;
    plugin->call(title);
    platform.assign(title.platform_name, title.platform_name_size);
    auto release = arguments<TopologyDescription_PlatformVersion_Args>();
    release.topology = topology;
    plugin->call(release);
    version.assign(release.platform_version, release.platform_version_size);
    auto list = arguments<TopologyDescription_GetDeviceDescriptions_Args>();
    list.topology = topology;
    plugin->call(list);
    for (size_t i = 0; i < list.num_descriptions; i++) facts.push_back(describe(*plugin, list.descriptions[i]));
  } catch (...) {
    auto destroy = arguments<TopologyDescription_Destroy_Args>();
    destroy.topology = topology;
    plugin->tell(destroy);
    throw;
  }
}
TopologyCore::~TopologyCore() {
  auto destroy = arguments<TopologyDescription_Destroy_Args>();
  destroy.topology = topology;
  plugin->tell(destroy);
}
}  // namespace nbit::pjrt
