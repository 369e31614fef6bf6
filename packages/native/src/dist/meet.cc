// How processes find each other: a store in the process of rank 0 (or of a launcher), a place in it for each rank, a
// connection from each to each, a monitor.
#include "binding/errors.h"
#include "dist/address.h"
#include "dist/translate.h"
#include "dist/world.h"

#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <unistd.h>

#include <cstring>
#include <random>
#include <thread>

namespace nbit::dist {
namespace {

using StorePtr = c10::intrusive_ptr<c10d::Store>;

StorePtr within(const StorePtr& store, const std::string& prefix) {
  return c10::make_intrusive<c10d::PrefixStore>(prefix, store);
}

Milliseconds left(Clock::time_point until) {
  return std::max(Milliseconds(1), std::chrono::duration_cast<Milliseconds>(until - Clock::now()));
}

c10d::TCPStoreOptions storeOptions(const Options& o, Clock::time_point until) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(o.integer("port"));
  options.numWorkers = static_cast<size_t>(o.integer("worldSize"));
  options.waitWorkers = false;
  options.timeout = left(until);
  // Node exports symbols of its own libuv, which libtorch's would be bound to.
  options.useLibUV = false;
  return options;
}

std::string place(const Options& o) { return o.text("host") + ", port " + o.text("port"); }

std::string storeOwner(const Options& o) {
  return o.flag("rank0HasStore") ? "in the process of rank 0" : "which the launcher holds at " + place(o);
}

/** The store's server. On loopback alone where that is where the others come from: c10d's own listens to everybody. */
StorePtr openStore(const Options& o, Clock::time_point until) {
  const std::string host = o.text("host");
  auto options = storeOptions(o, until);
  options.isServer = true;
  if (const int64_t fd = o.integer("listenFd"); fd >= 0) options.masterListenFd = static_cast<int>(fd);
  else if (isLoopback(host)) options.masterListenFd = listenOn(host == "::1" ? host : "127.0.0.1", options.port);
  if (options.masterListenFd && options.port == 0) options.port = portOf(*options.masterListenFd);
  try {
    return c10::make_intrusive<c10d::TCPStore>(host, options);
  } catch (const std::exception&) {
    const Failure reason = translate(std::current_exception());
    if (std::string(reason.code) == "ERR_DIST_ADDRESS_IN_USE")
      fail(reason.code, "initProcessGroup: expected a free port for the store of rank 0. Received: " + place(o) +
                            ", which another process listens on. Set MASTER_PORT to another, or end that process");
    fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + o.text("rank") + " could not open the store at " + place(o) +
                                 ": is MASTER_ADDR a name of this machine? (" + reason.message + ")");
  }
}

StorePtr connectStore(const Options& o, uint16_t port, Clock::time_point until) {
  auto options = storeOptions(o, until);
  options.port = port;
  // c10d asks again once a second, and for longer than it was told.
  for (;;) {
    const int fd = connectTo(o.text("host"), port, static_cast<int>(std::min<int64_t>(left(until).count(), 5000)));
    const int reason = errno;
    if (fd >= 0) close(fd);
    if (fd >= 0) break;
    if (Clock::now() > until)
      fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + o.text("rank") + " did not reach the store, " +
                                   storeOwner(o) + ", at " + place(o) + " within " + o.text("connectTimeout") +
                                   " ms (connectTimeout): " + std::strerror(reason) +
                                   ". Is it running, and may this machine connect to it?");
    std::this_thread::sleep_for(Milliseconds(100));
  }
  try {
    return c10::make_intrusive<c10d::TCPStore>(o.text("host"), options);
  } catch (const std::exception&) {
    const Failure reason = translate(std::current_exception());
    fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + o.text("rank") + " could not speak with the store, " +
                                 storeOwner(o) + ", at " + place(o) + " (" + reason.message + ")");
  }
}

std::string nonce() {
  std::random_device random;
  return std::to_string(getpid()) + "-" + std::to_string(random()) + std::to_string(random());
}

/** One tells all why nobody can go on; the first reason counts. */
[[noreturn]] void refuse(c10d::Store& store, const Options& o, const char* code, const std::string& message) {
  const std::string first = store.compareSet("refused", "", std::string(code) + " " + message);
  // The store goes with this process; the others look every 20 ms.
  if (o.flag("hostsStore")) std::this_thread::sleep_for(Milliseconds(500));
  const bool rank = first.starts_with("ERR_DIST_RANK ");
  fail(rank ? "ERR_DIST_RANK" : "ERR_DIST_CONNECT", first.substr(first.find(' ') + 1));
}

