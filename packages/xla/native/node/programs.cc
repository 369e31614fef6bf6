// Programs: compiled, analysed, run.
#include "functions.h"

namespace nbit::pjrt::js {
/** (client, text, options) */
napi_value compile(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  const auto made = late<ProgramCore>();
  return promise(
      env, client->plugin->slow,
      [=, code = text(env, args[1]), options = bytes(env, args[2])]() mutable {
        *made = ProgramCore::compile(client, code, options);
      },
      wrapped(made));
}
/** (topology, text, options) */
napi_value compile_for(napi_env env, const Args& args) {
  const auto topology = open<TopologyCore>(env, args[0]);
  const auto made = late<ProgramCore>();
  return promise(
      env, topology->plugin->slow,
      [=, code = text(env, args[1]), options = bytes(env, args[2])]() mutable {
        *made = ProgramCore::compile(topology, code, options);
      },
      wrapped(made));
}
/** (client, bytes) */
napi_value deserialize(napi_env env, const Args& args) {
  const auto client = client_of(env, args[0]);
  const auto made = late<ProgramCore>();
  return promise(
      env, client->plugin->slow,
      [=, serialized = bytes(env, args[1])] { *made = ProgramCore::load(client, serialized); }, wrapped(made));
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
        return record(env, {{"format", from(env, text->first)}, {"bytes", owned_bytes(env, std::move(bytes))}});
      });
}
napi_value serialize(napi_env env, const Args& args) {
  const auto program = program_of(env, args[0]);
  const auto text = std::make_shared<std::string>();
  return promise(
      env, program->plugin->slow, [=] { *text = program->serialize(); },
      [text](napi_env env) {
        return owned_bytes(env, std::make_unique<std::vector<char>>(text->begin(), text->end()));
      });
}

std::shared_ptr<Lists> lists_of(napi_env env, const ProgramCore& program, napi_value value) {
  if (program.client == nullptr || program.loaded == nullptr)
    throw Failure("XLA_NOT_LOADED", "this program was compiled for a topology, and cannot run here.");
  auto given = std::make_shared<Lists>();
  for (napi_value each : list(env, value)) {
    given->emplace_back();
    for (napi_value buffer : list(env, each)) {
      given->back().push_back(buffer_of(env, buffer));
      if (given->back().back()->client != program.client)
        throw Failure("XLA_OTHER_CLIENT", "a buffer belongs to another client than the program.");
    }
  }
  if (given->size() != program.devices.size())
    throw Failure("XLA_DEVICE", "expected arguments for " + std::to_string(program.devices.size()) +
                                    " devices. Received: " + std::to_string(given->size()) + ".");
  for (size_t d = 0; d < given->size(); d++) {
    if ((*given)[d].size() != given->front().size())
      throw Failure("XLA_ARGUMENT", "expected as many arguments for every device.");
    for (const auto& buffer : (*given)[d])
      if (buffer->device != program.devices[d])
        throw Failure("XLA_DEVICE", "a buffer is on device " + std::to_string(buffer->device) + ". Expected device " +
                                        std::to_string(program.devices[d]) + ".");
  }
  return given;
}
napi_value results_of(napi_env env, Lists& results) {
  std::vector<napi_value> lists;
  for (auto& each : results) {
    std::vector<napi_value> buffers;
    for (auto& buffer : each) buffers.push_back(wrap(env, std::move(buffer)));
    lists.push_back(array(env, buffers));
  }
  return array(env, lists);
}

/** (program, [[buffer…] per device], [indices that are not donated]) */
napi_value run(napi_env env, const Args& args) {
  const auto program = program_of(env, args[0]);
  const auto given = lists_of(env, *program, args[1]);
  auto kept = wholes(env, args[2]);
  for (const int64_t index : kept)
    if (index < 0 || static_cast<size_t>(index) >= given->front().size())
      throw Failure("XLA_ARGUMENT", "expected indices of arguments.");
  const auto results = std::make_shared<Lists>();
  return promise(
      env, program->client->lane, [=] { *results = execute(*program, *given, kept); },
      [results](napi_env env) { return results_of(env, *results); });
}

std::shared_ptr<ProgramCore> program_of(napi_env env, napi_value value) {
  auto program = open<ProgramCore>(env, value);
  if (program->client && program->client->closed) throw Failure("XLA_CLOSED", "its client was closed.");
  return program;
}
}  // namespace nbit::pjrt::js
