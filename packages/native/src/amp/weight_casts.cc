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

#include <algorithm>
#include <map>
#include <memory>
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
  bool used = false;  // since it was made
  uint64_t made = 0;  // by a pass of its own

  void isOfNow(const at::Tensor& weight) {
    steps = nbit::steps;
    writes = nbit::writes;
    version = static_cast<uint32_t>(weight._version());
    data = weight.data_ptr();
  }
  void isOfNothing(const at::Tensor& weight) { version = ~static_cast<uint32_t>(weight._version()); }
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
  // Shared with the graphs that have recorded them: those go on with the memory that they know.
  std::shared_ptr<Kept> half = std::make_shared<Kept>(), bfloat = std::make_shared<Kept>();
  std::shared_ptr<Kept>& in(at::ScalarType dtype) { return dtype == at::kHalf ? half : bfloat; }
  bool isCast(const Kept& k) {
    frozen = frozen && !weight.requires_grad();
    return k.isOf(weight, frozen);
  }
};

void copyTogether(const std::vector<at::Tensor>& to, const std::vector<at::Tensor>& from) {
  if (to.size() == 1) to[0].copy_(from[0]);
  else if (!to.empty()) at::_foreach_copy_(to, from);
}

struct Casts {
  bool trainable = false;  // those that want a gradient, too
  std::vector<Held> held;
  std::unordered_map<const c10::TensorImpl*, size_t> at;

  /** Cast anew what is stale: the weight asked for, if one is, and with it, in few kernels, all that were used since
   * their last cast. */
  void refresh(at::ScalarType target, const Held* asked) {
    const c10::InferenceMode normal(false);  // what validation makes, training uses; switches recording on
    const at::NoGradGuard noGrad;
    const c10::impl::ExcludeDispatchKeyGuard plain(c10::autocast_dispatch_keyset);
    std::vector<at::Tensor> to, from;
    std::vector<std::pair<Kept*, const at::Tensor*>> made;
    for (Held& h : held) {
      std::shared_ptr<Kept>& kept = h.in(target);
      if ((&h != asked && !kept->used) || h.weight.scalar_type() == target || h.isCast(*kept)) continue;
      if (!kept->isFree(h.weight)) {
        const uint64_t made = kept->made;
        kept = std::make_shared<Kept>();
        kept->made = made;
        kept->cast = at::empty_like(h.weight, h.weight.options().dtype(target));
      }
      kept->isOfNothing(h.weight);  // should the copy fail
      to.push_back(kept->cast);
      from.push_back(h.weight);
      made.emplace_back(kept.get(), &h.weight);
    }
    copyTogether(to, from);
    for (const auto& [kept, weight] : made) {
      kept->made++;
      kept->isOfNow(*weight);
      kept->used = false;
    }
  }
};

struct State {
  std::map<double, std::unique_ptr<Casts>> all;
  double last = 0;
  std::vector<Casts*> active;  // innermost last
};
const EnvironmentLocal<State> state;

Kept& keptOf(const RecordedCast& r) { return *static_cast<Kept*>(r.kept.get()); }
bool isCurrent(RecordedCast& r) {
  r.frozen = r.frozen && !r.weight.requires_grad();
  return keptOf(r).isOf(r.weight, r.frozen);
}
/** What the recording that goes on expects to find. */
thread_local std::vector<RecordedCast>* recordingHere = nullptr;
void recorded(const Held& h, const std::shared_ptr<Kept>& kept) {
  if (recordingHere == nullptr) return;
  const bool known =
      std::any_of(recordingHere->begin(), recordingHere->end(), [&](const RecordedCast& r) { return r.kept == kept; });
  if (!known) recordingHere->push_back({h.weight, kept, h.frozen, false});
}

Casts& castsAt(double id) {
  const auto& all = state().all;
  const auto found = all.find(id);
  if (found == all.end()) fail("ERR_ARGUMENT", "expected casts that are in use");
  return *found->second;
}
}  // namespace

void weightsMayHaveChanged() { ++writes; }

void beginRecordedCasts(std::vector<RecordedCast>& casts) {
  for (const auto& [id, each] : state().all)
    for (const at::ScalarType target : {at::kHalf, at::kBFloat16}) each->refresh(target, nullptr);
  recordingHere = &casts;
}
void endRecordedCasts(std::vector<RecordedCast>& casts) {
  recordingHere = nullptr;
  for (RecordedCast& r : casts) r.stays = isCurrent(r);
}
void refreshRecordedCasts(std::vector<RecordedCast>& casts) {
  std::vector<at::Tensor> to, from;
  for (RecordedCast& r : casts) {
    if (isCurrent(r)) continue;
    keptOf(r).made++;
    to.push_back(keptOf(r).cast);
    from.push_back(r.weight);
  }
  if (to.empty()) return;
  const c10::InferenceMode normal(false);
  const at::AutoDispatchBelowADInplaceOrView plain;  // as a replay writes: no version tells of it
  const c10::impl::ExcludeDispatchKeyGuard outside(c10::autocast_dispatch_keyset);
  copyTogether(to, from);
}
void replayedRecordedCasts(std::vector<RecordedCast>& casts) {
  ++writes;
  for (const RecordedCast& r : casts) {
    if (r.stays) keptOf(r).isOfNow(r.weight);
    else keptOf(r).isOfNothing(r.weight);
  }
}

std::vector<SteppedCast> castsToStep(at::TensorList weights) {
  std::vector<SteppedCast> found(weights.size());
  for (const auto& [id, casts] : state().all)
    for (size_t i = 0; i < weights.size(); i++) {
      const auto at = casts->at.find(weights[i].unsafeGetTensorImpl());
      if (at == casts->at.end() || found[i].kept != nullptr) continue;
      Held& h = casts->held[at->second];
      for (const auto& kept : {h.bfloat, h.half})
        if (kept->used && h.isCast(*kept) && kept->isFree(h.weight) && kept->cast.strides() == h.weight.strides()) {
          found[i] = {kept->cast.mutable_data_ptr(), kept->cast.scalar_type(), kept};
          break;
        }
    }
  return found;
}
void castsWereStepped(const std::vector<SteppedCast>& casts) {
  for (const SteppedCast& s : casts)
    if (s.kept != nullptr) std::static_pointer_cast<Kept>(s.kept)->steps = steps + 1;
}

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
    if (!h.isCast(*h.in(target))) {
      (*c)->refresh(target, &h);
      // In a graph: each replay makes it where it is used.
    } else if (recordingGraph) recorded(h, h.in(target));
    const std::shared_ptr<Kept>& kept = h.in(target);
    kept->used = true;
    return kept->cast;
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
    casts->held.push_back(Held{std::move(weight)});
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
    for (const auto& k : {h.half, h.bfloat})
      if (k->cast.defined()) bytes += static_cast<double>(k->cast.nbytes());
  return bytes;
}
double entries::weightCastsMade(const Args& a) {
  uint64_t made = 0;
  for (const Held& h : castsAt(a.number(0)).held) made += h.half->made + h.bfloat->made;
  return static_cast<double>(made);
}
double entries::weightCast(const Args& a) { return newHandle(cachedWeightCast(a.dtype(1), get(a.number(0)))); }
void entries::weightsChanged(const Args& a) { ++(a.flag(0) ? steps : writes); }

}  // namespace nbit
