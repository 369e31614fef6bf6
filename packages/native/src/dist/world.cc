#include "dist/world.h"

#include "binding/errors.h"
#include "dist/background.h"
#include "dist/options.h"
#include "dist/translate.h"
#include "entries/distributed.h"

#include <arpa/inet.h>
#include <c10/util/Logging.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <torch/csrc/distributed/c10d/FlightRecorder.hpp>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace nbit::dist {
namespace {
// Never destroyed: what is still pending at the end of the process would be waited for.
std::mutex& worldMutex = *new std::mutex;
std::shared_ptr<World>& current = *new std::shared_ptr<World>;

using StorePtr = c10::intrusive_ptr<c10d::Store>;
StorePtr within(const StorePtr& store, const std::string& prefix) {
  return c10::make_intrusive<c10d::PrefixStore>(prefix, store);
}

bool isLoopback(const std::string& host) { return host == "localhost" || host.starts_with("127."); }

/** Within one machine on loopback: what a machine's name resolves to may not answer, and is seen by others. */
c10::intrusive_ptr<c10d::Backend> makeGloo(const World& world, const StorePtr& store, int rank, int size,
                                           Milliseconds timeout) {
  c10::intrusive_ptr<c10d::ProcessGroupGloo::Options> options;
  if (world.onLoopback && std::getenv("GLOO_SOCKET_IFNAME") == nullptr) {
    options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  } else {
    options = c10d::ProcessGroupGloo::Options::create_default(timeout);
  }
  auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
  gloo->setSequenceNumberForGroup();
  return gloo;
}

/** A socket that listens on loopback alone: c10d's own listens to everybody. */
int listenOnLoopback(int64_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 512) != 0) {
    const int reason = errno;
    if (fd >= 0) close(fd);
    if (reason == EADDRINUSE)
      fail("ERR_DIST_ADDRESS_IN_USE",
           "initProcessGroup: expected a free port for the store of rank 0. Received: port " + std::to_string(port) +
               ", which another process listens on. Set MASTER_PORT to another, or end that process");
    fail("ERR_DIST_CONNECT",
         "initProcessGroup: rank 0 could not listen on port " + std::to_string(port) + ": " + std::strerror(reason));
  }
  return fd;
}

StorePtr connectStore(const Options& o) {
  const std::string host = o.text("host");
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(o.integer("port"));
  options.isServer = o.flag("hostsStore");
  options.numWorkers = static_cast<size_t>(o.integer("worldSize"));
  options.waitWorkers = false;
  options.timeout = Milliseconds(o.integer("connectTimeout"));
  // Node exports symbols of its own libuv, which libtorch's would be bound to.
  options.useLibUV = false;
  if (options.isServer) {
    const int64_t fd = o.integer("listenFd");
    if (fd >= 0) options.masterListenFd = static_cast<int>(fd);
    else if (isLoopback(host)) options.masterListenFd = listenOnLoopback(options.port);
  }
  try {
    return c10::make_intrusive<c10d::TCPStore>(host, options);
  } catch (const std::exception&) {
    const Failure reason = translate(std::current_exception());
    const std::string where = host + ":" + std::to_string(options.port);
    if (std::string(reason.code) == "ERR_DIST_ADDRESS_IN_USE")
      fail(reason.code, "initProcessGroup: expected a free port for the store of rank 0. Received: " + where +
                            ", which another process listens on. Set MASTER_PORT to another, or end that process");
    fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + o.text("rank") + " did not reach the store of rank 0 at " +
                                 where + " within " + o.text("connectTimeout") +
                                 " ms: is rank 0 running, and may this machine connect to it? (" + reason.message +
                                 ")");
  }
}

