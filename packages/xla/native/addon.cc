// The addon's table: a host of PJRT plugins for JavaScript. Every wait happens on another thread.
#include <cmath>

#include "node.h"

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
template <class Core>
napi_value wrap_later(napi_env env, const std::shared_ptr<std::shared_ptr<Core>>& made) {
  return wrap(env, std::move(*made));
}

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
  const auto made = std::make_shared<std::shared_ptr<Plugin>>();
  return promise(
      env, *lane, [made, path = text(env, args[0])] { *made = Plugin::load(path); },
      [made](napi_env env) { return wrap_later(env, made); });
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
  const auto made = std::make_shared<std::shared_ptr<ClientCore>>();
  return promise(
      env, plugin->slow, [=, options = named(env, args[1])] { *made = ClientCore::create(plugin, options); },
      [made](napi_env env) { return wrap_later(env, made); });
}
std::shared_ptr<ClientCore> client_of(napi_env env, napi_value value) {
  auto client = open<ClientCore>(env, value);
  if (client->closed) throw Failure("XLA_CLOSED", "its client was closed.");
  return client;
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
  const auto made = std::make_shared<std::shared_ptr<TopologyCore>>();
  return promise(
      env, plugin->slow,
      [=, name = text(env, args[1]), options = named(env, args[2])] {
        *made = std::make_shared<TopologyCore>(plugin, name, options);
      },
      [made](napi_env env) { return wrap_later(env, made); });
}
napi_value topology_info(napi_env env, const Args& args) {
  const auto topology = open<TopologyCore>(env, args[0]);
  return record(env, {{"platform", from(env, topology->platform)},
                      {"version", from(env, topology->version)},
                      {"devices", devices(env, topology->facts)}});
}

/** (client, text, options) */
napi_value compile(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  const auto made = std::make_shared<std::shared_ptr<ProgramCore>>();
  return promise(
      env, client->plugin->slow,
      [=, code = text(env, args[1]), options = bytes(env, args[2])]() mutable {
        *made = ProgramCore::compile(client, code, options);
      },
      [made](napi_env env) { return wrap_later(env, made); });
}
/** (topology, text, options) */
napi_value compile_for(napi_env env, const Args& args) {
  const auto topology = open<TopologyCore>(env, args[0]);
  const auto made = std::make_shared<std::shared_ptr<ProgramCore>>();
  return promise(
      env, topology->plugin->slow,
      [=, code = text(env, args[1]), options = bytes(env, args[2])]() mutable {
        *made = ProgramCore::compile(topology, code, options);
      },
      [made](napi_env env) { return wrap_later(env, made); });
}
/** (client, bytes) */
napi_value deserialize(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  const auto made = std::make_shared<std::shared_ptr<ProgramCore>>();
  return promise(
      env, client->plugin->slow,
      [=, serialized = bytes(env, args[1])] { *made = ProgramCore::load(client, serialized); },
      [made](napi_env env) { return wrap_later(env, made); });
}

std::shared_ptr<ProgramCore> program_of(napi_env env, napi_value value) {
  auto program = open<ProgramCore>(env, value);
  if (program->client && program->client->closed) throw Failure("XLA_CLOSED", "its client was closed.");
  return program;
}
napi_value program_info(napi_env env, const Args& args) {
  const auto program = program_of(env, args[0]);
  std::vector<int64_t> places(program->devices.begin(), program->devices.end());
  return record(env, {{"outputs", from(env, static_cast<double>(program->outputs))}, {"devices", from(env, places)}});
}
napi_value analyse(napi_env env, const Args& args) {
  const auto program = program_of(env, args[0]);
  const auto facts = std::make_shared<ProgramFacts>();
  return promise(
      env, program->plugin->slow, [=] { *facts = program->facts(); },
      [facts](napi_env env) {
        const auto number = [&](int64_t value) { return from(env, static_cast<double>(value)); };
        napi_value none;
        check(env, napi_get_null(env, &none), "null");
        napi_value memory = none;
        if (facts->memory) {
          const ProgramMemory& m = *facts->memory;
          memory = record(env, {{"peak", number(m.peak)},
                                {"arguments", number(m.arguments)},
                                {"outputs", number(m.outputs)},
                                {"aliased", number(m.aliased)},
                                {"temporaries", number(m.temporaries)},
                                {"code", number(m.code)},
                                {"hostTemporaries", number(m.host_temporaries)}});
        }
        return record(env, {{"name", from(env, facts->name)},
                            {"fingerprint", from(env, facts->fingerprint)},
                            {"replicas", number(static_cast<int64_t>(facts->replicas))},
                            {"partitions", number(static_cast<int64_t>(facts->partitions))},
                            {"codeBytes", facts->code_bytes ? number(*facts->code_bytes) : none},
                            {"memory", memory},
                            {"costs", facts->costs ? object(env, *facts->costs) : none}});
      });
}
napi_value optimized(napi_env env, const Args& args) {
  const auto program = program_of(env, args[0]);
  const auto text = std::make_shared<std::pair<std::string, std::string>>();
  return promise(
      env, program->plugin->slow, [=] { *text = program->optimized(); },
      [text](napi_env env) {
        auto bytes = std::make_unique<std::vector<char>>(text->second.begin(), text->second.end());
        return record(env, {{"format", from(env, text->first)}, {"bytes", buffer_of(env, std::move(bytes))}});
      });
}
napi_value serialize(napi_env env, const Args& args) {
  const auto program = program_of(env, args[0]);
  const auto text = std::make_shared<std::string>();
  return promise(
      env, program->plugin->slow, [=] { *text = program->serialize(); },
      [text](napi_env env) { return buffer_of(env, std::make_unique<std::vector<char>>(text->begin(), text->end())); });
}

