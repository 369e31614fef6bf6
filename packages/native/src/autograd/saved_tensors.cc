// What becomes of tensors that operators save for backward: hooks of JavaScript's, memory of the CPU, or nothing, where
// they are computed again.
#include "autograd/saved_tensors.h"

#include "autograd/defined.h"
#include "autograd/js_function.h"
#include "autograd/nodes.h"
#include "binding/core.h"
#include "binding/hold.h"
#include "binding/random.h"
#include "entries/saved_tensors.h"
#include "program/recorder.h"

#include <ATen/Context.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <sstream>
#include <unordered_set>
#include <utility>
#include <vector>

namespace nbit {
namespace {

namespace ag = torch::autograd;

/** A region in which tensors are saved in some way. */
struct Region {
  Region* const outer;
  const bool owned;  // by savedTensorsEnd
  explicit Region(Region* o, bool own = true) : outer(o), owned(own) {}
  virtual ~Region() = default;
  virtual std::unique_ptr<ag::SavedVariableHooks> hooks() = 0;
};
constinit thread_local Region* region __attribute__((tls_model("initial-exec"))) = nullptr;

/** libtorch asks its engine for the hooks of a tensor that is being saved; its own has none. */
struct Engine final : ag::Engine {
  std::unique_ptr<ag::SavedVariableHooks> get_default_saved_variable_hooks() override {
    return region == nullptr ? nullptr : region->hooks();
  }
};

struct Entered {
  explicit Entered(Region& r) { region = &r; }
  ~Entered() { region = region->outer; }
};

// Hooks of JavaScript's.

struct Pair {
  std::shared_ptr<JsFunction> pack, unpack;
};
/** The tensor of a handle that JavaScript left for this. */
at::Tensor taken(double handle) {
  at::Tensor t = get(handle).detach();
  release(handle);
  return t;
}
struct JsHooks final : ag::SavedVariableHooks {
  const std::shared_ptr<Pair> pair;
  at::Tensor kept;
  napi_ref object = nullptr;
  explicit JsHooks(std::shared_ptr<Pair> p) : pair(std::move(p)) {}
  ~JsHooks() override {
    if (object != nullptr) deferDelete(pair->pack->home(), object);
  }
  void call_pack_hook(const at::Tensor& t) override {
    const HoldTensors hold;
    Region* const inside = std::exchange(region, nullptr);  // what it computes is saved as ever
    try {
      Calling call(*pair->pack);
      Writer out = call.begin(1, 1);
      // Its graph could be this node's: one would hold the other.
      call.tensor(out, t.detach());
      const napi_value result = call.run();
      const double handle = js->buffer[0];
      if (handle > 0) kept = taken(handle);
      else if (napi_create_reference(js->env, result, 1, &object) != napi_ok)
        fail("ERR_ARGUMENT", "expected pack to leave a tensor or an object");
    } catch (...) {
      region = inside;
      throw;
    }
    region = inside;
  }
  at::Tensor call_unpack_hook() override {
    Calling call(*pair->unpack);
    napi_value argument = nullptr;
    Writer out = call.begin(1, 1);
    if (kept.defined()) call.tensor(out, at::Tensor(kept));
    else {
      out.number(0);
      napi_get_reference_value(js->env, object, &argument);
    }
    call.run(argument);
    return taken(js->buffer[0]);
  }
};
struct JsRegion final : Region {
  const std::shared_ptr<Pair> pair;
  JsRegion(Region* o, std::shared_ptr<Pair> p) : Region(o), pair(std::move(p)) {}
  std::unique_ptr<ag::SavedVariableHooks> hooks() override { return std::make_unique<JsHooks>(pair); }
};

// Memory of the CPU.

/** What takes fewer bytes stays: a copy costs more than it saves. */
constexpr size_t kLeastBytes = 1024;

struct OnCpu final : ag::SavedVariableHooks {
  const bool pin;
  at::Tensor kept;
  c10::Device home = c10::kCPU;
  explicit OnCpu(bool p) : pin(p) {}
  void call_pack_hook(const at::Tensor& t) override {
    // A parameter stays where it is in any case.
    const bool moves =
        !t.is_cpu() && t.layout() == c10::kStrided && t.nbytes() >= kLeastBytes && !(t.is_leaf() && t.requires_grad());
    if (!moves) {
      kept = t.detach();
      return;
    }
    home = t.device();
    kept = at::empty_like(t, t.options().device(c10::kCPU).pinned_memory(pin));
    // Nobody but the copy back reads it, on the same stream: nothing is waited for.
    kept.copy_(t.detach(), pin);
  }
  at::Tensor call_unpack_hook() override { return home.is_cpu() ? kept : kept.to(home, kept.scalar_type(), pin); }
};
struct OnCpuRegion final : Region {
  const bool pin;
  OnCpuRegion(Region* o, bool p) : Region(o), pin(p) {}
  std::unique_ptr<ag::SavedVariableHooks> hooks() override { return std::make_unique<OnCpu>(pin); }
};

// Nothing: what was saved is computed again.

/** Ends a second run that has made all that is needed. JavaScript knows the name. */
constexpr const char* kComplete = "CHECKPOINT_COMPLETE";

/** What checkpoints do, while somebody counts. */
struct Counted {
  bool on = false;
  double calls = 0, dropped = 0, kept = 0;
};
const EnvironmentLocal<Counted> counted;

/** A generator whose stream a run draws from, and where that stood when it began. */
struct Draws {
  at::Generator generator, before;
};

/** What one call of checkpoint saved. Its nodes own it. */
class Frame : public std::enable_shared_from_this<Frame> {
 public:
  Frame(std::shared_ptr<JsFunction> again, const std::vector<at::Tensor>& arguments) : again_(std::move(again)) {
    std::vector<c10::Device> devices{c10::kCPU};
    for (const at::Tensor& t : arguments) {
      arguments_.emplace_back(t, false);  // around checkpoint, others may do something to what is saved
      if (std::find(devices.begin(), devices.end(), t.device()) == devices.end()) devices.push_back(t.device());
    }
    if (counted().on) {
      counted().calls++;
      for (const at::Tensor& t : arguments)
        if (isNew(t)) counted().kept += static_cast<double>(t.nbytes());
    }
    for (const c10::Device& device : devices) {
      if (!device.is_cpu() && !device.is_cuda()) continue;
      const at::Generator& generator = at::globalContext().defaultGenerator(device);
      draws_.push_back({generator, copyOf(generator)});
    }
  }
  /** In the first run. @returns its number. */
  size_t drop(const at::Tensor& t) {
    forms_.push_back({t.scalar_type(), t.device(), t.sizes().vec()});
    // A parameter is there anyway.
    if (counted().on && !(t.is_leaf() && t.requires_grad()) && isNew(t))
      counted().dropped += static_cast<double>(t.nbytes());
    return forms_.size() - 1;
  }
  /** In the second run. */
  void collect(const at::Tensor& t) {
    if (next_ >= forms_.size()) fail(kComplete, "all is there");
    const Form& form = forms_[next_];
    if (t.scalar_type() != form.dtype || t.device() != form.device || t.sizes() != form.sizes) {
      std::ostringstream said;
      said << "checkpoint: expected fn to compute the same when it runs again: a tensor that is saved for backward, "
           << form.dtype << " " << at::IntArrayRef(form.sizes) << ". Received: " << t.scalar_type() << " " << t.sizes()
           << ". fn must depend on its arguments and on random numbers only";
      fail("ERR_CHECKPOINT_MISMATCH", said.str());
    }
    made_[next_++] = t.detach();
    if (next_ == forms_.size()) fail(kComplete, "all is there");
  }
  at::Tensor take(size_t i) {
    if (i >= made_.size() || !made_[i].defined()) run();
    return std::move(made_[i]);
  }