/** Waits until every rank is there; says which are missing. */
void join(const World& world, const Options& o) {
  const auto keyOf = [](int r) { return "join/" + std::to_string(r); };
  const std::string size = std::to_string(world.size);
  if (world.store->add(keyOf(world.rank), 1) > 1)
    fail("ERR_DIST_RANK", "initProcessGroup: expected one process of each rank. Received: two of rank " +
                              std::to_string(world.rank) + ". Look at RANK in their environments");
  if (const auto first = world.store->compareSet("worldSize", "", size); first != size)
    fail("ERR_DIST_RANK", "initProcessGroup: expected the same world size in every process. Received: " + size +
                              " on rank " + std::to_string(world.rank) + ", " + first + " elsewhere");
  std::vector<std::string> keys;
  for (int r = 0; r < world.size; r++) keys.push_back(keyOf(r));
  try {
    world.store->wait(keys, Milliseconds(o.integer("connectTimeout")));
  } catch (const std::exception&) {
    std::string missing;
    for (int r = 0; r < world.size; r++)
      if (!world.store->check({keyOf(r)})) missing += (missing.empty() ? "" : ", ") + std::to_string(r);
    fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + std::to_string(world.rank) + " waited for " +
                                 o.text("connectTimeout") + " ms for " + size + " ranks. Missing: " + missing);
  }
}

/** Meets the others: a store, a monitor that watches over them. */
void connectWorld(const Options& o) {
  // What c10d warns of on its way to an error, with a C++ backtrace.
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = 3;
  auto world = std::make_shared<World>();
  world->rank = static_cast<int>(o.integer("rank"));
  world->size = static_cast<int>(o.integer("worldSize"));
  world->onLoopback = isLoopback(o.text("host"));
  const auto base = connectStore(o);
  world->store = within(base, o.text("prefix"));
  world->store->setTimeout(Milliseconds(o.integer("connectTimeout")));
  join(*world, o);
  c10::intrusive_ptr<c10d::Backend> pulse;
  if (world->size > 1)
    pulse = makeGloo(*world, within(world->store, "pulse"), world->rank, world->size, std::chrono::hours(24 * 365));
  auto ownStore = within(base->clone(), o.text("prefix"));
  ownStore->setTimeout(Milliseconds(o.integer("connectTimeout")));
  world->monitor =
      std::make_unique<Monitor>(within(ownStore, "monitor"), pulse,
                                Monitor::Options{world->rank, world->size, Milliseconds(o.integer("heartbeatTimeout")),
                                                 Milliseconds(o.integer("timeout"))});
  const std::lock_guard<std::mutex> lock(worldMutex);
  current = std::move(world);
}

void addGroup(const std::shared_ptr<World>& world, const Options& o) {
  auto group = std::make_shared<Group>();
  group->name = o.text("name");
  group->ranks = o.integers("ranks");
  group->size = static_cast<int>(group->ranks.size());
  group->timeout = Milliseconds(o.integer("timeout"));
  group->world = world;
  group->fake = o.flag("fake");
  for (size_t i = 0; i < group->ranks.size(); i++)
    if (group->ranks[i] == world->rank) group->rank = static_cast<int>(i);
  if (!group->fake) {
    const auto store = within(world->store, "group/" + group->name);
    auto& pg = group->processGroup =
        c10::make_intrusive<c10d::ProcessGroup>(within(store, "pg"), group->rank, group->size);
    group->cpu = makeGloo(*world, within(store, "gloo"), group->rank, group->size, group->timeout);
    pg->setBackend(c10::kCPU, c10d::ProcessGroup::BackendType::GLOO, group->cpu);
    pg->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
    if (o.flag("verify") && group->size > 1)
      group->control = makeGloo(*world, within(store, "control"), group->rank, group->size, group->timeout);
    if (o.flag("nccl")) {
#if defined(NBIT_NCCL)
      group->cuda =
          makeNccl(within(store, "nccl"), group->rank, group->size, group->ranks, group->name, group->timeout);
      pg->setBackend(c10::kCUDA, c10d::ProcessGroup::BackendType::NCCL, group->cuda);
      pg->setDefaultBackend(c10d::ProcessGroup::BackendType::NCCL);
      world->monitor->abortOnFailure(group->cuda);
#else
      fail("ERR_DIST_BACKEND",
           "initProcessGroup: expected backend to be gloo, since this addon was built without NCCL");
#endif
    }
    pg->setGroupName(group->name);
    pg->setGroupDesc(group->name);
    c10d::register_process_group(group->name, pg);
  }
  const std::lock_guard<std::mutex> lock(worldMutex);
  world->groups[group->name] = std::move(group);
}

