// Plugins, clients and topologies.
#include <cstdlib>

#include "functions.h"

namespace nbit::pjrt::js {
namespace {
napi_value devices(napi_env env, const std::vector<DeviceFacts>& facts) {
  std::vector<napi_value> made;
  for (const auto& each : facts)
    made.push_back(record(env, {{"id", from(env, static_cast<double>(each.id))},
                                {"process", from(env, static_cast<double>(each.process))},
                                {"local", from(env, static_cast<double>(each.local))},
                                {"kind", from(env, each.kind)},
                                {"text", from(env, each.text)},
                                {"attributes", object(env, each.attributes)}}));
  return array(env, made);
}
}  // namespace

/** (make) Errors are made by `make(code, message)`. */
napi_value provide_errors(napi_env env, const Args& args) {
  napi_valuetype type;
  check(env, napi_typeof(env, args[0], &type), "a function");
  if (type != napi_function) throw Failure("XLA_ARGUMENT", "expected a function.");
  napi_ref& reference = instance(env)->make_error;
  if (reference != nullptr) napi_delete_reference(env, reference);
  check(env, napi_create_reference(env, args[0], 1, &reference), "a function");
  return undefined(env);
}

/** (path, [[name, value]…]): variables of the environment that the plugin reads are set unless they are. */
napi_value load(napi_env env, const Args& args) {
  static auto* lane = new Lane;
  for (const auto& [name, value] : named(env, args[1])) {
    const auto* words = std::get_if<std::string>(&value);
    if (words == nullptr || name.empty() || name.find_first_of(std::string("=\0", 2)) != std::string::npos)
      throw Failure("XLA_ARGUMENT", "expected variables of the environment as [name, text].");
    setenv(name.c_str(), words->c_str(), 0);
  }
  const auto made = late<Plugin>();
  return promise(env, *lane, [made, path = text(env, args[0])] { *made = Plugin::load(path); }, wrapped(made));
}
napi_value plugin_info(napi_env env, const Args& args) {
  const auto plugin = open<Plugin>(env, args[0]);
  std::vector<napi_value> missing;
  for (const auto& name : plugin->missing()) missing.push_back(from(env, name));
  return record(env, {{"path", from(env, plugin->path)},
                      {"major", from(env, static_cast<double>(plugin->version.major_version))},
                      {"minor", from(env, static_cast<double>(plugin->version.minor_version))},
                      {"attributes", object(env, plugin->attributes)},
                      {"missing", array(env, missing)}});
}

/** (plugin, options) */
napi_value create_client(napi_env env, const Args& args) {
  const auto plugin = open<Plugin>(env, args[0]);
  const auto made = late<ClientCore>();
  const Token token = instance(env)->token;
  return promise(
      env, plugin->slow, [=, options = named(env, args[1])] { *made = ClientCore::create(token, plugin, options); },
      wrapped(made));
}
napi_value client_info(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  return record(env, {{"platform", from(env, client->platform)},
                      {"version", from(env, client->version)},
                      {"devices", devices(env, client->facts)}});
}
napi_value client_stats(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  const Traffic& traffic = client->traffic;
  const auto number = [&](const auto& value) { return from(env, static_cast<double>(value.load())); };
  return record(env, {{"bytesToDevice", number(traffic.bytes_to_device)},
                      {"bytesToHost", number(traffic.bytes_to_host)},
                      {"transfersToDevice", number(traffic.transfers_to_device)},
                      {"transfersToHost", number(traffic.transfers_to_host)},
                      {"executions", number(traffic.executions)},
                      {"liveBuffers", number(traffic.live_buffers)},
                      {"liveBytes", number(traffic.live_bytes)},
                      {"livePrograms", number(traffic.live_programs)}});
}
/** (client) From now on all that came from it is refused; what runs ends first. */
napi_value close_client(napi_env env, const Args& args) {
  auto& held = handle<ClientCore>(env, args[0]);
  if (held.core == nullptr) return undefined(env);
  held.core->closed = true;
  held.close();
  return undefined(env);
}

/** (plugin, name, options) */
napi_value create_topology(napi_env env, const Args& args) {
  const auto plugin = open<Plugin>(env, args[0]);
  const auto made = late<TopologyCore>();
  const Token token = instance(env)->token;
  return promise(
      env, plugin->slow,
      [=, name = text(env, args[1]), options = named(env, args[2])] {
        *made = std::make_shared<TopologyCore>(token, plugin, name, options);
      },
      wrapped(made));
}
napi_value topology_info(napi_env env, const Args& args) {
  const auto topology = open<TopologyCore>(env, args[0]);
  return record(env, {{"platform", from(env, topology->platform)},
                      {"version", from(env, topology->version)},
                      {"devices", devices(env, topology->facts)}});
}

std::shared_ptr<ClientCore> client_of(napi_env env, napi_value value) {
  auto client = open<ClientCore>(env, value);
  if (client->closed) throw Failure("XLA_CLOSED", "its client was closed.");
  return client;
}
}  // namespace nbit::pjrt::js
