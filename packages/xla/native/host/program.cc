#include <algorithm>

#include "objects.h"

namespace nbit::pjrt {
namespace {
Program mlir(std::string& text) {
  Program program{};
  program.struct_size = sizeof program;
  program.code = text.data();
  program.code_size = text.size();
  program.format = "mlir";
  program.format_size = 4;
  return program;
}
/** Plugins' fingerprints are bytes; as text they are themselves where they are that, else hexadecimal. */
std::string printable(const char* bytes, size_t size) {
  static constexpr char DIGITS[] = "0123456789abcdef";
  const std::string text(bytes, size);
  if (std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 32 && c < 127; })) return text;
  std::string written;
  for (const unsigned char c : text) written += {DIGITS[c >> 4], DIGITS[c & 15]};
  return written;
}
/** What an executable answers about itself, or nothing where the plugin cannot say. */
template <class Args, class Read>
void ask(const ProgramCore& program, Read read) {
  if (!program.plugin->has<Args>()) return;
  auto args = arguments<Args>();
  args.executable = program.executable;
  try {
    program.plugin->call(args);
  } catch (const Failure&) {
    return;  // a program without this analysis is as good
  }
  read(args);
}
}  // namespace

ProgramCore::ProgramCore(Token token, std::shared_ptr<Plugin> plugin, std::shared_ptr<ClientCore> client)
    : token(std::move(token)), plugin(std::move(plugin)), client(std::move(client)) {
  if (this->client) this->client->traffic.live_programs++;
}
ProgramCore::~ProgramCore() {
  if (executable != nullptr) {
    auto destroy = arguments<Executable_Destroy_Args>();
    destroy.executable = executable;
    plugin->tell(destroy);
  }
  if (loaded != nullptr) {
    auto destroy = arguments<LoadedExecutable_Destroy_Args>();
    destroy.executable = loaded;
    plugin->tell(destroy);
  }
  if (client) client->traffic.live_programs--;
}

void ProgramCore::adopt(LoadedExecutable* made) {
  loaded = made;
  auto get = arguments<LoadedExecutable_GetExecutable_Args>();
  get.loaded_executable = loaded;
  plugin->call(get);
  executable = get.executable;
  outputs = count_outputs();
  auto list = arguments<LoadedExecutable_AddressableDevices_Args>();
  list.executable = loaded;
  plugin->call(list);
  for (size_t i = 0; i < list.num_addressable_devices; i++) {
    const auto at = std::find(client->devices.begin(), client->devices.end(), list.addressable_devices[i]);
    if (at == client->devices.end()) throw Failure("XLA_INTERNAL", "a program runs on a device that its client lacks.");
    devices.push_back(static_cast<size_t>(at - client->devices.begin()));
  }
}
size_t ProgramCore::count_outputs() const {
  auto count = arguments<Executable_NumOutputs_Args>();
  count.executable = executable;
  plugin->call(count);
  return count.num_outputs;
}

std::shared_ptr<ProgramCore> ProgramCore::compile(std::shared_ptr<ClientCore> client, std::string& text,
                                                  const std::string& options) {
  const Program program = mlir(text);
  std::shared_ptr<ProgramCore> made(new ProgramCore(client->token, client->plugin, client));
  auto args = arguments<Client_Compile_Args>();
  args.client = client->client;
  args.program = &program;
  args.compile_options = options.data();
  args.compile_options_size = options.size();
  client->plugin->call(args);
  made->adopt(args.executable);
  return made;
}
std::shared_ptr<ProgramCore> ProgramCore::compile(const std::shared_ptr<TopologyCore>& topology, std::string& text,
                                                  const std::string& options) {
  const Program program = mlir(text);
  std::shared_ptr<ProgramCore> made(new ProgramCore(topology->token, topology->plugin, nullptr));
  auto args = arguments<Compile_Args>();
  args.topology = topology->topology;
  args.program = &program;
  args.compile_options = options.data();
  args.compile_options_size = options.size();
  topology->plugin->call(args);
  made->executable = args.executable;
  made->outputs = made->count_outputs();
  return made;
}
std::shared_ptr<ProgramCore> ProgramCore::load(std::shared_ptr<ClientCore> client, const std::string& serialized) {
  std::shared_ptr<ProgramCore> made(new ProgramCore(client->token, client->plugin, client));
  auto args = arguments<Executable_DeserializeAndLoad_Args>();
  args.client = client->client;
  args.serialized_executable = serialized.data();
  args.serialized_executable_size = serialized.size();
  client->plugin->call(args);
  made->adopt(args.loaded_executable);
  return made;
}

ProgramFacts ProgramCore::facts() const {
  ProgramFacts facts{};
  facts.outputs = outputs;
  ask<Executable_Name_Args>(*this,
                            [&](const auto& a) { facts.name.assign(a.executable_name, a.executable_name_size); });
  ask<Executable_Fingerprint_Args>(*this, [&](const auto& a) {
    facts.fingerprint = printable(a.executable_fingerprint, a.executable_fingerprint_size);
  });
  ask<Executable_NumReplicas_Args>(*this, [&](const auto& a) { facts.replicas = a.num_replicas; });
  ask<Executable_NumPartitions_Args>(*this, [&](const auto& a) { facts.partitions = a.num_partitions; });
  ask<Executable_SizeOfGeneratedCodeInBytes_Args>(*this, [&](const auto& a) { facts.code_bytes = a.size_in_bytes; });
  ask<Executable_GetCompiledMemoryStats_Args>(*this, [&](const auto& a) {
    facts.memory = {a.peak_memory_in_bytes,   a.argument_size_in_bytes, a.output_size_in_bytes,
                    a.alias_size_in_bytes,    a.temp_size_in_bytes,     a.generated_code_size_in_bytes,
                    a.host_temp_size_in_bytes};
  });
  ask<Executable_GetCostAnalysis_Args>(
      *this, [&](const auto& a) { facts.costs = read_named(a.properties, a.num_properties); });
  return facts;
}

std::pair<std::string, std::string> ProgramCore::optimized() const {
  Program program{};
  program.struct_size = sizeof program;
  auto args = arguments<Executable_OptimizedProgram_Args>();
  args.executable = executable;
  args.program = &program;
  plugin->call(args);  // how much room it takes
  std::string code(program.code_size, 0);
  program.code = code.data();
  plugin->call(args);
  return {std::string(program.format, program.format_size), std::move(code)};
}

std::string ProgramCore::serialize() const {
  auto args = arguments<Executable_Serialize_Args>();
  args.executable = executable;
  plugin->call(args);
  std::string bytes(args.serialized_bytes, args.serialized_bytes_size);
  if (args.serialized_executable_deleter != nullptr) args.serialized_executable_deleter(args.serialized_executable);
  return bytes;
}
}  // namespace nbit::pjrt
