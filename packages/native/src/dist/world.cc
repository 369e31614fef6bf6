// The world that this process is in, and its beginning and end as JavaScript asks for them.
#include "dist/world.h"

#include "binding/errors.h"
#include "dist/background.h"
#include "entries/distributed.h"

#include <sys/prctl.h>
#include <torch/csrc/distributed/c10d/FlightRecorder.hpp>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>

#include <csignal>
#include <future>
#include <thread>

namespace nbit::dist {
namespace {
// Never destroyed: what is still pending at the end of the process would be waited for.
std::mutex& worldMutex = *new std::mutex;
std::shared_ptr<World>& current = *new std::shared_ptr<World>;
/** Of every process: worlds that it was in before. Their keys in a store that stays must not be met again. */
int64_t generation = 0;
auto& connecting = *new std::weak_ptr<Attempt>;

/** Runs `work` elsewhere, and waits a second for it: longer where it hangs is for nobody. */
void dropSoon(std::function<void()> work) {
  auto done = std::make_shared<std::promise<void>>();
  auto future = done->get_future();
  std::thread([work = std::move(work), done]() mutable {
    work();
    work = nullptr;
    done->set_value();
  }).detach();
  future.wait_for(std::chrono::seconds(1));
}

void connectWorld(const Options& o, const std::shared_ptr<Attempt>& attempt) {
  std::shared_ptr<World> world;
  try {
    world = meetOthers(o, *attempt);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(attempt->mutex);
    attempt->server.reset();  // its port is free before anybody hears of this
    throw;
  }
  {
    const std::lock_guard<std::mutex> lock(worldMutex);
    const std::lock_guard<std::mutex> second(attempt->mutex);
    attempt->server.reset();
    if (!attempt->abandoned && !current) {
      world->owner = attempt->owner;
      current = std::move(world);
      generation++;
      return;
    }
  }
  world->monitor->failed("it gave up while the others still connected");
  world->monitor->close();
}

void addGroup(const std::shared_ptr<World>& world, const Options& o) {
  std::shared_ptr<Group> group;
  if (o.flag("fake")) {
    group = makeGroup(*world, o);
  } else {
    const auto members = o.integers("ranks");
    const auto operation = world->monitor->begin("newGroup(" + o.text("ranks") + ")", o.text("name"), members, false);
    const int64_t wait = world->monitor->enter(operation, Milliseconds(o.integer("timeout")), false);
    try {
      group = makeGroup(*world, o);
    } catch (...) {
      world->monitor->leave(wait);
      throw;
    }
    world->monitor->leave(wait);
  }
  const std::lock_guard<std::mutex> lock(worldMutex);
  if (current != world) fail("ERR_DIST_NOT_INITIALIZED", "newGroup: the process group was left meanwhile");
  if (group->processGroup) c10d::register_process_group(group->name, group->processGroup);
  world->groups[group->name] = std::move(group);
}

/** @throws why it was not in order. */
void shutDown(const std::shared_ptr<World>& world, bool inOrder) {
  std::exception_ptr failure;
  if (world->monitor) {
    try {
      if (inOrder) world->monitor->finish();
      else if (const auto known = world->monitor->failure().get()) world->monitor->failed(known->message);
      else world->monitor->failed("it has left, not in order (destroyProcessGroup)");
    } catch (const CodedError& e) {
      failure = std::current_exception();
      world->monitor->failed(e.what());
    }
  }
  std::map<std::string, std::shared_ptr<Group>> groups;
  {
    const std::lock_guard<std::mutex> lock(worldMutex);
    if (current == world) current.reset();
    groups.swap(world->groups);
    for (const auto& [name, group] : groups)
      if (group->processGroup) c10d::unregister_process_group(name);
  }
  const bool failed = world->monitor && world->monitor->failure().get().has_value();
  if (world->monitor) world->monitor->close();
  forgetPending();
  dropSoon([world, groups = std::move(groups), failed]() mutable {
    for (auto& [name, group] : groups) {
      if (!group->cuda) continue;
      if (failed) group->cuda->abort();
      else group->cuda->shutdown();
    }
    world->server.reset();
    // Where something failed, what is pending in gloo's threads is left to the end of the process.
    if (failed) new std::map<std::string, std::shared_ptr<Group>>(std::move(groups));
    groups.clear();
  });
  if (failure) std::rethrow_exception(failure);
}

/** A thread of JavaScript that joined has ended, and has not left. */
void threadEnds(void* thread) {
  std::shared_ptr<World> world;
  {
    const std::lock_guard<std::mutex> lock(worldMutex);
    if (const auto attempt = connecting.lock(); attempt && attempt->owner == thread) {
      const std::lock_guard<std::mutex> second(attempt->mutex);
      attempt->abandoned = true;
    }
    if (current && current->owner == thread) world = current;
  }
  if (!world) return;
  if (world->monitor) world->monitor->failed("its JavaScript thread ended before destroyProcessGroup()");
  try {
    shutDown(world, false);
  } catch (const std::exception&) {  // it is over
  }
}

void watchThread(napi_env env) {
  static thread_local bool watched = false;
  if (!watched) napi_add_env_cleanup_hook(env, threadEnds, env);
  watched = true;
}

}  // namespace

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
  std::string lines = a.text(0);
  {
    const std::lock_guard<std::mutex> lock(worldMutex);
    if (current)
      fail("ERR_DIST_INITIALIZED",
           "initProcessGroup: expected no process group. Received: one that is there already. "
           "Call await destroyProcessGroup() before");
    lines += "prefix=" + Options(lines).text("attempt") + "/" + std::to_string(generation) + "\n";
  }
  watchThread(a.env);
  const Options options(lines);
  const auto attempt = std::make_shared<Attempt>();
  attempt->owner = a.env;
  {
    const std::lock_guard<std::mutex> lock(worldMutex);
    connecting = attempt;
  }
  Limits limits;
  // The store's answers have no limit of their own: a server that is stopped, or a connection of which one direction
  // is dead, is noticed here.
  limits.deadline = Milliseconds(options.integer("connectTimeout")) + Milliseconds(1000);
  limits.late = [attempt, options] {
    const std::lock_guard<std::mutex> lock(attempt->mutex);
    attempt->abandoned = true;
    if (attempt->server) std::thread([server = std::move(attempt->server)] {}).detach();
    return Failure{"ERR_DIST_CONNECT", "initProcessGroup: rank " + options.text("rank") + " gave up after " +
                                           options.text("connectTimeout") + " ms (connectTimeout), " + attempt->stage +
                                           ": somebody is there, and does not answer"};
  };
  runInBackground(a.env, a.at[1], [options, attempt] { connectWorld(options, attempt); }, limits);
}
bool entries::distHasNccl() {
#if defined(NBIT_NCCL)
  return true;
#else
  return false;
#endif
}
void entries::distFakeWorld(const Args& a) {
  auto world = std::make_shared<World>();
  world->rank = static_cast<int>(a.integer(0));
  world->size = static_cast<int>(a.integer(1));
  world->owner = a.env;
  watchThread(a.env);
  const std::lock_guard<std::mutex> lock(worldMutex);
  if (current) fail("ERR_DIST_INITIALIZED", "expected no process group. Received: one that is there already");
  current = std::move(world);
}
void entries::distNewGroup(const Args& a) {
  const Options options(a.text(0));
  const auto world = theWorld();
  runInBackground(a.env, a.at[1], [world, options] { addGroup(world, options); }, {world->monitor, {}, nullptr});
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
