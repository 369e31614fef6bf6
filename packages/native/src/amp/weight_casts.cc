// Weights cast to 16 bits once per change instead of at every use. Gradients are as if each use had cast by itself:
// each has a node whose backward casts to the weight's dtype, so that what several uses give is summed there, not in 16
// bits.
#include "amp/weight_casts.h"

#include "autograd/nodes.h"
#include "entries/weight_casts.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <map>
#include <unordered_map>

namespace nbit {

std::atomic<bool> recordingGraph{false};

namespace {

namespace ag = torch::autograd;

// Of the whole process: one thread's steps make another's casts no worse than too old.
std::atomic<uint64_t> steps{0};   // of optimizers: their kernels write parameters that have gradients
std::atomic<uint64_t> writes{0};  // of anything

class WeightCastBackward : public ag::Node {
 public:
  explicit WeightCastBackward(at::ScalarType dtype) : dtype_(dtype) {}
  std::string name() const override { return "WeightCastBackward"; }
  ag::variable_list apply(ag::variable_list&& grads) override {
    if (!grads[0].defined()) return {at::Tensor()};
    return {grads[0].to(dtype_)};
  }

 private:
  at::ScalarType dtype_;
};

/** One cast, and what the weight was when it was made. */
struct Kept {
  at::Tensor cast;
  uint64_t steps = 0;
  uint64_t writes = 0;
  uint32_t version = 0;
  const void* data = nullptr;
  bool used = false;      // since it was made
  bool recorded = false;  // a graph writes and reads it at this address

  bool isOf(const at::Tensor& weight, bool frozen) const {
    return cast.defined() && (frozen || steps == nbit::steps) && writes == nbit::writes &&
           version == static_cast<uint32_t>(weight._version()) && data == weight.data_ptr();
  }
  /** Whether the next cast may be written over this one: nobody (a saved tensor of a graph that still waits for its
   * backward) has it. */
  bool isFree(const at::Tensor& weight) const {
    return cast.defined() && cast.use_count() == 1 && cast.storage().use_count() == 1 &&
           cast.device() == weight.device() && cast.sizes() == weight.sizes() &&
           (cast.strides() == weight.strides() || !weight.is_non_overlapping_and_dense());
  }
};

struct Held {
  at::Tensor weight;
  bool frozen = true;  // has not been seen to want a gradient: no optimizer steps it
  Kept half, bfloat;
  Kept& in(at::ScalarType dtype) { return dtype == at::kHalf ? half : bfloat; }
  bool isCast(const Kept& k) {
    frozen = frozen && !weight.requires_grad();
    return k.isOf(weight, frozen);
  }
};

struct Casts {
  bool trainable = false;  // those that want a gradient, too
  std::vector<Held> held;
  std::unordered_map<const c10::TensorImpl*, size_t> at;
  std::vector<at::Tensor> retired;  // replaced, but graphs still write them

