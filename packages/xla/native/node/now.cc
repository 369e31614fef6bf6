// Runs and transfers without promises, on this thread: for steps that follow each other, whose results are tensors that
// somebody may read in the middle of a line.
#include "functions.h"

namespace nbit::pjrt::js {
/**
 * (program, [[buffer…] per device], states) Returns when the run has begun. The first results are new values of as many
 * arguments: these handles hold them from here on, and only the other results are returned.
 */
napi_value run_now(napi_env env, const Args& args) {
  const auto program = program_of(env, args[0]);
  const auto states = static_cast<size_t>(whole(env, args[2]));
  const auto given = lists_of(env, *program, args[1]);
  if (states > program->outputs || states > given->front().size())
    throw Failure("XLA_ARGUMENT", "expected as many arguments and results as there are states.");
  Lists results = execute(*program, *given, {});
  const auto lists = list(env, args[1]);
  for (size_t d = 0; d < results.size(); d++) {
    napi_value argument;
    for (size_t k = 0; k < states; k++) {
      check(env, napi_get_element(env, lists[d], static_cast<uint32_t>(k), &argument), "a list of buffers");
      handle<BufferCore>(env, argument).core = std::move(results[d][k]);
    }
    results[d].erase(results[d].begin(), results[d].begin() + static_cast<std::ptrdiff_t>(states));
  }
  return results_of(env, results);
}

/** (client, device, type, dims, address, byteLength) The memory is free again when this returns. */
napi_value upload_now(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  const auto device = static_cast<size_t>(whole(env, args[1]));
  const auto type = static_cast<int>(whole(env, args[2]));
  const auto dims = wholes(env, args[3]);
  const size_t size = byte_size(type, dims);
  const void* data = address_of(env, args[4]);
  if (static_cast<int64_t>(size) != whole(env, args[5]) || (size > 0 && data == nullptr))
    throw Failure("XLA_SHAPE", "expected " + std::to_string(size) + " bytes for this shape.");
  if (device >= client->devices.size())
    throw Failure("XLA_DEVICE", "expected a device below " + std::to_string(client->devices.size()) + ".");
  return wrap(env, to_device(client, device, type, dims, data, nullptr));
}

/** (buffer, address, byteLength) Waits for what computes it. */
napi_value download_now(napi_env env, const Args& args) {
  const auto core = buffer_of(env, args[0]);
  void* target = address_of(env, args[1]);
  if (static_cast<int64_t>(core->bytes) != whole(env, args[2]) || item_size(core->type) == 0 ||
      (core->bytes > 0 && target == nullptr))
    throw Failure("XLA_SHAPE", "expected room for " + std::to_string(core->bytes) + " bytes.");
  if (core->bytes > 0) wait_for(core->client->plugin, to_host(*core, target), "PJRT_Buffer_ToHostBuffer");
  return undefined(env);
}
}  // namespace nbit::pjrt::js
