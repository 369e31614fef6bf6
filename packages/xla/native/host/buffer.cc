#include <limits>

#include "objects.h"

namespace nbit::pjrt {
namespace {
// By PJRT's numbers of element types: invalid, pred, s8 s16 s32 s64, u8 u16 u32 u64, f16 f32 f64 bf16, c64 c128, and
// five kinds of float8.
constexpr size_t SIZES[] = {0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8, 16, 1, 1, 1, 1, 1};
}  // namespace

size_t item_size(int type) { return type > 0 && type < static_cast<int>(std::size(SIZES)) ? SIZES[type] : 0; }
size_t byte_size(int type, const std::vector<int64_t>& dims) {
  constexpr size_t most = std::numeric_limits<int64_t>::max();
  size_t bytes = item_size(type);
  if (bytes == 0) throw Failure("XLA_DTYPE", "no element type " + std::to_string(type) + " that the host could hold.");
  bool empty = false;
  for (const int64_t dim : dims) {
    if (dim < 0) throw Failure("XLA_SHAPE", "a dimension must be ≥ 0. Received: " + std::to_string(dim) + ".");
    if (dim == 0) {
      empty = true;
    } else {
      if (bytes > most / static_cast<size_t>(dim)) throw Failure("XLA_SHAPE", "a shape of more than 2^63 - 1 bytes.");
      bytes *= static_cast<size_t>(dim);
    }
  }
  return empty ? 0 : bytes;
}

BufferCore::BufferCore(std::shared_ptr<ClientCore> from, Buffer* made) : client(std::move(from)), buffer(made) {
  const Plugin& plugin = *client->plugin;
  try {
    auto element = arguments<Buffer_ElementType_Args>();
    element.buffer = buffer;
    plugin.call(element);
    type = element.type;
    auto shape = arguments<Buffer_Dimensions_Args>();
    shape.buffer = buffer;
    plugin.call(shape);
    dims.assign(shape.dims, shape.dims + shape.num_dims);
    bytes = item_size(type) == 0 ? 0 : byte_size(type, dims);
  } catch (...) {
    destroy();
    throw;
  }
  client->traffic.live_buffers++;
  client->traffic.live_bytes += bytes;
}
void BufferCore::destroy() const noexcept {
  auto args = arguments<Buffer_Destroy_Args>();
  args.buffer = buffer;
  client->plugin->tell(args);
}
BufferCore::~BufferCore() {
  destroy();
  client->traffic.live_bytes -= bytes;
  client->traffic.live_buffers--;
}
bool BufferCore::deleted() const {
  auto args = arguments<Buffer_IsDeleted_Args>();
  args.buffer = buffer;
  client->plugin->call(args);
  return args.is_deleted;
}
Event* BufferCore::ready() const {
  auto args = arguments<Buffer_ReadyEvent_Args>();
  args.buffer = buffer;
  client->plugin->call(args);
  return args.event;
}

std::shared_ptr<BufferCore> to_device(const std::shared_ptr<ClientCore>& client, size_t device, int type,
                                      const std::vector<int64_t>& dims, const void* data, Event** done) {
  auto args = arguments<Client_BufferFromHostBuffer_Args>();
  args.client = client->client;
  args.data = data;
  args.type = type;
  args.dims = dims.data();
  args.num_dims = dims.size();
  args.host_buffer_semantics =
      done == nullptr ? HostBufferSemantics::onlyDuringCall : HostBufferSemantics::untilTransferCompletes;
  args.device = client->devices.at(device);
  client->plugin->call(args);
  if (done != nullptr) {
    *done = args.done_with_host_buffer;
  } else if (args.done_with_host_buffer != nullptr) {
    auto destroy = arguments<Event_Destroy_Args>();
    destroy.event = args.done_with_host_buffer;
    client->plugin->tell(destroy);
  }
  auto made = std::make_shared<BufferCore>(client, args.buffer);
  made->device = device;
  client->traffic.transfers_to_device++;
  client->traffic.bytes_to_device += made->bytes;
  return made;
}

Event* to_host(const BufferCore& buffer, void* target) {
  // Devices may lay a buffer out as suits them; the host's order is asked for.
  std::vector<int64_t> order;
  for (size_t i = buffer.dims.size(); i > 0; i--) order.push_back(static_cast<int64_t>(i - 1));
  MemoryLayout layout{};
  layout.struct_size = sizeof(MemoryLayout);
  layout.tiled.struct_size = sizeof(TiledLayout);
  layout.tiled.minor_to_major = order.data();
  layout.tiled.minor_to_major_size = order.size();
  auto args = arguments<Buffer_ToHostBuffer_Args>();
  args.src = buffer.buffer;
  args.host_layout = &layout;
  args.dst = target;
  args.dst_size = buffer.bytes;
  buffer.client->plugin->call(args);
  buffer.client->traffic.transfers_to_host++;
  buffer.client->traffic.bytes_to_host += buffer.bytes;
  return args.event;
}

Lists execute(const ProgramCore& program, const Lists& given, const std::vector<int64_t>& kept) {
  const auto& client = program.client;
  const size_t count = given.front().size();
  std::vector<std::vector<Buffer*>> in(given.size()), out(given.size(), std::vector<Buffer*>(program.outputs));
  std::vector<Buffer* const*> ins;
  std::vector<Buffer**> outs;
  for (size_t d = 0; d < given.size(); d++) {
    for (size_t i = 0; i < count; i++) {
      if (given[d][i]->donated)
        throw Failure("XLA_BUFFER_DONATED",
                      "argument " + std::to_string(i) + " was donated to a program that ran before.");
      in[d].push_back(given[d][i]->buffer);
    }
    ins.push_back(in[d].data());
    outs.push_back(out[d].data());
  }
  ExecuteOptions options{};
  options.struct_size = sizeof options;
  options.non_donatable_input_indices = kept.data();
  options.num_non_donatable_input_indices = kept.size();
  auto args = arguments<LoadedExecutable_Execute_Args>();
  args.executable = program.loaded;
  args.options = &options;
  args.argument_lists = ins.data();
  args.num_devices = given.size();
  args.num_args = count;
  args.output_lists = outs.data();
  client->plugin->call(args);
  client->traffic.executions++;
  for (const auto& list : given)
    for (const auto& buffer : list)
      if (buffer->deleted()) buffer->donated = true;
  Lists results(given.size());
  for (size_t d = 0; d < given.size(); d++)
    for (Buffer* made : out[d]) {
      results[d].push_back(std::make_shared<BufferCore>(client, made));
      results[d].back()->device = program.devices.at(d);
    }
  return results;
}
}  // namespace nbit::pjrt
