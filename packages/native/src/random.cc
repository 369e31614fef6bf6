// Random number generators: the default one of each device, and those that JavaScript makes.
#include "core.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <mutex>

namespace nbit {

namespace {
/** Those of an environment. At the end of the process they stay: a GPU's generator must not outlive its driver. */
struct Generators {
  std::vector<at::Generator> at{at::Generator()};
  std::vector<size_t> free;
};
const EnvironmentLocal<Generators> generators;

at::Generator make(c10::Device device) {
  if (device.is_cpu()) return at::detail::createCPUGenerator();
  return at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
}
}  // namespace

at::Generator& generatorAt(double id) {
  auto& all = generators().at;
  if (!(id >= 1 && id < static_cast<double>(all.size())) || !all[static_cast<size_t>(id)].defined()) fail("ERR_ARGUMENT", "expected a Generator that is in use");
  return all[static_cast<size_t>(id)];
}

// (device code, default?) → id
NBIT_FN(generatorCreate) {
  Args a(env, info);
  NBIT_TRY
  const auto device = decodeDevice(a.number(0));
  at::Generator g = a.flag(1) ? at::globalContext().defaultGenerator(device) : make(device);
  auto& [all, free] = generators();
  size_t id = all.size();
  if (!free.empty()) {
    id = free.back();
    free.pop_back();
    all[id] = std::move(g);
  } else {
    all.push_back(std::move(g));
  }
  return toJs(env, static_cast<double>(id));
  NBIT_CATCH("Generator")
}
NBIT_FN(generatorFree) {
  Args a(env, info);
  NBIT_TRY
  const double id = a.number(0);
  generatorAt(id) = at::Generator();
  generators().free.push_back(static_cast<size_t>(id));
  return nullptr;
  NBIT_CATCH("Generator")
}
// message: id, seed (integer)
NBIT_FN(generatorSetSeed) {
  NBIT_TRY
  Reader in = message();
  at::Generator& g = generatorAt(in.number());
  const int64_t seed = in.integer();
  std::lock_guard<std::mutex> lock(g.mutex());
  g.set_current_seed(static_cast<uint64_t>(seed));
  return nullptr;
  NBIT_CATCH("manualSeed")
}
// (id) → buffer: the seed (integer)
NBIT_FN(generatorSeed) {
  Args a(env, info);
  NBIT_TRY
  Writer(2).integer(static_cast<int64_t>(generatorAt(a.number(0)).current_seed()));
  return nullptr;
  NBIT_CATCH("initialSeed")
}
// (id): draw a seed from the system → buffer: the seed (integer)
NBIT_FN(generatorReseed) {
  Args a(env, info);
  NBIT_TRY
  at::Generator& g = generatorAt(a.number(0));
  std::lock_guard<std::mutex> lock(g.mutex());
  Writer(2).integer(static_cast<int64_t>(g.seed()));
  return nullptr;
  NBIT_CATCH("seed")
}
// (from id, to id): the second becomes a copy of the first, whatever it was. Cheaper than a state, which is a tensor
NBIT_FN(generatorCopy) {
  Args a(env, info);
  NBIT_TRY
  at::Generator from = generatorAt(a.number(0));  // alive, should it be the second too
  at::Generator& to = generatorAt(a.number(1));
  std::lock_guard<std::mutex> lock(from.mutex());
  to = from.clone();
  return nullptr;
  NBIT_CATCH("Generator")
}
NBIT_FN(generatorGetState) {
  Args a(env, info);
  NBIT_TRY
  at::Generator& g = generatorAt(a.number(0));
  std::lock_guard<std::mutex> lock(g.mutex());
  return toJs(env, put(g.get_state()));
  NBIT_CATCH("getState")
}
NBIT_FN(generatorSetState) {
  Args a(env, info);
  NBIT_TRY
  at::Generator& g = generatorAt(a.number(0));
  const at::Tensor& state = get(a.number(1));
  std::lock_guard<std::mutex> lock(g.mutex());
  g.set_state(state);
  return nullptr;
  NBIT_CATCH("setState")
}
// message: seed (integer), for the default generators of every device
NBIT_FN(manualSeed) {
  NBIT_TRY
  Reader in = message();
  at::manual_seed(static_cast<uint64_t>(in.integer()));
  return nullptr;
  NBIT_CATCH("manualSeed")
}

std::vector<Entry> randomEntries() {
  return {{"generatorCreate", generatorCreate}, {"generatorFree", generatorFree}, {"generatorSetSeed", generatorSetSeed}, {"generatorSeed", generatorSeed}, {"generatorReseed", generatorReseed},
          {"generatorCopy", generatorCopy}, {"generatorGetState", generatorGetState}, {"generatorSetState", generatorSetState}, {"manualSeed", manualSeed}};
}

}  // namespace nbit
