// GetPjrtApi of the CPU plugin: the PJRT C API over the XLA CPU client inside tensorflow-cpu, which ships the client
// and the API's header but not the API. Entries that a training step does not need are null. One translation unit:
// XLA's headers take most of a minute to compile, each time.
#include "state.h"

#include "../abi/abi-check.h"
#include "buffer.cc"
#include "client.cc"
#include "executable.cc"

namespace {
void destroy_error(PJRT_Error_Destroy_Args* args) { delete args->error; }
void message_of(PJRT_Error_Message_Args* args) {
  args->message = args->error->status.message().data();
  args->message_size = args->error->status.message().size();
}
PJRT_Error* code_of(PJRT_Error_GetCode_Args* args) {
  args->code = static_cast<PJRT_Error_Code>(args->error->status.code());  // absl's numbers are the API's
  return nullptr;
}
PJRT_Error* initialize(PJRT_Plugin_Initialize_Args*) { return nullptr; }
PJRT_Error* attributes(PJRT_Plugin_Attributes_Args* args) {
  args->attributes = nullptr;
  args->num_attributes = 0;
  return nullptr;
}

PJRT_Error* destroy_event(PJRT_Event_Destroy_Args* args) {
  delete args->event;
  return nullptr;
}
PJRT_Error* is_ready(PJRT_Event_IsReady_Args* args) {
  args->is_ready = args->event->future.IsReady();
  return nullptr;
}
PJRT_Error* await(PJRT_Event_Await_Args* args) {
  RETURN_IF_ERROR(args->event->future.Await());
  return nullptr;
}
PJRT_Error* on_ready(PJRT_Event_OnReady_Args* args) {
  args->event->future.OnReady([callback = args->callback, user = args->user_arg](absl::Status status) {
    callback(status.ok() ? nullptr : new PJRT_Error{std::move(status)}, user);
  });
  return nullptr;
}
}  // namespace

extern "C" __attribute__((visibility("default"))) const PJRT_Api* GetPjrtApi() {
  static const PJRT_Api api = [] {
    PJRT_Api table{};
    table.struct_size = PJRT_Api_STRUCT_SIZE;
    table.pjrt_api_version = {PJRT_Api_Version_STRUCT_SIZE, nullptr, PJRT_API_MAJOR, PJRT_API_MINOR};
    table.PJRT_Error_Destroy = destroy_error;
    table.PJRT_Error_Message = message_of;
    table.PJRT_Error_GetCode = code_of;
    table.PJRT_Plugin_Initialize = initialize;
    table.PJRT_Plugin_Attributes = attributes;
    table.PJRT_Event_Destroy = destroy_event;
    table.PJRT_Event_IsReady = is_ready;
    table.PJRT_Event_Await = await;
    table.PJRT_Event_OnReady = on_ready;
#define SUPPLIED(Name) table.PJRT_##Name = entries::Name;
#include "entries.inc"
#undef SUPPLIED
    return table;
  }();
  return &api;
}
