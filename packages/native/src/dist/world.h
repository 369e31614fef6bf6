// The processes that train together, and their groups.
#pragma once
#include "dist/monitor.h"

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace nbit::dist {

struct World;

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
  std::shared_ptr<World> world;

  bool alone() const { return size == 1; }
  const c10::intrusive_ptr<c10d::Backend>& backendFor(const at::Tensor& t) const;
  FailureFlag* failure() const;
};

struct World {
  int rank = 0, size = 1;
  c10::intrusive_ptr<c10d::Store> store;
  bool onLoopback = false;
  std::unique_ptr<Monitor> monitor;
  std::map<std::string, std::shared_ptr<Group>> groups;
};

/** @throws ERR_DIST_NOT_INITIALIZED */
std::shared_ptr<World> theWorld();
std::shared_ptr<World> theWorldOrNull();
/** @throws ERR_DIST_GROUP where there is none of that name. */
std::shared_ptr<Group> groupNamed(const std::string& name);

/** Waits for a collective of a CPU backend in slices: a failure elsewhere ends the wait. On CUDA: the current stream
 * waits, and this thread does not. */
void waitFor(const Group& group, const c10::intrusive_ptr<c10d::Work>& work, const std::string& what);

#if defined(NBIT_NCCL)
c10::intrusive_ptr<c10d::Backend> makeNccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                           const std::vector<int64_t>& ranks, const std::string& name,
                                           Milliseconds timeout);
#endif

}  // namespace nbit::dist
