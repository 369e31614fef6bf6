// Gradients are averaged over the ranks in buckets, each on its way while backward still computes the next: c10d's own
// Reducer, driven from TypeScript.
#include "binding/errors.h"
#include "binding/library.h"
#include "dist/buckets.h"
#include "dist/collectives.h"
#include "dist/comm_hooks.h"
#include "dist/translate.h"
#include "dist/world.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <numeric>
#include <sstream>
#include <type_traits>

namespace nbit::dist {
namespace {

/** c10d's, with buckets that it does not lay out anew by itself. */
struct FixedReducer : c10d::Reducer {
  using c10d::Reducer::Reducer;
  void keepBuckets() { has_rebuilt_bucket_ = true; }
};

/** When each parameter got its gradient, for the last time. Written on autograd's threads. */
class Arrivals {
 public:
  explicit Arrivals(size_t n) : when_(n, std::numeric_limits<size_t>::max()) {}
  void arrived(size_t i) {
    const std::lock_guard<std::mutex> lock(mutex_);
    when_[i] = clock_++;
  }
  /** Those that came first to those that came last; what did not come is last. */
  std::vector<size_t> order() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<size_t> order(when_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [this](size_t a, size_t b) { return when_[a] < when_[b]; });
    return order;
  }

 private:
  std::mutex mutex_;
  std::vector<size_t> when_;
  size_t clock_ = 0;
};

struct OneReducer {
  /** Either of the two. */
  std::shared_ptr<FixedReducer> reducer;
  std::shared_ptr<Buckets> buckets;
  std::vector<at::Tensor> params;
  std::vector<std::string> names;
  std::shared_ptr<Group> group;
  std::shared_ptr<HookState> hook;
  /** Where parameters that a backward does not reach change from step to step, c10d's tells it, without asking. */
  std::shared_ptr<c10d::Logger> logger;
  /** Until the first backward has shown in which order gradients come: buckets are then laid out so. */
  std::shared_ptr<Arrivals> arrivals;
  GradientHooks watch;
  /** That of parameters in buckets from the next backward on; empty: not known yet, or always as they were given. */
  std::vector<size_t> order;
  size_t cap = 0, firstCap = 0;
  /** Of a static graph, whose first backward shows what there is to reduce. */
  bool learning = false;
  int64_t averaged = 0;
};
std::mutex& reducersMutex = *new std::mutex;
auto& reducers = *new std::map<int64_t, std::shared_ptr<OneReducer>>;
int64_t nextReducer = 1;

std::shared_ptr<OneReducer> reducerAt(int64_t id) {
  const std::lock_guard<std::mutex> lock(reducersMutex);
  const auto at = reducers.find(id);
  if (at == reducers.end()) fail("ERR_ARGUMENT", "expected a reducer. Received: number " + std::to_string(id));
  return at->second;
}

using BucketIndices = std::vector<std::vector<size_t>>;
using Names = std::unordered_map<size_t, std::string>;

/**
 * libtorch's constructors differ: 2.12 and later end in `…, caps, batched_copy`, 2.11 in `…, caps` (both read in their
 * reducer.hpp and compiled), older ones in `use_python_reducer` (read, not compiled).
 */
template <class R>
std::shared_ptr<R> construct(const std::vector<at::Tensor>& params, const BucketIndices& buckets,
                             const c10::intrusive_ptr<c10d::ProcessGroup>& pg, int64_t cap, bool findUnused,
                             bool viewsOfBuckets, const Names& names, int64_t firstCap) {
  using Dense = std::vector<bool>;
  using Caps = std::vector<int64_t>;
  using Params = std::vector<at::Tensor>;
  using Pg = c10::intrusive_ptr<c10d::ProcessGroup>;
  const Dense dense(params.size(), false);
  if constexpr (std::is_constructible_v<R, Params, BucketIndices, Pg, Dense, int64_t, bool, bool, Names, int64_t, bool,
                                        bool, Caps, bool>)
    return std::make_shared<R>(params, buckets, pg, dense, cap, findUnused, viewsOfBuckets, names, firstCap, false,
                               false, Caps{firstCap, cap}, viewsOfBuckets);
  else if constexpr (std::is_constructible_v<R, Params, BucketIndices, Pg, Dense, int64_t, bool, bool, Names, int64_t,
                                             bool, bool, Caps>)
    return std::make_shared<R>(params, buckets, pg, dense, cap, findUnused, viewsOfBuckets, names, firstCap, false,
                               false, Caps{firstCap, cap});
  else
    return std::make_shared<R>(params, buckets, pg, dense, cap, findUnused, viewsOfBuckets, names, firstCap, false,
                               false);
}

BucketIndices bucketsOf(const std::vector<at::Tensor>& params, const std::vector<size_t>& order, size_t cap,
                        size_t firstCap) {
  std::vector<at::Tensor> ordered;
  for (const size_t i : order) ordered.push_back(params[i]);
  return std::get<0>(c10d::compute_bucket_assignment_by_size(ordered, {firstCap, cap}, {},
                                                             std::vector<int64_t>(order.begin(), order.end())));
}
/** Until the order of gradients is known: one for each dtype, as in PyTorch. */
BucketIndices firstBuckets(const std::vector<at::Tensor>& params) {
  auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(
      params, {static_cast<size_t>(std::numeric_limits<int64_t>::max())}, std::vector<bool>(params.size(), false)));
  std::reverse(buckets.begin(), buckets.end());
  return buckets;
}

