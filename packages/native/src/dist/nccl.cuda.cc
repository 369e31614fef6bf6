// NCCL behind c10d. Compiled where nccl.h is found with a libtorch that has CUDA.
#if defined(NBIT_NCCL)
#include "dist/world.h"

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <cstdlib>

namespace nbit::dist {

c10::intrusive_ptr<c10d::Backend> makeNccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                           const std::vector<int64_t>& ranks, const std::string& name,
                                           Milliseconds timeout) {
  // Its watchdog would end the process where the monitor has an error thrown, and its heartbeat monitor would do so
  // while a user's debugger holds a rank.
  setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", 0);
  setenv("TORCH_NCCL_ENABLE_MONITORING", "0", 0);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  options->global_ranks_in_group.assign(ranks.begin(), ranks.end());
  options->group_name = name;
  auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, options);
  nccl->setSequenceNumberForGroup();
  return nccl;
}

}  // namespace nbit::dist
#endif
