// The addon's functions, one file for each kind of handle. A comment before each says what it takes.
#pragma once
#include "node.h"

namespace nbit::pjrt::js {
template <class Core>
using Late = std::shared_ptr<std::shared_ptr<Core>>;
/** Where work leaves what it makes, for the JavaScript thread to wrap. */
template <class Core>
Late<Core> late() {
  return std::make_shared<std::shared_ptr<Core>>();
}
template <class Core>
Finish wrapped(Late<Core> made) {
  return [made = std::move(made)](napi_env env) { return wrap(env, std::move(*made)); };
}

// What a handle holds. @throws Failure XLA_CLOSED, XLA_BUFFER_DISPOSED, XLA_BUFFER_DONATED.
std::shared_ptr<ClientCore> client_of(napi_env env, napi_value value);
std::shared_ptr<ProgramCore> program_of(napi_env env, napi_value value);
std::shared_ptr<BufferCore> buffer_of(napi_env env, napi_value value);

napi_value provide_errors(napi_env env, const Args& args);
napi_value load(napi_env env, const Args& args);
napi_value plugin_info(napi_env env, const Args& args);
napi_value create_client(napi_env env, const Args& args);
napi_value client_info(napi_env env, const Args& args);
napi_value client_stats(napi_env env, const Args& args);
napi_value close_client(napi_env env, const Args& args);
napi_value create_topology(napi_env env, const Args& args);
napi_value topology_info(napi_env env, const Args& args);
napi_value compile(napi_env env, const Args& args);
napi_value compile_for(napi_env env, const Args& args);
napi_value deserialize(napi_env env, const Args& args);
napi_value program_info(napi_env env, const Args& args);
napi_value analyse(napi_env env, const Args& args);
napi_value optimized(napi_env env, const Args& args);
napi_value serialize(napi_env env, const Args& args);
napi_value dispose(napi_env env, const Args& args);
napi_value buffer_info(napi_env env, const Args& args);
napi_value upload(napi_env env, const Args& args);
napi_value upload_memory(napi_env env, const Args& args);
napi_value download(napi_env env, const Args& args);
napi_value download_memory(napi_env env, const Args& args);
napi_value ready(napi_env env, const Args& args);
napi_value run(napi_env env, const Args& args);
napi_value run_now(napi_env env, const Args& args);
napi_value upload_now(napi_env env, const Args& args);
napi_value download_now(napi_env env, const Args& args);

/** Buffers by device, checked to be what a program can run on. */
std::shared_ptr<Lists> lists_of(napi_env env, const ProgramCore& program, napi_value value);
napi_value results_of(napi_env env, Lists& results);
void* address_of(napi_env env, napi_value value);
}  // namespace nbit::pjrt::js