 private:
  struct Form {
    at::ScalarType dtype;
    c10::Device device;
    std::vector<int64_t> sizes;
  };
  void run();
  /** Memory that no tensor before it in this frame has. */
  bool isNew(const at::Tensor& t) {
    if (!t.has_storage()) return false;
    auto* storage = t.storage().unsafeGetStorageImpl();
    if (!seen_.insert(storage).second) return false;
    held_.emplace_back(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage));
    return true;
  }

  const std::shared_ptr<JsFunction> again_;
  // Nodes may ask for what they saved while they run below autograd.
  const c10::impl::LocalDispatchKeySet keys_ = c10::impl::tls_local_dispatch_key_set();
  std::unordered_set<const void*> seen_;
  std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>> held_;  // their addresses, so that no other storage takes one
  std::vector<ag::SavedVariable> arguments_;
  std::vector<Draws> draws_;
  std::vector<Form> forms_;
  std::vector<at::Tensor> made_;
  size_t next_ = 0;
  bool running_ = false;
};

struct Dropped final : ag::SavedVariableHooks {
  const std::shared_ptr<Frame> frame;
  size_t number = 0;
  explicit Dropped(std::shared_ptr<Frame> f) : frame(std::move(f)) {}
  void call_pack_hook(const at::Tensor& t) override { number = frame->drop(t); }
  at::Tensor call_unpack_hook() override { return frame->take(number); }
};
struct Collected final : ag::SavedVariableHooks {
  const std::shared_ptr<Frame> frame;
  at::Tensor kept;  // a backward within the run needs it
  explicit Collected(std::shared_ptr<Frame> f) : frame(std::move(f)) {}
  void call_pack_hook(const at::Tensor& t) override {
    kept = t.detach();
    frame->collect(t);
  }
  at::Tensor call_unpack_hook() override { return kept; }
};
template <class Hooks>
struct FrameRegion final : Region {
  const std::shared_ptr<Frame> frame;
  FrameRegion(Region* o, std::shared_ptr<Frame> f, bool own = true) : Region(o, own), frame(std::move(f)) {}
  std::unique_ptr<ag::SavedVariableHooks> hooks() override { return std::make_unique<Hooks>(frame); }
};

/** Draws what the first run drew, and afterwards what comes next anyway. */
class DrawAgain {
 public:
  explicit DrawAgain(std::vector<Draws>& draws) : draws_(draws) {
    for (Draws& d : draws_) {
      now_.push_back(copyOf(d.generator));
      continueAs(d.generator, d.before);
    }
  }
  ~DrawAgain() {
    for (size_t i = 0; i < now_.size(); i++) continueAs(draws_[i].generator, now_[i]);
  }

