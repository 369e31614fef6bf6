// Random number generators: the default one of each device, and those that JavaScript makes.
#include "core.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <mutex>

namespace nbit {

namespace {
// Never destroyed: a GPU's generator must not outlive its driver at exit.
auto& generators = *new std::vector<at::Generator>{at::Generator()};
std::vector<size_t> freeIds;

at::Generator make(c10::Device device) {
  if (device.is_cpu()) return at::detail::createCPUGenerator();
  return at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
}
}  // namespace

at::Generator& generatorAt(double id) {
  const auto i = static_cast<size_t>(id);
  if (!(id >= 1) || i >= generators.size() || !generators[i].defined()) fail("ERR_ARGUMENT", "expected a Generator that is in use");
  return generators[i];
}

// (device code, default?) → id
NBIT_FN(generatorCreate) {
  Args a(env, info);
  NBIT_TRY
  const auto device = decodeDevice(a.number(0));
  at::Generator g = a.flag(1) ? at::globalContext().defaultGenerator(device) : make(device);
  size_t id = generators.size();
  if (!freeIds.empty()) {
    id = freeIds.back();
    freeIds.pop_back();
    generators[id] = std::move(g);
  } else {
    generators.push_back(std::move(g));
  }
  return toJs(env, static_cast<double>(id));
  NBIT_CATCH("Generator")
}
NBIT_FN(generatorFree) {
  Args a(env, info);
  NBIT_TRY
  const double id = a.number(0);
  generatorAt(id) = at::Generator();
  freeIds.push_back(static_cast<size_t>(id));
  return nullptr;
  NBIT_CATCH("Generator")
}
// buffer: id, seed (integer) 
NBIT_FN(generatorSetSeed) {
  (void)info;
  NBIT_TRY
  Reader in{buffer};
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
  Writer out{buffer};
  out.integer(static_cast<int64_t>(generatorAt(a.number(0)).current_seed()));
  return nullptr;
  NBIT_CATCH("initialSeed")
}
// (id): draw a seed from the system → buffer: the seed (integer)
NBIT_FN(generatorReseed) {
  Args a(env, info);
  NBIT_TRY
  at::Generator& g = generatorAt(a.number(0));
  std::lock_guard<std::mutex> lock(g.mutex());
  Writer out{buffer};
  out.integer(static_cast<int64_t>(g.seed()));
  return nullptr;
  NBIT_CATCH("seed")
}
// (from id, to id): the second becomes a copy of the first, whatever it was. Cheaper than a state, which is a tensor
NBIT_FN(generatorCopy) {
  Args a(env, info);
  NBIT_TRY
  at::Generator& from = generatorAt(a.number(0));
  std::lock_guard<std::mutex> lock(from.mutex());
  generatorAt(a.number(1)) = from.clone();
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
// buffer: seed (integer), for the default generators of every device
NBIT_FN(manualSeed) {
  (void)info;
  NBIT_TRY
  Reader in{buffer};
  at::manual_seed(static_cast<uint64_t>(in.integer()));
  return nullptr;
  NBIT_CATCH("manualSeed")
}

std::vector<Entry> randomEntries() {
  return {{"generatorCreate", generatorCreate}, {"generatorFree", generatorFree}, {"generatorSetSeed", generatorSetSeed}, {"generatorSeed", generatorSeed}, {"generatorReseed", generatorReseed},
          {"generatorCopy", generatorCopy}, {"generatorGetState", generatorGetState}, {"generatorSetState", generatorSetState}, {"manualSeed", manualSeed}};
}

}  // namespace nbit