/** Waits until every rank is there; says which are missing. */
void join(c10d::Store& store, int rank, int size, const Options& o, Clock::time_point until) {
  const auto keyOf = [](int r) { return "join/" + std::to_string(r); };
  const std::string own = nonce();
  if (const auto first = store.compareSet("worldSize", "", std::to_string(size)); first != std::to_string(size))
    refuse(store, o, "ERR_DIST_RANK",
           "initProcessGroup: expected the same world size in every process. Received: " + std::to_string(size) +
               " from rank " + std::to_string(rank) + ", " + first + " from others");
  if (store.compareSet(keyOf(rank), "", own) != own)
    refuse(store, o, "ERR_DIST_RANK",
           "initProcessGroup: expected one process of each rank. Received: two of rank " + std::to_string(rank) +
               ". Look at RANK in their environments");
  if (store.add("joined", 1) == size) store.set("all", std::string("1"));
  while (!store.check({"all"})) {
    if (store.check({"refused"})) refuse(store, o, "", "");
    if (Clock::now() > until) {
      std::string missing;
      for (int r = 0; r < size; r++)
        if (!store.check({keyOf(r)})) missing += (missing.empty() ? "" : ", ") + std::to_string(r);
      refuse(store, o, "ERR_DIST_CONNECT",
             "initProcessGroup: rank " + std::to_string(rank) + " waited for " + o.text("connectTimeout") +
                 " ms (connectTimeout) for " + std::to_string(size) + " ranks. Missing: rank " + missing);
    }
    std::this_thread::sleep_for(Milliseconds(20));
  }
}

}  // namespace

void Attempt::reach(const std::string& next) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (abandoned) fail("ERR_DIST_CONNECT", "initProcessGroup: abandoned");
  stage = next;
}

namespace {
std::shared_ptr<World> meet(const Options& o, Attempt& attempt) {
  // What c10d warns of on its way to an error, with a C++ backtrace.
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = 3;
  const auto until = Clock::now() + Milliseconds(o.integer("connectTimeout"));
  auto world = std::make_shared<World>();
  world->rank = static_cast<int>(o.integer("rank"));
  world->size = static_cast<int>(o.integer("worldSize"));
  auto port = static_cast<uint16_t>(o.integer("port"));
  // Before anybody waits for others: an interface that is not there is no reason to.
  attempt.reach("looking up the address of " + o.text("host"));
  world->address = localAddress(o.text("host"), port, until);
  if (o.flag("hostsStore")) {
    attempt.reach("opening the store at " + place(o));
    auto server = openStore(o, until);
    port = static_cast<c10d::TCPStore&>(*server).getPort();
    const std::lock_guard<std::mutex> lock(attempt.mutex);
    world->server = server;
    attempt.server = std::move(server);
  }
  attempt.reach("connecting to the store at " + place(o));
  const auto base = connectStore(o, port, until);
  world->store = within(base, o.text("prefix"));
  world->store->setTimeout(left(until));
  attempt.reach("waiting for all ranks at the store");
  join(*world->store, world->rank, world->size, o, until);
  std::unique_ptr<Pulse> pulse;
  attempt.reach("connecting to every rank");
  if (world->size > 1)
    pulse = std::make_unique<Pulse>(*within(world->store, "pulse"), world->rank, world->size, world->address, until);
  auto own = within(connectStore(o, port, until), o.text("prefix"));
  own->setTimeout(left(until));
  attempt.reach("waiting for the heartbeat of every rank");
  world->monitor =
      std::make_shared<Monitor>(within(own, "monitor"), std::move(pulse),
                                Monitor::Options{world->rank, world->size, Milliseconds(o.integer("heartbeatTimeout")),
                                                 Milliseconds(o.integer("timeout")), storeOwner(o)});
  try {
    world->monitor->start(until);
  } catch (const std::exception& e) {
    world->monitor->failed(e.what());
    world->monitor->close();
    throw;
  }
  // What is yet to be said through the store has the limit of what it belongs to.
  world->store->setTimeout(Milliseconds(o.integer("timeout")));
  return world;
}

}  // namespace

std::shared_ptr<World> meetOthers(const Options& o, Attempt& attempt) {
  try {
    return meet(o, attempt);
  } catch (const CodedError&) { throw; } catch (const std::exception&) {
    const Failure reason = translate(std::current_exception());
    const std::lock_guard<std::mutex> lock(attempt.mutex);
    fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + o.text("rank") + " could not join, " + attempt.stage +
                                 ": the store, " + storeOwner(o) + ", does not answer (" + reason.message + ")");
  }
}

}  // namespace nbit::dist
