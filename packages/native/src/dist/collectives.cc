// Collectives as operators: what calls any operator from JavaScript calls these. Each begins at once; with `wait` it
// also ends before it returns, else it returns an id to wait for (dist/pending.h).
#include "dist/collectives.h"

#include "binding/errors.h"
#include "binding/library.h"
#include "dist/pending.h"
#include "dist/translate.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <torch/csrc/distributed/c10d/comm.hpp>

#include <sstream>

namespace nbit::dist {
namespace {
/** What gloo and NCCL both know. */
bool known(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
    case at::kDouble:
    case at::kHalf:
    case at::kBFloat16:
    case at::kChar:
    case at::kByte:
    case at::kInt:
    case at::kLong:
    case at::kBool: return true;
    default: return false;
  }
}
/** Of dtypes that are not known, bytes are moved. A contiguous tensor in one dimension. */
at::Tensor movable(const at::Tensor& t) {
  const at::Tensor flat = t.detach().view({-1});
  return known(t.scalar_type()) ? flat : flat.view(at::kByte);
}

struct Call {
  std::shared_ptr<Group> group;
  Operation operation;
  bool wait;

  /** Whoever calls this has checked whatever only this rank can know. */
  Call(std::shared_ptr<Group> of, const char* op, at::TensorList tensors, const std::string& more, bool verify,
       bool now, bool pair = false)
      : group(std::move(of)), wait(now) {
    for (const at::Tensor& t : tensors) {
      TORCH_CHECK_TYPE(t.layout() == at::kStrided, op, ": expected a strided tensor. Received: one that is sparse");
      TORCH_CHECK_VALUE(t.is_non_overlapping_and_dense() && t.is_contiguous(), op,
                        ": expected a contiguous tensor. Received: one with strides ", t.strides(),
                        ". Call contiguous() first");
      TORCH_CHECK_VALUE(!t.is_conj() && !t.is_neg(), op,
                        ": expected a tensor whose memory holds its values. Received: ",
                        "one that is conjugated or negated when it is read. Call resolveConj() or clone() first");
      if (!group->fake) group->backendFor(t);
    }
    const std::string of_ = group->name == "world" ? "" : " of group " + group->name;
    operation = group->begin(describe(op, tensors, more) + of_, pair);
    if (verify) agree(*group, operation);
  }

