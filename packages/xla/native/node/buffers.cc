// Buffers: to a device, back, and what became of them.
#include "functions.h"

namespace nbit::pjrt::js {
/** (buffer, …) Frees the device's memory now, or after what uses it. */
napi_value dispose(napi_env env, const Args& args) {
  napi_value value = args[0];
  bool ours = false;
  for (const Kind kind : {Kind::program, Kind::topology, Kind::buffer}) {
    try {
      unwrap_handle(env, value, kind)->release(env);
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

/** Transfers `bytes` at what `data` gives on the lane; `data` owns them till the plugin has read them. */
napi_value upload_from(napi_env env, const std::shared_ptr<ClientCore>& client, size_t device, int type,
                       std::vector<int64_t> dims, std::shared_ptr<const void> data, napi_value keep) {
  if (device >= client->devices.size())
    throw Failure("XLA_DEVICE", "expected a device below " + std::to_string(client->devices.size()) + ".");
  const auto made = late<BufferCore>();
  return promise_later(
      env, client->lane,
      [=](const Done& done) {
        Event* transferred = nullptr;
        *made = to_device(client, device, type, dims, data.get(), &transferred);
        when_ready(client->plugin, transferred, "PJRT_Client_BufferFromHostBuffer",
                   [done, data](std::unique_ptr<Failure> failure) { done(std::move(failure)); });
      },
      wrapped(made), keep);
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
  const auto core = buffer_of(env, args[0]);
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
      [target](napi_env env) { return owned_bytes(env, std::move(*target)); });
}
/** (buffer, address, byteLength, keep) */
napi_value download_memory(napi_env env, const Args& args) {
  const auto core = buffer_of(env, args[0]);
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
  const auto core = buffer_of(env, args[0]);
  return promise_later(
      env, core->client->lane,
      [=](const Done& done) {
        require_live(*core);
        when_ready(core->client->plugin, core->ready(), "PJRT_Buffer_ReadyEvent",
                   [done, core](std::unique_ptr<Failure> failure) { done(std::move(failure)); });
      },
      undefined);
}

std::shared_ptr<BufferCore> buffer_of(napi_env env, napi_value value) {
  auto core = handle<BufferCore>(env, value).core;
  if (core == nullptr) throw Failure("XLA_BUFFER_DISPOSED", "a buffer was disposed of before.");
  if (core->client->closed) throw Failure("XLA_CLOSED", "its client was closed.");
  if (core->donated) throw Failure("XLA_BUFFER_DONATED", "a buffer was donated to a program that ran before.");
  return core;
}
}  // namespace nbit::pjrt::js
