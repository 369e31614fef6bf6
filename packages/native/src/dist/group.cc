// A group's backends, and what a collective of it begins with.
#include "binding/errors.h"
#include "dist/address.h"
#include "dist/world.h"

#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <cstdlib>

namespace nbit::dist {
namespace {

using StorePtr = c10::intrusive_ptr<c10d::Store>;
StorePtr within(const StorePtr& store, const std::string& prefix) {
  return c10::make_intrusive<c10d::PrefixStore>(prefix, store);
}

/** The monitor is to notice first, and says more. */
constexpr Milliseconds kAfterMonitor{10'000};

c10::intrusive_ptr<c10d::Backend> makeGloo(const World& world, const StorePtr& store, int rank, int size,
                                           Milliseconds timeout) {
  using Gloo = c10d::ProcessGroupGloo;
  c10::intrusive_ptr<Gloo::Options> options;
  if (std::getenv("GLOO_SOCKET_IFNAME") == nullptr) {
    options = Gloo::Options::create(timeout + kAfterMonitor);
    options->devices.push_back(Gloo::createDeviceForHostname(world.address));
  } else {
    options = Gloo::Options::create_default(timeout + kAfterMonitor);
  }
  auto gloo = c10::make_intrusive<Gloo>(store, rank, size, options);
  gloo->setSequenceNumberForGroup();
  return gloo;
}

}  // namespace

std::shared_ptr<Group> makeGroup(const World& world, const Options& o) {
  auto group = std::make_shared<Group>();
  group->name = o.text("name");
  group->ranks = o.integers("ranks");
  group->size = static_cast<int>(group->ranks.size());
  group->timeout = Milliseconds(o.integer("timeout"));
  group->monitor = world.monitor;
  group->fake = o.flag("fake");
  for (size_t i = 0; i < group->ranks.size(); i++)
    if (group->ranks[i] == world.rank) group->rank = static_cast<int>(i);
  if (group->fake) return group;

  const auto store = within(world.store, "group/" + group->name);
  const std::string mine = "ranks " + o.text("ranks") + ", verify " + o.text("verify") + ", nccl " + o.text("nccl");
  if (const auto first = store->compareSet("options", "", mine); first != mine)
    fail("ERR_DIST_MISMATCH", group->monitor->here() + ": expected the same options of group \"" + group->name +
                                  "\" on every rank. Received: " + mine + " here, " + first + " elsewhere");
  auto& pg = group->processGroup =
      c10::make_intrusive<c10d::ProcessGroup>(within(store, "pg"), group->rank, group->size);
  group->cpu = makeGloo(world, within(store, "gloo"), group->rank, group->size, group->timeout);
  pg->setBackend(c10::kCPU, c10d::ProcessGroup::BackendType::GLOO, group->cpu);
  pg->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
  if (o.flag("verify") && group->size > 1)
    group->control = makeGloo(world, within(store, "control"), group->rank, group->size, group->timeout);
  if (o.flag("nccl")) {
#if defined(NBIT_NCCL)
    group->cuda = makeNccl(within(store, "nccl"), group->rank, group->size, group->ranks, group->name, group->timeout);
    pg->setBackend(c10::kCUDA, c10d::ProcessGroup::BackendType::NCCL, group->cuda);
    pg->setDefaultBackend(c10d::ProcessGroup::BackendType::NCCL);
    world.monitor->abortOnFailure(group->cuda);
#else
    fail("ERR_DIST_BACKEND", "initProcessGroup: expected backend to be gloo, since this addon was built without NCCL");
#endif
  }
  pg->setGroupName(group->name);
  pg->setGroupDesc(group->name);
  return group;
}

const c10::intrusive_ptr<c10d::Backend>& Group::backendFor(const at::Tensor& t) const {
  const auto& backend = t.is_cuda() ? cuda : cpu;
  if (!backend || !(t.is_cuda() || t.is_cpu()))
    fail("ERR_DIST_BACKEND", "expected a tensor on a device that group \"" + name + "\" has a backend for (" +
                                 (cuda ? "cpu: gloo, cuda: nccl" : "cpu: gloo") + "). Received: a tensor on " +
                                 t.device().str());
  return backend;
}

Operation Group::begin(const std::string& what, bool pair) const {
  if (!monitor) return Operation{what, name, {}, 0, pair};
  throwIfFailed(monitor->failure());
  return monitor->begin(what, name, ranks, pair);
}

}  // namespace nbit::dist