  /** `begin(backend)` of a group that has others. */
  template <class F>
  int64_t run(const at::Tensor& on, F begin, std::function<void()> then = nullptr) const {
    if (group->fake) {
      if (then) then();
      return 0;
    }
    Pending pending{nullptr, group, operation, on.is_cuda(), std::move(then)};
    try {
      pending.work = begin(*group->backendFor(on));
    } catch (const CodedError&) { throw; } catch (...) {
      throwFailure(translate(std::current_exception(), group->monitor->here()));
    }
    if (!wait) return keepPending(std::move(pending));
    finish(pending, true);
    return 0;
  }
};

void written(const at::Tensor& t) {
  if (!t.is_inference()) t.unsafeGetTensorImpl()->bump_version();
}
int64_t rootIn(const Group& group, int64_t global) {
  for (size_t i = 0; i < group.ranks.size(); i++)
    if (group.ranks[i] == global) return static_cast<int64_t>(i);
  fail("ERR_DIST_RANK", "expected a rank of group \"" + group.name + "\". Received: " + std::to_string(global));
}
void checkReducible(const at::Tensor& t, const std::string& op) {
  const auto type = t.scalar_type();
  const std::string name(c10::getDtypeNames(type).first);
  const bool complex = type == at::kComplexFloat || type == at::kComplexDouble;
  const bool bits = op == "band" || op == "bor" || op == "bxor";
  TORCH_CHECK_TYPE(known(type) || complex, "expected a dtype that can be summed. Received: ", name, ". Reduce in ",
                   at::isIntegralType(type, true) ? "int32 or int64" : "float32 or bfloat16");
  TORCH_CHECK_TYPE(!complex || op == "sum" || op == "avg",
                   "expected op sum or avg for complex numbers. Received: ", op);
  TORCH_CHECK_TYPE(!bits || at::isIntegralType(type, true), "expected whole numbers or bool for op ", op,
                   ". Received: ", name);
  TORCH_CHECK_VALUE(!bits || !t.is_cuda(), "expected a tensor on the CPU for op ", op,
                    ", which NCCL does not have. Received: one on ", t.device());
  TORCH_CHECK_TYPE(
      op != "avg" || complex || at::isFloatingType(type),
      "expected a floating point dtype, since the mean of whole numbers need not be one. Received: ", name);
}

/** gloo has no mean: a sum, divided. */
bool dividesAfter(const at::Tensor& t, const std::string& op) { return op == "avg" && !t.is_cuda(); }

int64_t allReduce(const at::Tensor& t, std::string op, std::string name, bool verify, bool wait) {
  checkReducible(t, op);
  const Call call(groupNamed(name), "all_reduce", t, op, verify, wait);
  written(t);
  const bool divides = dividesAfter(t, op);
  c10d::AllreduceOptions options;
  options.reduceOp = reduceOp(divides ? "sum" : op);
  std::vector<at::Tensor> list{t};
  return call.run(
      t, [&](c10d::Backend& b) { return b.allreduce(list, options); },
      divides && !call.group->fake ? std::function<void()>([t, n = call.group->size] { t.div_(n); }) : nullptr);
}

int64_t reduce(const at::Tensor& t, int64_t dst, std::string op, std::string name, bool verify, bool wait) {
  checkReducible(t, op);
  const bool divides = dividesAfter(t, op);
  const auto group = groupNamed(name);
  c10d::ReduceOptions options;
  options.reduceOp = reduceOp(divides ? "sum" : op);
  options.rootRank = rootIn(*group, dst);
  const Call call(group, "reduce", t, op + " to rank " + std::to_string(dst), verify, wait);
  written(t);
  const bool root = options.rootRank == call.group->rank;
  std::vector<at::Tensor> list{t};
  return call.run(
      t, [&](c10d::Backend& b) { return b.reduce(list, options); },
      divides && root ? std::function<void()>([t, n = call.group->size] { t.div_(n); }) : nullptr);
}

int64_t broadcast(const at::Tensor& t, int64_t src, std::string name, bool verify, bool wait) {
  const auto group = groupNamed(name);
  c10d::BroadcastOptions options;
  options.rootRank = rootIn(*group, src);
  const Call call(group, "broadcast", t, "from rank " + std::to_string(src), verify, wait);
  written(t);
  std::vector<at::Tensor> list{movable(t)};
  return call.run(t, [&](c10d::Backend& b) { return b.broadcast(list, options); });
}

int64_t allGatherInto(const at::Tensor& out, const at::Tensor& in, std::string name, bool verify, bool wait) {
  const auto group = groupNamed(name);
  TORCH_CHECK_VALUE(out.numel() == in.numel() * group->size && out.scalar_type() == in.scalar_type() &&
                        out.is_contiguous() && out.device() == in.device(),
                    "all_gather: expected output to have ", group->size, " times the ", in.numel(),
                    " elements of input, in its dtype and on its device. Received: ", out.numel());
  const Call call(group, "all_gather", in, "", verify, wait);
  written(out);
  auto to = movable(out), from = movable(in);
  return call.run(in, [&](c10d::Backend& b) { return b._allgather_base(to, from); });
}

int64_t reduceScatterInto(const at::Tensor& out, const at::Tensor& in, std::string op, std::string name, bool verify,
                          bool wait) {
  checkReducible(in, op);
  const auto group = groupNamed(name);
  TORCH_CHECK_VALUE(in.numel() == out.numel() * group->size && out.scalar_type() == in.scalar_type() &&
                        out.is_contiguous() && out.device() == in.device(),
                    "reduce_scatter: expected input to have ", group->size, " times the ", out.numel(),
                    " elements of output, in its dtype and on its device. Received: ", in.numel());
  const Call call(group, "reduce_scatter", in, op, verify, wait);
  written(out);
  const bool divides = dividesAfter(in, op);
  c10d::ReduceScatterOptions options;
  options.reduceOp = reduceOp(divides ? "sum" : op);
  auto to = out.detach().view({-1}), from = in.detach().view({-1});
  return call.run(
      in, [&](c10d::Backend& b) { return b._reduce_scatter_base(to, from, options); },
      divides && !call.group->fake ? std::function<void()>([out, n = call.group->size] { out.div_(n); }) : nullptr);
}

int64_t gather(at::TensorList outputs, const at::Tensor& in, int64_t dst, std::string name, bool verify, bool wait) {
  const auto group = groupNamed(name);
  c10d::GatherOptions options;
  options.rootRank = rootIn(*group, dst);
  const bool root = options.rootRank == group->rank;
  TORCH_CHECK_VALUE(
      outputs.size() == (root ? static_cast<size_t>(group->size) : 0),
      "gather: expected as many outputs as ranks on the rank that gathers, and none elsewhere. Received: ",
      outputs.size());
  std::vector<std::vector<at::Tensor>> to;
  if (root) to.emplace_back();
  for (const at::Tensor& t : outputs) {
    TORCH_CHECK_VALUE(t.sizes() == in.sizes() && t.scalar_type() == in.scalar_type() && t.is_contiguous() &&
                          t.device() == in.device(),
                      "gather: expected outputs like input. Received: one of shape ", t.sizes());
    to.front().push_back(movable(t));
  }
  const Call call(group, "gather", in, "to rank " + std::to_string(dst), verify, wait);
  for (const at::Tensor& t : outputs) written(t);
  std::vector<at::Tensor> from{movable(in)};
  return call.run(in, [&](c10d::Backend& b) { return b.gather(to, from, options); });
}

int64_t scatter(const at::Tensor& out, at::TensorList inputs, int64_t src, std::string name, bool verify, bool wait) {
  const auto group = groupNamed(name);
  c10d::ScatterOptions options;
  options.rootRank = rootIn(*group, src);
  const bool root = options.rootRank == group->rank;
  TORCH_CHECK_VALUE(
      inputs.size() == (root ? static_cast<size_t>(group->size) : 0),
      "scatter: expected as many inputs as ranks on the rank that scatters, and none elsewhere. Received: ",
      inputs.size());
  std::vector<std::vector<at::Tensor>> from;
  if (root) from.emplace_back();
  for (const at::Tensor& t : inputs) {
    TORCH_CHECK_VALUE(t.sizes() == out.sizes() && t.scalar_type() == out.scalar_type() && t.is_contiguous() &&
                          t.device() == out.device(),
                      "scatter: expected inputs like output. Received: one of shape ", t.sizes());
    from.front().push_back(movable(t));
  }
  const Call call(group, "scatter", out, "from rank " + std::to_string(src), verify, wait);
  written(out);
  std::vector<at::Tensor> to{movable(out)};
  return call.run(out, [&](c10d::Backend& b) { return b.scatter(to, from, options); });
}

int64_t allToAll(const at::Tensor& out, const at::Tensor& in, std::string name, bool verify, bool wait) {
  const auto group = groupNamed(name);
  TORCH_CHECK_VALUE(out.sizes() == in.sizes() && out.scalar_type() == in.scalar_type() && out.is_contiguous() &&
                        out.device() == in.device() && in.dim() > 0 && in.size(0) % group->size == 0,
                    "all_to_all: expected output like input, with a first dimension that ", group->size,
                    " ranks divide. Received: ", out.sizes(), " and ", in.sizes());
  const Call call(group, "all_to_all", in, "", verify, wait);
  written(out);
  auto to = movable(out), from = movable(in);
  std::vector<int64_t> even;
  return call.run(in, [&](c10d::Backend& b) { return b.alltoall_base(to, from, even, even); });
}

/** Of a send or a receive: the other rank, in the group. */
int otherOf(const Group& group, const char* op, int64_t global) {
  const auto other = static_cast<int>(rootIn(group, global));
  TORCH_CHECK_VALUE(other != group.rank, op, ": expected another rank. Received: this one, ", global);
  return other;
}

int64_t send(const at::Tensor& t, int64_t dst, std::string name, int64_t tag, bool wait) {
  const auto group = groupNamed(name);
  const int to = otherOf(*group, "send", dst);
  const Call call(group, "send", t, "to rank " + std::to_string(dst), false, wait, true);
  std::vector<at::Tensor> list{movable(t)};
  return call.run(t, [&](c10d::Backend& b) { return b.send(list, to, static_cast<int>(tag)); });
}
int64_t receive(const at::Tensor& t, int64_t src, std::string name, int64_t tag, bool wait) {
  const auto group = groupNamed(name);
  const int from = otherOf(*group, "recv", src);
  const Call call(group, "recv", t, "from rank " + std::to_string(src), false, wait, true);
  written(t);
  std::vector<at::Tensor> list{movable(t)};
  return call.run(t, [&](c10d::Backend& b) { return b.recv(list, from, static_cast<int>(tag)); });
}

void barrier(std::string name, bool verify) {
  const Call call(groupNamed(name), "barrier", {}, "", verify, true);
  // On the CPU: it is about processes, and a device's queue is not waited for.
  call.run(at::empty({0}), [&](c10d::Backend& b) { return b.barrier(c10d::BarrierOptions{}); });
}

void broadcastCoalesced(at::TensorList tensors, int64_t src, std::string name) {
  const auto group = groupNamed(name);
  const auto root = static_cast<int>(rootIn(*group, src));
  if (group->fake || group->alone() || tensors.empty()) return;
  for (const at::Tensor& t : tensors) group->backendFor(t);
  const auto operation =
      group->begin("broadcast of " + std::to_string(tensors.size()) + " tensors from rank " + std::to_string(src));
  agree(*group, operation, describe("", tensors));
  std::vector<at::Tensor> plain;
  for (const at::Tensor& t : tensors) plain.push_back(t.is_contiguous() ? movable(t) : t.detach());
  constexpr size_t kBuffer = 250 << 20;
  runWatched(*group, operation,
             [pg = group->processGroup, plain, root] { c10d::broadcast_coalesced(pg, plain, kBuffer, root); });
}

}  // namespace