std::shared_ptr<BufferCore> buffer_handle(napi_env env, napi_value value) {
  auto core = handle<BufferCore>(env, value).core;
  if (core == nullptr) throw Failure("XLA_BUFFER_DISPOSED", "a buffer was disposed of before.");
  if (core->client->closed) throw Failure("XLA_CLOSED", "its client was closed.");
  if (core->donated) throw Failure("XLA_BUFFER_DONATED", "a buffer was donated to a program that ran before.");
  return core;
}
/** (buffer, …) Frees the device's memory now, or after what uses it. */
napi_value dispose(napi_env env, const Args& args) {
  napi_value value = args[0];
  bool ours = false;
  for (const Kind kind : {Kind::program, Kind::topology, Kind::buffer}) {
    try {
      unwrap_handle(env, value, kind)->close();
      ours = true;
    } catch (const Failure&) { continue; }
  }
  if (!ours) throw Failure("XLA_HANDLE", "expected the handle of a buffer, a program or a topology.");
  return undefined(env);
}
napi_value buffer_info(napi_env env, const Args& args) {
  const auto core = handle<BufferCore>(env, args[0]).core;
  const char* state = core == nullptr        ? "disposed"
                      : core->client->closed ? "closed"
                      : core->donated        ? "donated"
                                             : "live";
  if (core == nullptr) return record(env, {{"state", from(env, std::string(state))}});
  return record(env, {{"state", from(env, std::string(state))},
                      {"type", from(env, static_cast<double>(core->type))},
                      {"dims", from(env, core->dims)},
                      {"device", from(env, static_cast<double>(core->device))},
                      {"bytes", from(env, static_cast<double>(core->bytes))}});
}

std::shared_ptr<BufferCore>& slot(const std::shared_ptr<std::shared_ptr<BufferCore>>& made) { return *made; }

/** Transfers `bytes` at what `data` gives on the lane; `data` owns them till the plugin has read them. */
napi_value upload_from(napi_env env, const std::shared_ptr<ClientCore>& client, size_t device, int type,
                       std::vector<int64_t> dims, std::shared_ptr<const void> data, napi_value keep) {
  if (device >= client->devices.size())
    throw Failure("XLA_DEVICE", "expected a device below " + std::to_string(client->devices.size()) + ".");
  const auto made = std::make_shared<std::shared_ptr<BufferCore>>();
  return promise_later(
      env, client->lane,
      [=](const Done& done) {
        Event* transferred = nullptr;
        slot(made) = to_device(client, device, type, dims, data.get(), &transferred);
        when_ready(client->plugin, transferred, "PJRT_Client_BufferFromHostBuffer",
                   [done, data](std::unique_ptr<Failure> failure) { done(std::move(failure)); });
      },
      [made](napi_env env) { return wrap_later(env, made); }, keep);
}
/** (client, device, type, dims, bytes) The bytes are copied before it returns. */
napi_value upload(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  const auto type = static_cast<int>(whole(env, args[2]));
  auto dims = wholes(env, args[3]);
  const auto data = std::make_shared<std::string>(bytes(env, args[4]));
  if (const size_t size = byte_size(type, dims); size != data->size())
    throw Failure("XLA_SHAPE", "expected " + std::to_string(size) +
                                   " bytes for this shape. Received: " + std::to_string(data->size()) + ".");
  return upload_from(env, client, static_cast<size_t>(whole(env, args[1])), type, std::move(dims),
                     std::shared_ptr<const void>(data, data->data()), nullptr);
}
void* address_of(napi_env env, napi_value value) {
  return reinterpret_cast<void*>(static_cast<uintptr_t>(whole(env, value)));
}
/** (client, device, type, dims, address, byteLength, keep) Memory that somebody else vouches for till it has resolved.
 */
