// The processes that train together, and their groups.
#pragma once
#include "dist/monitor.h"
#include "dist/options.h"

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace nbit::dist {

/** Outlives its world: collectives and reducers hold it, and learn from its monitor that the world was left. */
struct Group {
  std::string name;
  int rank = 0, size = 1;
  /** Of its members, in the world. */
  std::vector<int64_t> ranks;
  Milliseconds timeout{0};
  /** For what takes a ProcessGroup: the Reducer. */
  c10::intrusive_ptr<c10d::ProcessGroup> processGroup;
  c10::intrusive_ptr<c10d::Backend> cpu, cuda;
  /** Where ranks compare what they are about to do; none in a group of one, or where nobody asked. */
  c10::intrusive_ptr<c10d::Backend> control;
  /** Collectives do nothing, as if all ranks held what this one does: for a world that is only imagined. */
  bool fake = false;
  /** Null in a fake group alone. */
  std::shared_ptr<Monitor> monitor;

  bool alone() const { return size == 1; }
  const c10::intrusive_ptr<c10d::Backend>& backendFor(const at::Tensor& t) const;
  /** A collective of this group begins. @throws where one has failed, or the world was left. */
  Operation begin(const std::string& what, bool pair = false) const;
};

struct World {
  int rank = 0, size = 1;
  /** The JavaScript thread that joined. */
  void* owner = nullptr;
  /** Where the others reach this process. */
  std::string address;
  /** The store's server, where this process has it. Nothing else holds it, so that its port is free when this goes. */
  c10::intrusive_ptr<c10d::Store> server;
  c10::intrusive_ptr<c10d::Store> store;
  /** Null in a fake world alone. */
  std::shared_ptr<Monitor> monitor;
  std::map<std::string, std::shared_ptr<Group>> groups;
};

/** Meeting the others, of which somebody may tire. */
struct Attempt {
  std::mutex mutex;
  bool abandoned = false;
  void* owner = nullptr;
  std::string stage;
  c10::intrusive_ptr<c10d::Store> server;

  /** What is done now. @throws where it was abandoned. */
  void reach(const std::string& next);
};
/** @throws ERR_DIST_CONNECT, ERR_DIST_ADDRESS_IN_USE, ERR_DIST_INTERFACE, ERR_DIST_RANK */
std::shared_ptr<World> meetOthers(const Options& options, Attempt& attempt);
std::shared_ptr<Group> makeGroup(const World& world, const Options& options);

/** @throws ERR_DIST_NOT_INITIALIZED */
std::shared_ptr<World> theWorld();
std::shared_ptr<World> theWorldOrNull();
/** @throws ERR_DIST_GROUP where there is none of that name. */
std::shared_ptr<Group> groupNamed(const std::string& name);

/** Waits for a collective of a CPU backend; a failure elsewhere ends the wait. `blocks`: on JavaScript's thread. */
void waitFor(const Group& group, const c10::intrusive_ptr<c10d::Work>& work, const Operation& operation,
             bool blocks = true);
/** Runs what waits inside of libtorch, where nothing of ours can wake it, on a thread of its own; as `waitFor`. */
void runWatched(const Group& group, const Operation& operation, std::function<void()> work);
/** Lets go of what was begun and never waited for. */
void forgetPending();

#if defined(NBIT_NCCL)
c10::intrusive_ptr<c10d::Backend> makeNccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                           const std::vector<int64_t>& ranks, const std::string& name,
                                           Milliseconds timeout);
#endif

}  // namespace nbit::dist