struct ReducerOptions {
  std::string group, hook;
  int64_t cap, firstCap;
  bool findUnused, viewsOfBuckets, staticGraph;
  int64_t powerSgdRank, powerSgdStart;
  std::vector<int64_t> order;
};

/** @throws ERR_ARGUMENT for what is no order of `n` parameters. */
std::vector<size_t> orderOf(const std::vector<int64_t>& given, size_t n) {
  std::vector<bool> seen(n);
  for (const int64_t i : given) {
    const auto at = static_cast<size_t>(i);
    if (i < 0 || at >= n || seen[at] || given.size() != n)
      fail("ERR_ARGUMENT", "expected bucketOrder to have each of " + std::to_string(n) + " parameters once");
    seen[at] = true;
  }
  return {given.begin(), given.end()};
}

int64_t makeReducer(at::TensorList params, const std::vector<std::string>& names, const ReducerOptions& options) {
  TORCH_CHECK_VALUE(!params.empty() && names.size() == params.size(),
                    "expected parameters, and a name for each. Received: ", params.size(), " and ", names.size());
  const auto& [group, hook, cap, firstCap, findUnused, viewsOfBuckets, staticGraph, rank, start, given] = options;
  auto one = std::make_shared<OneReducer>();
  one->params = params.vec();
  one->names = names;
  one->order = orderOf(given, params.size());
  one->cap = static_cast<size_t>(cap);
  one->firstCap = static_cast<size_t>(firstCap);
  one->group = groupNamed(group);
  one->hook = std::make_shared<HookState>(one->group, hookKind(hook), rank, start);
  // Buckets are laid out by what parameters there are: with others somewhere, bytes of one would be added to another's.
  std::string all = std::to_string(cap) + " " + std::to_string(firstCap) + (findUnused ? " u" : "") +
                    (viewsOfBuckets ? " v" : "") + (staticGraph ? " s" : "") + (given.empty() ? "" : " o");
  for (const std::string& name : names) all += ";" + name;
  const auto operation = one->group->begin("Reducer of " + std::to_string(params.size()) + " parameters, hook " + hook);
  agree(*one->group, operation, all + describe("", params), true);
  if (!one->order.empty()) one->order = orderOfRankZero(*one->group, one->order);
  const auto keep = [&] {
    const std::lock_guard<std::mutex> lock(reducersMutex);
    reducers.emplace(nextReducer, std::move(one));
    return nextReducer++;
  };
  if (!findUnused && !staticGraph && one->hook->kind != HookKind::kPowerSgd) {
    one->buckets =
        std::make_shared<Buckets>(params.vec(), names, one->group,
                                  BucketOptions{one->hook->kind, one->cap, one->firstCap, viewsOfBuckets}, one->order);
    one->buckets->attach();
    return keep();
  }
  Names byIndex;
  for (size_t i = 0; i < names.size(); i++) byIndex[i] = names[i];
  const bool known = !one->order.empty();
  const auto buckets =
      known ? bucketsOf(params.vec(), one->order, one->cap, one->firstCap) : firstBuckets(params.vec());
  one->reducer = construct<FixedReducer>(params.vec(), buckets, one->group->processGroup, cap, findUnused,
                                         viewsOfBuckets, byIndex, firstCap);
  one->reducer->keepBuckets();
  one->reducer->register_comm_hook(makeHook(one->hook));
  if (staticGraph) one->reducer->set_static_graph();
  one->learning = staticGraph;
  if (findUnused) {
    one->logger = std::make_shared<c10d::Logger>(one->reducer);
    one->reducer->set_logger(one->logger);
  }
  if (!known && (staticGraph || !findUnused)) {
    one->arrivals = std::make_shared<Arrivals>(params.size());
    one->watch = GradientHooks(one->params, [arrivals = one->arrivals](size_t i) { arrivals->arrived(i); });
  }
  return keep();
}