napi_value upload_memory(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  const auto type = static_cast<int>(whole(env, args[2]));
  auto dims = wholes(env, args[3]);
  const size_t size = byte_size(type, dims);
  if (static_cast<int64_t>(size) != whole(env, args[5]))
    throw Failure("XLA_SHAPE", "expected " + std::to_string(size) +
                                   " bytes for this shape. Received: " + std::to_string(whole(env, args[5])) + ".");
  const void* data = address_of(env, args[4]);
  if (size > 0 && data == nullptr) throw Failure("XLA_ARGUMENT", "expected an address.");
  return upload_from(env, client, static_cast<size_t>(whole(env, args[1])), type, std::move(dims),
                     std::shared_ptr<const void>(data, [](const void*) {}), args[6]);
}

/** Refuses on the lane what was donated by what ran before. */
void require_live(const BufferCore& core) {
  if (core.donated) throw Failure("XLA_BUFFER_DONATED", "a buffer was donated to a program that ran before.");
}
/** (buffer) */
napi_value download(napi_env env, const Args& args) {
  const auto core = buffer_handle(env, args[0]);
  if (item_size(core->type) == 0)
    throw Failure("XLA_DTYPE", "the host has no type for element type " + std::to_string(core->type) + ".");
  const auto target = std::make_shared<std::unique_ptr<std::vector<char>>>();
  return promise_later(
      env, core->client->lane,
      [=](const Done& done) {
        require_live(*core);
        *target = std::make_unique<std::vector<char>>(core->bytes);
        when_ready(core->client->plugin, core->bytes == 0 ? nullptr : to_host(*core, (*target)->data()),
                   "PJRT_Buffer_ToHostBuffer",
                   [done, target](std::unique_ptr<Failure> failure) { done(std::move(failure)); });
      },
      [target](napi_env env) { return buffer_of(env, std::move(*target)); });
}
/** (buffer, address, byteLength, keep) */
napi_value download_memory(napi_env env, const Args& args) {
  const auto core = buffer_handle(env, args[0]);
  void* target = address_of(env, args[1]);
  if (static_cast<int64_t>(core->bytes) != whole(env, args[2]) || item_size(core->type) == 0)
    throw Failure("XLA_SHAPE", "expected room for " + std::to_string(core->bytes) +
                                   " bytes. Received: " + std::to_string(whole(env, args[2])) + ".");
  if (core->bytes > 0 && target == nullptr) throw Failure("XLA_ARGUMENT", "expected an address.");
  return promise_later(
      env, core->client->lane,
      [=](const Done& done) {
        require_live(*core);
        when_ready(core->client->plugin, core->bytes == 0 ? nullptr : to_host(*core, target),
                   "PJRT_Buffer_ToHostBuffer", done);
      },
      undefined, args[3]);
}
/** (buffer) Resolves when what computes it has ended; rejects with its error. */
napi_value ready(napi_env env, const Args& args) {
  const auto core = buffer_handle(env, args[0]);
  return promise_later(
      env, core->client->lane,
      [=](const Done& done) {
        require_live(*core);
        when_ready(core->client->plugin, core->ready(), "PJRT_Buffer_ReadyEvent",
                   [done, core](std::unique_ptr<Failure> failure) { done(std::move(failure)); });
      },
      undefined);
}