void shutDown(const std::shared_ptr<World>& world, bool inOrder) {
  std::exception_ptr failure;
  try {
    if (inOrder && world->monitor) world->monitor->finish();
  } catch (...) { failure = std::current_exception(); }
  const bool failed = world->monitor && world->monitor->failure().get().has_value();
  {
    const std::lock_guard<std::mutex> lock(worldMutex);
    current.reset();
  }
  for (auto& [name, group] : world->groups) {
    if (group->fake) continue;
    c10d::unregister_process_group(name);
    if (failed && group->cuda) group->cuda->abort();
    else if (group->cuda) group->cuda->shutdown();
    group->world.reset();
  }
  // Where something failed, what is pending in gloo's threads is left to the end of the process.
  if (failed) new std::shared_ptr<World>(world);
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

FailureFlag* Group::failure() const { return world && world->monitor ? &world->monitor->failure() : nullptr; }

const c10::intrusive_ptr<c10d::Backend>& Group::backendFor(const at::Tensor& t) const {
  const auto& backend = t.is_cuda() ? cuda : cpu;
  if (!backend)
    fail("ERR_DIST_BACKEND", "expected a tensor on a device that group \"" + name + "\" has a backend for (" +
                                 (cuda ? "cpu: gloo, cuda: nccl" : "cpu: gloo") + "). Received: a tensor on " +
                                 t.device().str());
  return backend;
}

std::shared_ptr<World> theWorldOrNull() {
  const std::lock_guard<std::mutex> lock(worldMutex);
  return current;
}
std::shared_ptr<World> theWorld() {
  if (auto world = theWorldOrNull()) return world;
  fail("ERR_DIST_NOT_INITIALIZED",
       "distributed: expected a process group. Received: none. Call await initProcessGroup() first, in every process");
}
std::shared_ptr<Group> groupNamed(const std::string& name) {
  const auto world = theWorld();
  const std::lock_guard<std::mutex> lock(worldMutex);
  const auto at = world->groups.find(name);
  if (at == world->groups.end())
    fail("ERR_DIST_GROUP", "distributed: expected the name of a group that this process is in. Received: \"" + name +
                               "\", which is none, or one that was destroyed");
  return at->second;
}

}  // namespace nbit::dist

namespace nbit {
using namespace dist;

void entries::distConnect(const Args& a) {
  const Options options(a.text(0));
  if (theWorldOrNull())
    fail("ERR_DIST_INITIALIZED",
         "initProcessGroup: expected no process group. Received: one that is there already. "
         "Call await destroyProcessGroup() before");
  runInBackground(a.env, a.at[1], [options] { connectWorld(options); });
}
bool entries::distHasNccl() {
#if defined(NBIT_NCCL)
  return true;
#else
  return false;
#endif
}
void entries::distFakeWorld(const Args& a) {
  if (theWorldOrNull()) fail("ERR_DIST_INITIALIZED", "expected no process group. Received: one that is there already");
  auto world = std::make_shared<World>();
  world->rank = static_cast<int>(a.integer(0));
  world->size = static_cast<int>(a.integer(1));
  const std::lock_guard<std::mutex> lock(worldMutex);
  current = std::move(world);
}
void entries::distNewGroup(const Args& a) {
  const Options options(a.text(0));
  const auto world = theWorld();
  runInBackground(a.env, a.at[1], [world, options] { addGroup(world, options); });
}
void entries::distDestroy(const Args& a) {
  const bool inOrder = a.flag(0);
  const auto world = theWorldOrNull();
  runInBackground(a.env, a.at[1], [world, inOrder] {
    if (world) shutDown(world, inOrder);
  });
}
void entries::distStep(const Args& a) {
  if (const auto world = theWorldOrNull(); world && world->monitor) world->monitor->step(a.integer(0));
}
void entries::distFail(const Args& a) {
  if (const auto world = theWorldOrNull(); world && world->monitor) world->monitor->failed(a.text(0));
}
std::string entries::distFailure() {
  const auto world = theWorldOrNull();
  if (!world || !world->monitor) return "";
  const auto failure = world->monitor->failure().get();
  return failure ? std::string(failure->code) + "\n" + failure->message : "";
}
std::string entries::distTable() {
  const auto world = theWorldOrNull();
  return world && world->monitor ? world->monitor->table() : "";
}
std::string entries::distFlightRecorder() { return c10d::dump_fr_trace_json(true, false); }
void entries::distEndWithParent() { prctl(PR_SET_PDEATHSIG, SIGTERM); }

}  // namespace nbit
