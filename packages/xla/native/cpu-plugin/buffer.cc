// Buffers of the CPU plugin: to the device, back, and what they are.
#include "state.h"

#include <algorithm>

#include "xla/layout_util.h"

namespace {
struct Element {
  PJRT_Buffer_Type api;
  xla::PrimitiveType type;
};
constexpr Element ELEMENTS[] = {
    {PJRT_Buffer_Type_PRED, xla::PRED},         {PJRT_Buffer_Type_S8, xla::S8},
    {PJRT_Buffer_Type_S16, xla::S16},           {PJRT_Buffer_Type_S32, xla::S32},
    {PJRT_Buffer_Type_S64, xla::S64},           {PJRT_Buffer_Type_U8, xla::U8},
    {PJRT_Buffer_Type_U16, xla::U16},           {PJRT_Buffer_Type_U32, xla::U32},
    {PJRT_Buffer_Type_U64, xla::U64},           {PJRT_Buffer_Type_F16, xla::F16},
    {PJRT_Buffer_Type_F32, xla::F32},           {PJRT_Buffer_Type_F64, xla::F64},
    {PJRT_Buffer_Type_BF16, xla::BF16},         {PJRT_Buffer_Type_C64, xla::C64},
    {PJRT_Buffer_Type_C128, xla::C128},         {PJRT_Buffer_Type_F8E5M2, xla::F8E5M2},
    {PJRT_Buffer_Type_F8E4M3FN, xla::F8E4M3FN},
};

/** Whether a layout that the host asks for is the dense one, last dimension fastest. */
bool is_row_major(const PJRT_Buffer_MemoryLayout& layout) {
  if (layout.type != PJRT_Buffer_MemoryLayout_Type_Tiled || layout.tiled.num_tiles > 0) return false;
  for (size_t i = 0; i < layout.tiled.minor_to_major_size; i++)
    if (layout.tiled.minor_to_major[i] != static_cast<int64_t>(layout.tiled.minor_to_major_size - 1 - i)) return false;
  return true;
}
}  // namespace

namespace entries {
PJRT_Error* Client_BufferFromHostBuffer(PJRT_Client_BufferFromHostBuffer_Args* args) {
  using Semantics = xla::PjRtClient::HostBufferSemantics;
  if (args->memory != nullptr || args->device_layout != nullptr || args->num_byte_strides > 0)
    return unimplemented("BufferFromHostBuffer: the CPU plugin takes dense buffers for a device's default memory");
  if (args->host_buffer_semantics != PJRT_HostBufferSemantics_kImmutableOnlyDuringCall &&
      args->host_buffer_semantics != PJRT_HostBufferSemantics_kImmutableUntilTransferCompletes)
    return unimplemented("BufferFromHostBuffer: the CPU plugin copies, and shares no memory with the host");
  const auto* element = std::find_if(std::begin(ELEMENTS), std::end(ELEMENTS),
                                     [&](const Element& each) { return each.api == args->type; });
  if (element == std::end(ELEMENTS))
    return unimplemented("BufferFromHostBuffer: no element type " + std::to_string(args->type));
  PJRT_Device* device = args->device == nullptr ? args->client->devices.front() : args->device;
  ASSIGN_OR_RETURN(memory, device->device->default_memory_space());
  auto [promise, done] = xla::MakePromise<>();
  const bool during_call = args->host_buffer_semantics == PJRT_HostBufferSemantics_kImmutableOnlyDuringCall;
  ASSIGN_OR_RETURN(buffer,
                   args->client->client->BufferFromHostBuffer(
                       args->data, element->type, {args->dims, args->num_dims}, std::nullopt,
                       during_call ? Semantics::kImmutableOnlyDuringCall : Semantics::kImmutableUntilTransferCompletes,
                       [promise = std::move(promise)]() mutable { promise.Set(absl::OkStatus()); }, memory, nullptr));
  args->buffer = new PJRT_Buffer{std::move(buffer), device};
  args->done_with_host_buffer = new PJRT_Event{done};
  return nullptr;
}
PJRT_Error* Buffer_Destroy(PJRT_Buffer_Destroy_Args* args) {
  delete args->buffer;
  return nullptr;
}
PJRT_Error* Buffer_ElementType(PJRT_Buffer_ElementType_Args* args) {
  const auto type = args->buffer->buffer->element_type();
  const auto* element =
      std::find_if(std::begin(ELEMENTS), std::end(ELEMENTS), [&](const Element& each) { return each.type == type; });
  args->type = element == std::end(ELEMENTS) ? PJRT_Buffer_Type_INVALID : element->api;
  return nullptr;
}
PJRT_Error* Buffer_Dimensions(PJRT_Buffer_Dimensions_Args* args) {
  const auto dimensions = args->buffer->buffer->dimensions();
  args->dims = dimensions.data();
  args->num_dims = dimensions.size();
  return nullptr;
}
PJRT_Error* Buffer_OnDeviceSizeInBytes(PJRT_Buffer_OnDeviceSizeInBytes_Args* args) {
  ASSIGN_OR_RETURN(size, args->buffer->buffer->GetOnDeviceSizeInBytes());
  args->on_device_size_in_bytes = size;
  return nullptr;
}
PJRT_Error* Buffer_Device(PJRT_Buffer_Device_Args* args) {
  args->device = args->buffer->device;
  return nullptr;
}
PJRT_Error* Buffer_Delete(PJRT_Buffer_Delete_Args* args) {
  args->buffer->buffer->Delete();
  return nullptr;
}
PJRT_Error* Buffer_IsDeleted(PJRT_Buffer_IsDeleted_Args* args) {
  args->is_deleted = args->buffer->buffer->IsDeleted();
  return nullptr;
}
PJRT_Error* Buffer_ReadyEvent(PJRT_Buffer_ReadyEvent_Args* args) {
  args->event = new PJRT_Event{args->buffer->buffer->GetReadyFuture()};
  return nullptr;
}
PJRT_Error* Buffer_ToHostBuffer(PJRT_Buffer_ToHostBuffer_Args* args) {
  xla::PjRtBuffer& source = *args->src->buffer;
  ASSIGN_OR_RETURN(size, source.GetOnDeviceSizeInBytes());
  if (args->dst == nullptr) {
    args->dst_size = size;
    return nullptr;
  }
  if (args->dst_size < size)
    return invalid("ToHostBuffer: expected " + std::to_string(size) +
                   " bytes. Received: " + std::to_string(args->dst_size));
  if (args->host_layout != nullptr && !is_row_major(*args->host_layout))
    return unimplemented("ToHostBuffer: the CPU plugin writes the dense layout, last dimension fastest");
  if (const auto layout = source.layout(); !xla::LayoutUtil::IsMonotonicWithDim0Major(layout->xla_layout()))
    return unimplemented("ToHostBuffer: this buffer has a layout of its own");
  args->event = new PJRT_Event{source.CopyRawToHost(args->dst, 0, size)};
  return nullptr;
}
}  // namespace entries
