// The addon's table: a host of PJRT plugins for JavaScript. Every wait happens on another thread.
#include "functions.h"

namespace nbit::pjrt::js {
namespace {
/** () The JavaScript thread ends: waits for what runs, and closes everything. What is asked for later never comes. */
napi_value end(napi_env env, const Args&) {
  instance(env)->end();
  return undefined(env);
}

struct Function {
  const char* name;
  size_t count;
  napi_value (*function)(napi_env, const Args&);
};
constexpr Function TABLE[] = {
    {"end", 0, end},
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
    {"runNow", 3, run_now},
    {"uploadNow", 6, upload_now},
    {"downloadNow", 3, download_now},
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
    (*ending)->end();
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