 private:
  std::vector<Draws>& draws_;
  std::vector<at::Generator> now_;
};

void Frame::run() {
  if (running_)
    fail("ERR_CHECKPOINT_REENTRANT",
         "checkpoint: expected fn not to go backward through the graph that it is being run for");
  struct Running {
    Frame& frame;
    explicit Running(Frame& f) : frame(f) { frame.running_ = true; }
    ~Running() { frame.running_ = false; }
  } const running(*this);
  std::vector<at::Tensor> arguments;
  for (const ag::SavedVariable& a : arguments_) arguments.push_back(a.unpack());
  made_.assign(forms_.size(), at::Tensor());
  next_ = 0;
  {
    const c10::impl::ForceDispatchKeyGuard forward(keys_);
    FrameRegion<Collected> collecting(region, shared_from_this(), false);
    const Entered entered(collecting);
    const DrawAgain draw(draws_);
    Calling call(*again_);
    Writer out = call.begin(1 + arguments.size(), arguments.size());
    out.number(static_cast<double>(arguments.size()));
    for (at::Tensor& t : arguments) call.tensor(out, std::move(t));
    arguments.clear();
    call.run();
  }
  if (next_ == forms_.size()) return;
  made_.clear();
  fail("ERR_CHECKPOINT_MISMATCH",
       "checkpoint: expected fn to save " + std::to_string(forms_.size()) +
           " tensors for backward when it runs again, as it did before. Received: " + std::to_string(next_) +
           ". fn must depend on its arguments and on random numbers only");
}

}  // namespace

void installEngine() {
  static std::once_flag once;
  // Never ends: threads of autograd may outlive what is static.
  std::call_once(once, [] {
    ag::set_default_engine_stub(+[]() -> ag::Engine& {
      static Engine& engine = *new Engine;
      return engine;
    });
  });
}

void entries::savedTensorsHooks(const Args& a) {
  program::needsGraph("saved tensors have hooks");
  auto pair = std::make_shared<Pair>();
  pair->pack = std::make_shared<JsFunction>(a, 0);
  pair->unpack = std::make_shared<JsFunction>(a, 1);
  region = new JsRegion(region, std::move(pair));
}
void entries::savedTensorsOnCpu(const Args& a) {
  program::needsGraph("saved tensors are kept on the CPU");
  region = new OnCpuRegion(region, a.flag(0));
}
void entries::checkpointBegin(const Args& a) {
  program::needsGraph("a forward is checkpointed");
  Reader in = message();
  const auto arguments = in.tensors();
  requireDefined(arguments);
  auto frame = std::make_shared<Frame>(std::make_shared<JsFunction>(a, 0), arguments);
  region = new FrameRegion<Dropped>(region, std::move(frame));
}
void entries::checkpointsCounted(const Args& a) {
  Counted& now = counted();
  Writer out(3);
  for (const double number : {now.calls, now.dropped, now.kept}) out.number(number);
  now = Counted{.on = a.flag(0)};
}
void entries::savedTensorsEnd() {
  if (region == nullptr || !region->owned) return;
  const std::unique_ptr<Region> ended(region);
  region = ended->outer;
}

}  // namespace nbit