/** (program, [[buffer…] per device], [indices that are not donated]) */
napi_value run(napi_env env, const Args& args) {
  const auto program = program_of(env, args[0]);
  if (program->client == nullptr || program->loaded == nullptr)
    throw Failure("XLA_NOT_LOADED", "this program was compiled for a topology, and cannot run here.");
  auto given = std::make_shared<Lists>();
  for (napi_value each : list(env, args[1])) {
    given->emplace_back();
    for (napi_value buffer : list(env, each)) {
      given->back().push_back(buffer_handle(env, buffer));
      if (given->back().back()->client != program->client)
        throw Failure("XLA_OTHER_CLIENT", "a buffer belongs to another client than the program.");
    }
  }
  if (given->size() != program->devices.size())
    throw Failure("XLA_DEVICE", "expected arguments for " + std::to_string(program->devices.size()) +
                                    " devices. Received: " + std::to_string(given->size()) + ".");
  for (size_t d = 0; d < given->size(); d++) {
    if ((*given)[d].size() != given->front().size())
      throw Failure("XLA_ARGUMENT", "expected as many arguments for every device.");
    for (const auto& buffer : (*given)[d])
      if (buffer->device != program->devices[d])
        throw Failure("XLA_DEVICE", "a buffer is on device " + std::to_string(buffer->device) + ". Expected device " +
                                        std::to_string(program->devices[d]) + ".");
  }
  auto kept = wholes(env, args[2]);
  for (const int64_t index : kept)
    if (index < 0 || static_cast<size_t>(index) >= given->front().size())
      throw Failure("XLA_ARGUMENT", "expected indices of arguments.");
  const auto results = std::make_shared<Lists>();
  return promise(
      env, program->client->lane, [=] { *results = execute(*program, *given, kept); },
      [results](napi_env env) {
        std::vector<napi_value> lists;
        for (auto& each : *results) {
          std::vector<napi_value> buffers;
          for (auto& buffer : each) buffers.push_back(wrap(env, std::move(buffer)));
          lists.push_back(array(env, buffers));
        }
        return array(env, lists);
      });
}

struct Function {
  const char* name;
  size_t count;
  napi_value (*function)(napi_env, const Args&);
};
constexpr Function TABLE[] = {
    {"provideErrors", 1, provide_errors},
    {"load", 2, load},
    {"pluginInfo", 1, plugin_info},
    {"createClient", 2, create_client},
    {"clientInfo", 1, client_info},
    {"clientStats", 1, client_stats},
    {"closeClient", 1, close_client},
    {"createTopology", 3, create_topology},
    {"topologyInfo", 1, topology_info},
    {"compile", 3, compile},
    {"compileFor", 3, compile_for},
    {"deserialize", 2, deserialize},
    {"programInfo", 1, program_info},
    {"analyse", 1, analyse},
    {"optimized", 1, optimized},
    {"serialize", 1, serialize},
    {"dispose", 1, dispose},
    {"bufferInfo", 1, buffer_info},
    {"upload", 5, upload},
    {"uploadMemory", 7, upload_memory},
    {"download", 1, download},
    {"downloadMemory", 4, download_memory},
    {"ready", 1, ready},
    {"run", 3, run},
};
}  // namespace

napi_value initialize(napi_env env, napi_value exports) {
  const auto made = std::make_shared<Instance>();
  check(env,
        napi_set_instance_data(
            env, new std::shared_ptr<Instance>(made),
            [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Instance>*>(data); }, nullptr),
        "the addon's instance");
  made->loop = std::make_shared<Loop>(env);
  const auto end = [](void* data) {
    const std::unique_ptr<std::shared_ptr<Instance>> ending(static_cast<std::shared_ptr<Instance>*>(data));
    (*ending)->loop->close();
    for (HandleBase* handle : (*ending)->handles) handle->close();
    ClientCore::settle();
  };
  check(env, napi_add_env_cleanup_hook(env, end, new std::shared_ptr<Instance>(made)), "the end of the environment");
  for (const Function& each : TABLE) {
    napi_value function;
    check(env,
          napi_create_function(
              env, each.name, NAPI_AUTO_LENGTH,
              [](napi_env env, napi_callback_info info) -> napi_value {
                void* data = nullptr;
                napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
                const auto& called = *static_cast<const Function*>(data);
                return guarded(env, info, called.count, called.function);
              },
              const_cast<Function*>(&each), &function),
          "a function to be made");
    check(env, napi_set_named_property(env, exports, each.name, function), "the exports to be filled");
  }
  return exports;
}
}  // namespace nbit::pjrt::js

NAPI_MODULE_INIT() {
  try {
    return nbit::pjrt::js::initialize(env, exports);
  } catch (...) {
    napi_throw_error(env, "XLA_INTERNAL", "the addon could not be initialized");
    return nullptr;
  }
}
