// Random number generators: the default one of each device, and those that JavaScript makes.
#include "binding/random.h"

#include "binding/core.h"
#include "entries/random.h"
#include "program/recorder.h"

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
  if (!(id >= 1 && id < static_cast<double>(all.size())) || !all[static_cast<size_t>(id)].defined())
    fail("ERR_ARGUMENT", "expected a Generator that is in use");
  return all[static_cast<size_t>(id)];
}

at::Generator copyOf(at::Generator from) {
  std::lock_guard<std::mutex> lock(from.mutex());
  return from.clone();
}
void continueAs(at::Generator& to, at::Generator from) {
  auto* const source = dynamic_cast<at::CPUGeneratorImpl*>(from.unsafeGetGeneratorImpl());
  auto* const target = dynamic_cast<at::CPUGeneratorImpl*>(to.unsafeGetGeneratorImpl());
  if (source == nullptr || target == nullptr) {
    const at::Generator copy = copyOf(from);
    std::lock_guard<std::mutex> lock(to.mutex());
    to.set_state(copy.get_state());
    return;
  }
  // A state is a tensor of 5 kB, and a new generator would be seeded first, which takes longer than all the rest.
  std::unique_lock<std::mutex> lock(from.mutex());
  const at::mt19937 engine = source->engine();
  const auto nextFloat = source->next_float_normal_sample();
  const auto nextDouble = source->next_double_normal_sample();
  lock.unlock();
  std::lock_guard<std::mutex> targetLock(to.mutex());
  target->set_engine(engine);
  target->set_next_float_normal_sample(nextFloat);
  target->set_next_double_normal_sample(nextDouble);
}

void replaceDefaultGenerators(const at::Generator& own) {
  const at::Generator& before = at::globalContext().defaultGenerator(at::kCPU);
  for (at::Generator& g : generators().at)
    if (g == before) g = own;
}

double entries::generatorCreate(const Args& a) {
  const auto device = decodeDevice(a.number(0));
  at::Generator g = !a.flag(1)                                     ? make(device)
                    : device.is_cpu() && ownGenerator() != nullptr ? *ownGenerator()
                                                                   : at::globalContext().defaultGenerator(device);
  auto& [all, free] = generators();
  size_t id = all.size();
  if (!free.empty()) {
    id = free.back();
    free.pop_back();
    all[id] = std::move(g);
  } else {
    all.push_back(std::move(g));
  }
  return static_cast<double>(id);
}
void entries::generatorFree(const Args& a) {
  const double id = a.number(0);
  generatorAt(id) = at::Generator();
  generators().free.push_back(static_cast<size_t>(id));
}
void entries::generatorSetSeed() {
  program::unrecorded("a random generator is seeded or read");
  Reader in = message();
  at::Generator& g = generatorAt(in.number());
  const int64_t seed = in.integer();
  std::lock_guard<std::mutex> lock(g.mutex());
  g.set_current_seed(static_cast<uint64_t>(seed));
}
void entries::generatorSeed(const Args& a) {
  Writer(2).integer(static_cast<int64_t>(generatorAt(a.number(0)).current_seed()));
}
void entries::generatorReseed(const Args& a) {
  program::unrecorded("a random generator is seeded or read");
  at::Generator& g = generatorAt(a.number(0));
  std::lock_guard<std::mutex> lock(g.mutex());
  Writer(2).integer(static_cast<int64_t>(g.seed()));
}
void entries::generatorCopy(const Args& a) {
  at::Generator from = generatorAt(a.number(0));  // alive, should it be the second too
  continueAs(generatorAt(a.number(1)), from);
}
double entries::generatorGetState(const Args& a) {
  program::unrecorded("a random generator is seeded or read");
  at::Generator& g = generatorAt(a.number(0));
  std::lock_guard<std::mutex> lock(g.mutex());
  return newHandle(g.get_state());
}
void entries::generatorSetState(const Args& a) {
  program::unrecorded("a random generator is seeded or read");
  at::Generator& g = generatorAt(a.number(0));
  const at::Tensor& state = get(a.number(1));
  std::lock_guard<std::mutex> lock(g.mutex());
  g.set_state(state);
}
void entries::manualSeed() {
  program::unrecorded("a random generator is seeded or read");
  Reader in = message();
  const auto seed = static_cast<uint64_t>(in.integer());
  at::Generator* const own = ownGenerator();
  if (own == nullptr) return at::manual_seed(seed);
  std::lock_guard<std::mutex> lock(own->mutex());
  own->set_current_seed(seed);
}

}  // namespace nbit
