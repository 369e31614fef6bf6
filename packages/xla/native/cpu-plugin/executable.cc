// Programs of the CPU plugin: compiled, analysed, serialized, run.
#include "state.h"

#include "xla/hlo/builder/xla_computation.h"
#include "xla/hlo/ir/hlo_module.h"
#include "xla/pjrt/proto/compile_options.pb.h"
#include "xla/service/hlo.pb.h"

namespace xla {
// Of xla/pjrt/mlir_to_hlo.h, whose other declarations need LLVM's headers, which the wheel leaves out.
absl::Status ParseMlirModuleStringAndConvertToXlaComputation(absl::string_view text, XlaComputation& computation,
                                                             bool use_tuple_args, bool return_tuple);
}  // namespace xla

namespace {
absl::StatusOr<xla::CompileOptions> options_of(const char* bytes, size_t size) {
  xla::CompileOptionsProto proto;
  if (!proto.ParseFromString(std::string(bytes, size)))
    return absl::InvalidArgumentError("compile_options: not a CompileOptionsProto");
  return xla::CompileOptions::FromProto(proto);
}
absl::Status parse(const PJRT_Program& program, xla::XlaComputation& computation) {
  const std::string format(program.format, program.format_size);
  if (format != "mlir") return absl::UnimplementedError("the CPU plugin compiles the format mlir. Received: " + format);
  return xla::ParseMlirModuleStringAndConvertToXlaComputation({program.code, program.code_size}, computation, false,
                                                              false);
}
PJRT_LoadedExecutable* wrap(PJRT_Client* client, std::unique_ptr<xla::PjRtLoadedExecutable> loaded) {
  auto* made = new PJRT_LoadedExecutable{client, std::move(loaded), {}, ""};
  for (const auto* device : made->loaded->addressable_devices())
    for (auto* each : client->devices)
      if (each->device == device) made->devices.push_back(each);
  return made;
}
absl::StatusOr<std::shared_ptr<xla::HloModule>> module_of(const PJRT_Executable& executable) {
  auto modules = executable.loaded ? executable.loaded->GetHloModules() : executable.compiled->GetHloModules();
  if (!modules.ok()) return modules.status();
  if (modules->empty()) return absl::UnavailableError("the executable keeps no module");
  return modules->front();
}
/** Calls what loaded and unloaded executables both have. */
template <class Call>
auto with(const PJRT_Executable& executable, Call call) {
  return executable.loaded ? call(*executable.loaded) : call(*executable.compiled);
}
}  // namespace