  /** Cast anew what is stale: the weight asked for, and with it, in few kernels, all that were used since their last
   * cast. */
  void refresh(at::ScalarType target, const Held& asked) {
    const c10::InferenceMode normal(false);  // what validation makes, training uses; switches recording on
    const at::NoGradGuard noGrad;
    const c10::impl::ExcludeDispatchKeyGuard plain(c10::autocast_dispatch_keyset);
    std::vector<at::Tensor> to, from;
    std::vector<std::pair<Kept*, const at::Tensor*>> made;
    for (Held& h : held) {
      Kept& k = h.in(target);
      if ((&h != &asked && !k.used) || h.weight.scalar_type() == target || h.isCast(k)) continue;
      if (!k.isFree(h.weight)) {
        if (k.recorded) retired.push_back(k.cast);
        k = Kept{at::empty_like(h.weight, h.weight.options().dtype(target))};
      }
      k.version = ~static_cast<uint32_t>(h.weight._version());  // of no value, should the copy fail
      to.push_back(k.cast);
      from.push_back(h.weight);
      made.emplace_back(&k, &h.weight);
    }
    if (to.size() == 1) to[0].copy_(from[0]);
    else at::_foreach_copy_(to, from);
    for (const auto& [k, weight] : made) {
      k->steps = steps;
      k->writes = writes;
      k->version = static_cast<uint32_t>(weight->_version());
      k->data = weight->data_ptr();
      k->used = false;
    }
  }
};

struct State {
  std::map<double, std::unique_ptr<Casts>> all;
  double last = 0;
  std::vector<Casts*> active;  // innermost last
};
const EnvironmentLocal<State> state;

Casts& castsAt(double id) {
  const auto& all = state().all;
  const auto found = all.find(id);
  if (found == all.end()) fail("ERR_ARGUMENT", "expected casts that are in use");
  return *found->second;
}
}  // namespace

void weightsMayHaveChanged() { ++writes; }

at::Tensor cachedWeightCastValue(at::ScalarType target, const at::Tensor& t) {
  if (target != at::kHalf && target != at::kBFloat16) return {};
  Environment* const here = workingFor();
  if (here == nullptr || here->watchers == 0) return {};
  const auto& active = state.of(*here).active;
  for (auto c = active.rbegin(); c != active.rend(); ++c) {
    const auto found = (*c)->at.find(t.unsafeGetTensorImpl());
    if (found == (*c)->at.end()) continue;
    if ((t.requires_grad() && !(*c)->trainable) || t._fw_grad(/*level=*/0).defined()) return {};
    Held& h = (*c)->held[found->second];
    Kept& k = h.in(target);
    if (!h.isCast(k)) (*c)->refresh(target, h);
    k.used = true;
    k.recorded = k.recorded || recordingGraph;
    return k.cast;
  }
  return {};
}

at::Tensor cachedWeightCast(at::ScalarType target, const at::Tensor& t) {
  const at::Tensor cast = cachedWeightCastValue(target, t);
  if (!cast.defined() || !t.requires_grad() || !c10::GradMode::is_enabled()) return cast;
  const auto* impl = cast.unsafeGetTensorImpl();
  at::Tensor use(impl->shallow_copy_and_detach(impl->version_counter(), /*allow_tensor_metadata_change=*/true));
  auto node = makeNode<WeightCastBackward>(t.scalar_type());
  node->set_next_edges(ag::collect_next_edges(t));
  ag::set_history(use, node);
  return use;
}

double entries::weightCastsCreate(const Args& a) {
  auto casts = std::make_unique<Casts>();
  casts->trainable = a.flag(0);
  Reader in = message();
  for (auto& weight : in.tensors()) {
    if (!weight.defined()) failBadHandle(0);
    if (weight.is_inference() || weight.layout() != at::kStrided ||
        !casts->at.emplace(weight.unsafeGetTensorImpl(), casts->held.size()).second)
      continue;
    casts->held.push_back(Held{std::move(weight), true, {}, {}});
  }
  auto& mine = state();
  mine.all[++mine.last] = std::move(casts);
  return mine.last;
}
void entries::weightCastsFree(const Args& a) {
  auto& [all, last, active] = state();
  js->watchers -= static_cast<int>(std::erase(active, &castsAt(a.number(0))));
  all.erase(a.number(0));
}
void entries::weightCastsPush(const Args& a) {
  state().active.push_back(&castsAt(a.number(0)));
  ++js->watchers;
}
void entries::weightCastsPop() {
  auto& active = state().active;
  if (active.empty()) return;
  active.pop_back();
  --js->watchers;
}
double entries::weightCastsBytes(const Args& a) {
  double bytes = 0;
  for (const Held& h : castsAt(a.number(0)).held)
    for (const Kept* k : {&h.half, &h.bfloat})
      if (k->cast.defined()) bytes += static_cast<double>(k->cast.nbytes());
  return bytes;
}
double entries::weightCast(const Args& a) { return newHandle(cachedWeightCast(a.dtype(1), get(a.number(0)))); }
void entries::weightsChanged(const Args& a) { ++(a.flag(0) ? steps : writes); }

}  // namespace nbit