/** `sync`: this backward's gradients are reduced. */
void beforeForward(int64_t id, bool sync) {
  const auto one = reducerAt(id);
  const Group& group = *one->group;
  if (group.monitor) throwIfFailed(group.monitor->failure());
  if (!sync) return;
  const auto operation = group.begin("averaged backward " + std::to_string(++one->averaged));
  agree(group, operation);
  if (one->buckets) return;
  one->hook->reduced = 0;
  one->reducer->prepare_for_forward();
  if (!one->arrivals || one->order.empty()) return;
  // The first backward is over.
  one->arrivals.reset();
  one->order = orderOfRankZero(group, one->order);
  one->reducer->initialize_buckets(bucketsOf(one->params, one->order, one->cap, one->firstCap));
}
void beforeBackward(int64_t id, at::TensorList outputs) {
  const auto one = reducerAt(id);
  if (one->group->monitor) throwIfFailed(one->group->monitor->failure());
  if (one->buckets) return one->buckets->expect();
  one->reducer->prepare_for_backward(outputs.vec());
}
/** @throws ERR_DIST_UNUSED_PARAMETERS where the backward did not reach all, and so some bucket did not leave. */
void afterBackward(int64_t id) {
  const auto one = reducerAt(id);
  if (one->buckets) return one->buckets->check();
  HookState& hook = *one->hook;
  if (one->learning) {
    one->learning = false;
    one->reducer->delay_all_reduce();
    hook.buckets = hook.reduced;  // it does not number them
  }
  if (hook.buckets > 0 && hook.reduced == hook.buckets) {
    if (!one->arrivals) return;
    one->watch = GradientHooks();
    if (one->order.empty()) one->order = one->arrivals->order();
    return;
  }
  std::string missing;
  for (size_t i = 0; i < one->params.size(); i++)
    if (!one->params[i].grad().defined()) missing += (missing.empty() ? "" : ", ") + one->names[i];
  failUnused(missing.empty() ? "some parameters (of those that have gradients from before)" : missing);
}
/** How many buckets the latest backward reduced. */
int64_t bucketsReduced(int64_t id) {
  const auto one = reducerAt(id);
  return one->buckets ? one->buckets->count() : one->hook->reduced.load();
}
/** Indices of parameters as they are in buckets from the next backward on; none where that is not known. */
std::vector<int64_t> orderNow(int64_t id) {
  const auto one = reducerAt(id);
  const auto order = one->buckets ? one->buckets->order() : one->order;
  return {order.begin(), order.end()};
}

void freeReducer(int64_t id) {
  std::shared_ptr<OneReducer> gone;
  {
    const std::lock_guard<std::mutex> lock(reducersMutex);
    const auto at = reducers.find(id);
    if (at == reducers.end()) return;
    gone = std::move(at->second);
    reducers.erase(at);
  }
  if (gone->buckets) gone->buckets->detach();
  else gone->reducer->remove_autograd_hooks();
}

}  // namespace
}  // namespace nbit::dist

namespace nbit {
using namespace dist;
NBIT_REGISTER_AS(defineReducer, FRAGMENT, "nbit_dist", std::nullopt, m) {
  const auto def = [&m](const char* schema, auto fn) {
    m.def(schema, torch::dispatch(c10::DispatchKey::CompositeExplicitAutograd, fn));
  };
  def("reducer(Tensor[] params, str[] names, str group, str hook, int cap, int first_cap, bool find_unused, "
      "bool views_of_buckets, bool static_graph, int power_sgd_rank, int power_sgd_start, int[] order) -> int",
      [](at::TensorList params, c10::List<std::string> names, std::string group, std::string hook, int64_t cap,
         int64_t firstCap, bool findUnused, bool views, bool staticGraph, int64_t rank, int64_t start,
         at::IntArrayRef order) {
        std::vector<std::string> list(names.begin(), names.end());
        return makeReducer(params, list,
                           {group, hook, cap, firstCap, findUnused, views, staticGraph, rank, start, order.vec()});
      });
  m.def("reducer_before_forward(int id, bool sync) -> ()", beforeForward);
  def("reducer_before_backward(int id, Tensor[] outputs) -> ()", TORCH_FN(beforeBackward));
  m.def("reducer_after_backward(int id) -> ()", afterBackward);
  m.def("reducer_buckets_reduced(int id) -> int", bucketsReduced);
  m.def("reducer_order(int id) -> int[]", orderNow);
  m.def("reducer_free(int id) -> ()", freeReducer);
}
}  // namespace nbit