namespace entries {
PJRT_Error* Client_Compile(PJRT_Client_Compile_Args* args) {
  ASSIGN_OR_RETURN(options, options_of(args->compile_options, args->compile_options_size));
  xla::XlaComputation computation;
  RETURN_IF_ERROR(parse(*args->program, computation));
  ASSIGN_OR_RETURN(loaded, args->client->client->CompileAndLoad(computation, options));
  args->executable = wrap(args->client, std::move(loaded));
  return nullptr;
}
PJRT_Error* Compile(PJRT_Compile_Args* args) {
  ASSIGN_OR_RETURN(options, options_of(args->compile_options, args->compile_options_size));
  xla::XlaComputation computation;
  RETURN_IF_ERROR(parse(*args->program, computation));
  ASSIGN_OR_RETURN(compiled, args->topology->client->Compile(computation, options));
  args->executable = new PJRT_Executable{args->topology->client, nullptr, std::move(compiled)};
  return nullptr;
}
PJRT_Error* Executable_Destroy(PJRT_Executable_Destroy_Args* args) {
  delete args->executable;
  return nullptr;
}
PJRT_Error* Executable_Name(PJRT_Executable_Name_Args* args) {
  args->executable->name = with(*args->executable, [](auto& each) { return std::string(each.name()); });
  args->executable_name = args->executable->name.data();
  args->executable_name_size = args->executable->name.size();
  return nullptr;
}
PJRT_Error* Executable_NumReplicas(PJRT_Executable_NumReplicas_Args* args) {
  args->num_replicas = with(*args->executable, [](auto& each) { return each.num_replicas(); });
  return nullptr;
}
PJRT_Error* Executable_NumPartitions(PJRT_Executable_NumPartitions_Args* args) {
  args->num_partitions = with(*args->executable, [](auto& each) { return each.num_partitions(); });
  return nullptr;
}
PJRT_Error* Executable_NumOutputs(PJRT_Executable_NumOutputs_Args* args) {
  ASSIGN_OR_RETURN(module, module_of(*args->executable));
  const xla::Shape& result = module->result_shape();
  args->num_outputs = result.IsTuple() ? result.tuple_shapes().size() : 1;
  return nullptr;
}
PJRT_Error* Executable_SizeOfGeneratedCodeInBytes(PJRT_Executable_SizeOfGeneratedCodeInBytes_Args* args) {
  args->size_in_bytes = with(*args->executable, [](auto& each) { return each.SizeOfGeneratedCodeInBytes(); });
  return nullptr;
}
PJRT_Error* Executable_GetCostAnalysis(PJRT_Executable_GetCostAnalysis_Args* args) {
  PJRT_Executable& executable = *args->executable;
  if (executable.properties.empty()) {
    if (executable.loaded) {
      ASSIGN_OR_RETURN(costs, executable.loaded->GetCostAnalysis());
      executable.costs = {costs.begin(), costs.end()};
    } else {
      ASSIGN_OR_RETURN(costs, executable.compiled->GetCostAnalysis());
      executable.costs = {costs.begin(), costs.end()};
    }
    for (const auto& [name, value] : executable.costs) {
      PJRT_NamedValue named{};
      named.struct_size = PJRT_NamedValue_STRUCT_SIZE;
      named.name = name.data();
      named.name_size = name.size();
      named.value_size = 1;
      if (const auto* number = std::get_if<float>(&value)) {
        named.type = PJRT_NamedValue_kFloat;
        named.float_value = *number;
      } else if (const auto* whole = std::get_if<int64_t>(&value)) {
        named.type = PJRT_NamedValue_kInt64;
        named.int64_value = *whole;
      } else {
        continue;
      }
      executable.properties.push_back(named);
    }
  }
  args->properties = executable.properties.data();
  args->num_properties = executable.properties.size();
  return nullptr;
}
PJRT_Error* Executable_OptimizedProgram(PJRT_Executable_OptimizedProgram_Args* args) {
  static constexpr char FORMAT[] = "hlo_with_config";
  PJRT_Executable& executable = *args->executable;
  if (executable.program.empty()) {
    ASSIGN_OR_RETURN(module, module_of(executable));
    executable.program = module->ToProtoWithConfig().SerializeAsString();
  }
  args->program->format = FORMAT;
  args->program->format_size = sizeof FORMAT - 1;
  if (args->program->code == nullptr) {
    args->program->code_size = executable.program.size();
  } else {
    if (args->program->code_size < executable.program.size()) return invalid("OptimizedProgram: too little room");
    executable.program.copy(args->program->code, executable.program.size());
    args->program->code_size = executable.program.size();
  }
  return nullptr;
}
PJRT_Error* Executable_GetCompiledMemoryStats(PJRT_Executable_GetCompiledMemoryStats_Args* args) {
  ASSIGN_OR_RETURN(stats, with(*args->executable, [](auto& each) { return each.GetCompiledMemoryStats(); }));
  args->generated_code_size_in_bytes = stats.generated_code_size_in_bytes;
  args->argument_size_in_bytes = stats.argument_size_in_bytes;
  args->output_size_in_bytes = stats.output_size_in_bytes;
  args->alias_size_in_bytes = stats.alias_size_in_bytes;
  args->temp_size_in_bytes = stats.temp_size_in_bytes;
  args->host_generated_code_size_in_bytes = stats.host_generated_code_size_in_bytes;
  args->host_argument_size_in_bytes = stats.host_argument_size_in_bytes;
  args->host_output_size_in_bytes = stats.host_output_size_in_bytes;
  args->host_alias_size_in_bytes = stats.host_alias_size_in_bytes;
  args->host_temp_size_in_bytes = stats.host_temp_size_in_bytes;
  args->peak_memory_in_bytes = stats.peak_memory_in_bytes;
  args->total_size_in_bytes = stats.total_size_in_bytes;
  return nullptr;
}
PJRT_Error* Executable_Fingerprint(PJRT_Executable_Fingerprint_Args* args) {
  ASSIGN_OR_RETURN(text, with(*args->executable, [](auto& each) { return each.FingerprintExecutable(); }));
  args->executable->fingerprint = text;
  args->executable_fingerprint = args->executable->fingerprint.data();
  args->executable_fingerprint_size = args->executable->fingerprint.size();
  return nullptr;
}
PJRT_Error* Executable_Serialize(PJRT_Executable_Serialize_Args* args) {
  ASSIGN_OR_RETURN(bytes, with(*args->executable, [](auto& each) { return each.SerializeExecutable(); }));
  args->serialized_executable = new PJRT_SerializedExecutable{std::move(bytes)};
  args->serialized_bytes = args->serialized_executable->bytes.data();
  args->serialized_bytes_size = args->serialized_executable->bytes.size();
  args->serialized_executable_deleter = [](PJRT_SerializedExecutable* serialized) { delete serialized; };
  return nullptr;
}
PJRT_Error* Executable_DeserializeAndLoad(PJRT_Executable_DeserializeAndLoad_Args* args) {
  std::optional<xla::CompileOptions> overridden;
  if (args->overridden_serialized_compile_options_size > 0) {
    ASSIGN_OR_RETURN(options, options_of(args->overridden_serialized_compile_options,
                                         args->overridden_serialized_compile_options_size));
    overridden = std::move(options);
  }
  ASSIGN_OR_RETURN(loaded, args->client->client->LoadSerializedExecutable(
                               {args->serialized_executable, args->serialized_executable_size}, overridden, {}));
  args->loaded_executable = wrap(args->client, std::move(loaded));
  return nullptr;
}

PJRT_Error* LoadedExecutable_Destroy(PJRT_LoadedExecutable_Destroy_Args* args) {
  delete args->executable;
  return nullptr;
}
PJRT_Error* LoadedExecutable_GetExecutable(PJRT_LoadedExecutable_GetExecutable_Args* args) {
  args->executable = new PJRT_Executable{args->loaded_executable->client->client, args->loaded_executable->loaded};
  return nullptr;
}
PJRT_Error* LoadedExecutable_AddressableDevices(PJRT_LoadedExecutable_AddressableDevices_Args* args) {
  args->addressable_devices = args->executable->devices.data();
  args->num_addressable_devices = args->executable->devices.size();
  return nullptr;
}
PJRT_Error* LoadedExecutable_Fingerprint(PJRT_LoadedExecutable_Fingerprint_Args* args) {
  ASSIGN_OR_RETURN(text, args->executable->loaded->FingerprintExecutable());
  args->executable->fingerprint = text;
  args->executable_fingerprint = args->executable->fingerprint.data();
  args->executable_fingerprint_size = args->executable->fingerprint.size();
  return nullptr;
}
PJRT_Error* LoadedExecutable_Execute(PJRT_LoadedExecutable_Execute_Args* args) {
  if (args->execute_device != nullptr)
    return unimplemented("Execute: the CPU plugin runs on the devices of the program");
  const PJRT_LoadedExecutable& executable = *args->executable;
  if (args->num_devices != executable.devices.size())
    return invalid("Execute: expected arguments for " + std::to_string(executable.devices.size()) +
                   " devices. Received: " + std::to_string(args->num_devices));
  std::vector<std::vector<xla::PjRtBuffer*>> given(args->num_devices);
  for (size_t d = 0; d < args->num_devices; d++)
    for (size_t i = 0; i < args->num_args; i++) given[d].push_back(args->argument_lists[d][i]->buffer.get());
  xla::ExecuteOptions options;
  options.launch_id = args->options->launch_id;
  for (size_t i = 0; i < args->options->num_non_donatable_input_indices; i++)
    options.non_donatable_input_indices.insert(static_cast<int>(args->options->non_donatable_input_indices[i]));
  std::optional<std::vector<xla::Future<>>> done;
  if (args->device_complete_events != nullptr) done.emplace();
  ASSIGN_OR_RETURN(results, executable.loaded->Execute(given, options, done));
  for (size_t d = 0; d < results.size(); d++) {
    for (size_t i = 0; i < results[d].size(); i++)
      args->output_lists[d][i] = new PJRT_Buffer{std::move(results[d][i]), executable.devices[d]};
    if (done) args->device_complete_events[d] = new PJRT_Event{(*done)[d]};
  }
  return nullptr;
}
}  // namespace entries