std::string describe(const char* name, at::TensorList tensors, const std::string& more) {
  std::ostringstream s;
  s << name << "(";
  for (size_t i = 0; i < tensors.size(); i++) {
    s << (i ? ", " : "") << c10::getDtypeNames(tensors[i].scalar_type()).first << "[";
    const auto sizes = tensors[i].sizes();
    for (size_t d = 0; d < sizes.size(); d++) s << (d ? ", " : "") << sizes[d];
    s << "]";
  }
  if (!more.empty()) s << (tensors.empty() ? "" : ", ") << more;
  s << ")";
  return s.str();
}

c10d::ReduceOp reduceOp(const std::string& name) {
  using Op = c10d::ReduceOp;
  if (name == "sum") return Op::SUM;
  if (name == "avg") return Op::AVG;
  if (name == "product") return Op::PRODUCT;
  if (name == "min") return Op::MIN;
  if (name == "max") return Op::MAX;
  if (name == "band") return Op::BAND;
  if (name == "bor") return Op::BOR;
  if (name == "bxor") return Op::BXOR;
  fail("ERR_ARGUMENT",
       "expected op to be one of sum, avg, product, min, max, band, bor, bxor. Received: \"" + name + "\"");
}

NBIT_REGISTER_AS(defineDistributed, FRAGMENT, "nbit_dist", std::nullopt, m) {
  const auto def = [&m](const char* schema, auto fn) {
    m.def(schema, torch::dispatch(c10::DispatchKey::CompositeExplicitAutograd, fn));
  };
  def("all_reduce_(Tensor(a!) self, str op, str group, bool verify, bool wait) -> int", TORCH_FN(allReduce));
  def("reduce_(Tensor(a!) self, int dst, str op, str group, bool verify, bool wait) -> int", TORCH_FN(reduce));
  def("broadcast_(Tensor(a!) self, int src, str group, bool verify, bool wait) -> int", TORCH_FN(broadcast));
  def("all_gather_into(Tensor(a!) output, Tensor input, str group, bool verify, bool wait) -> int",
      TORCH_FN(allGatherInto));
  def("reduce_scatter_into(Tensor(a!) output, Tensor input, str op, str group, bool verify, bool wait) -> int",
      TORCH_FN(reduceScatterInto));
  def("gather(Tensor(a!)[] outputs, Tensor input, int dst, str group, bool verify, bool wait) -> int",
      TORCH_FN(gather));
  def("scatter(Tensor(a!) output, Tensor[] inputs, int src, str group, bool verify, bool wait) -> int",
      TORCH_FN(scatter));
  def("all_to_all(Tensor(a!) output, Tensor input, str group, bool verify, bool wait) -> int", TORCH_FN(allToAll));
  def("send(Tensor input, int dst, str group, int tag, bool wait) -> int", TORCH_FN(send));
  def("recv(Tensor(a!) output, int src, str group, int tag, bool wait) -> int", TORCH_FN(receive));
  def("barrier(str group, bool verify) -> ()", TORCH_FN(barrier));
  def("broadcast_coalesced_(Tensor(a!)[] tensors, int src, str group) -> ()", TORCH_FN(broadcastCoalesced));
}

}  // namespace nbit::dist
