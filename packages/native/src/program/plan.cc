// Makes an executable of a program: which kernel computes what into which memory.
#include "binding/errors.h"
#include "program/arena.h"
#include "program/executable.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

namespace nbit::program {
namespace {

/** The overloads of each operator's name. */
const std::vector<c10::OperatorHandle>& overloadsOf(const std::string& name) {
  static const auto all = [] {
    auto& dispatcher = c10::Dispatcher::singleton();
    std::unordered_map<std::string, std::vector<c10::OperatorHandle>> found;
    for (const auto& n : dispatcher.getAllOpNames())
      if (const auto op = dispatcher.findSchema(n)) found[n.name].push_back(*op);
    return found;
  }();
  static const std::vector<c10::OperatorHandle> none;
  const auto found = all.find(name);
  return found == all.end() ? none : found->second;
}

/** Whose variant for given memory computes something else: libtorch's reduces one element where a number is asked for.
 * tests/replay/every-operator.test.ts finds others. Those of regression losses resize what they are given to all
 * elements before they reduce, with a warning each time. */
bool differsIntoMemory(std::string_view name) {
  return name == "aten::binary_cross_entropy" || name == "aten::mse_loss" || name == "aten::smooth_l1_loss" ||
         name == "aten::huber_loss";
}

/** The variant that computes into memory that is given, where a kernel of the CPU's does so, not a copy behind it. */
const c10::OperatorHandle* outVariant(const c10::OperatorHandle& op) {
  if (differsIntoMemory(op.schema().name())) return nullptr;
  const auto& mine = op.schema().arguments();
  const size_t results = op.schema().returns().size();
  for (const auto& other : overloadsOf(op.schema().name())) {
    const auto& theirs = other.schema().arguments();
    if (theirs.size() != mine.size() + results || !other.hasKernelForDispatchKey(c10::DispatchKey::CPU)) continue;
    bool same = true;
    for (size_t i = 0; i < theirs.size() && same; i++)
      same = i < mine.size() ? theirs[i].name() == mine[i].name() && *theirs[i].type() == *mine[i].type()
                             : theirs[i].is_out();
    if (same) return &other;
  }
  return nullptr;
}

/** Makes memory and writes nothing into it. */
bool makesRoom(std::string_view name) {
  static constexpr std::array<std::string_view, 5> names{"aten::empty", "aten::empty_like", "aten::empty_strided",
                                                         "aten::new_empty", "aten::new_empty_strided"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

/** A part of a block, which goes when nobody has any part of it. */
c10::DataPtr shareOf(const std::shared_ptr<c10::DataPtr>& block, size_t offset) {
  using Share = std::shared_ptr<c10::DataPtr>;
  return {static_cast<char*>(block->get()) + offset, new Share(block),
          [](void* share) { delete static_cast<Share*>(share); }, c10::DeviceType::CPU};
}

}  // namespace

class Planner {
 public:
  Planner(Executable& e, const Placement& placement, Arena& arena)
      : e_(e), p_(e.program_), placement_(placement), arena_(arena) {
    const size_t n = p_.buffers.size();
    memory_.resize(n);
    e_.valuesOf_.resize(n);
    e_.tensors_.resize(p_.values.size());
    for (size_t v = 0; v < p_.values.size(); v++) {
      e_.valuesOf_[p_.values[v].buffer].push_back(static_cast<int32_t>(v));
      const at::Tensor& t = p_.values[v].tensor;
      if (t.defined() && !t.device().is_cpu())
        fail("PROGRAM_DEVICE", "a recorded step runs again on the CPU only. Received: a tensor on " + t.device().str());
    }
    for (size_t b = 0; b < n; b++)
      if (p_.buffers[b].origin != Buffer::Origin::made)
        memory_[b].place = placement.bound[b] ? Place::bound : Place::there;
    for (uint32_t i = 0; i < p_.operations.size(); i++) place(i);
    layOutArena();
    e_.stays_.resize(n);
    for (size_t b = 0; b < n; b++) e_.stays_[b] = memory_[b].place == Place::there || memory_[b].place == Place::arena;
    for (size_t v = 0; v < p_.values.size(); v++) {
      lay(static_cast<int32_t>(v));
      if (!stays(static_cast<int32_t>(v))) e_.passing_.push_back(static_cast<int32_t>(v));
    }
    for (uint32_t i = 0; i < p_.operations.size(); i++) {
      e_.firstStep_.push_back(static_cast<uint32_t>(e_.steps_.size()));
      compile(i);
    }
    e_.firstStep_.push_back(static_cast<uint32_t>(e_.steps_.size()));
    free();
    for (const Value& v : p_.values)
      if (v.tensor.defined() && memory_[v.buffer].place == Place::there)
        e_.known_.push_back({v.tensor, v.tensor.storage().unsafeGetStorageImpl(), v.tensor.storage().data()});
    e_.counts_.operators = static_cast<int64_t>(p_.operations.size());
    e_.counts_.steps = static_cast<int64_t>(e_.steps_.size());
  }

 private:
  /** Kept by others; another tensor in every run; shared memory; memory of its own. */
  enum class Place : uint8_t { unknown, there, bound, arena, own };
  struct Memory {
    Place place = Place::unknown;
    c10::intrusive_ptr<c10::StorageImpl> storage;
    int64_t maker = -1;
    bool filled = false;  // its maker computes into memory that is given
    size_t from = 0, to = 0;
  };

  Memory& of(int32_t value) { return memory_[p_.values[value].buffer]; }
  bool stays(int32_t value) const { return e_.stays_[p_.values[value].buffer]; }

  bool makes(uint32_t operation, int32_t value) { return value >= 0 && of(value).maker == operation; }
  /** Every result lies at the beginning of new memory of its own. */
  bool fillsItsResults(uint32_t operation) {
    const auto& results = p_.operations[operation].results;
    for (size_t i = 0; i < results.size(); i++) {
      if (!makes(operation, results[i]) || p_.values[results[i]].offset != 0) return false;
      for (size_t j = 0; j < i; j++)
        if (p_.values[results[j]].buffer == p_.values[results[i]].buffer) return false;
    }
    return !results.empty();
  }

  void place(uint32_t index) {
    const Operation& o = p_.operations[index];
    bool any = false;
    for (const int32_t v : o.results)
      if (v >= 0 && p_.isMade(v) && of(v).maker < 0) {
        of(v).maker = index;
        of(v).from = index;
        any = true;
      }
    const auto touch = [&](int32_t v) { of(v).to = std::max<size_t>(of(v).to, index); };
    eachArgument(o, touch);
    for (const int32_t v : o.results)
      if (v >= 0) touch(v);
    if (!any) return;
    const bool filled =
        makesRoom(o.op.schema().name()) || (o.written.empty() && fillsItsResults(index) &&
                                            (straightKernel(o, p_) != nullptr || outVariant(o.op) != nullptr));
    for (const int32_t v : o.results) {
      if (!makes(index, v)) continue;
      Memory& m = of(v);
      m.filled = filled;
      m.place = filled && !placement_.outlives[p_.values[v].buffer] ? Place::arena : Place::own;
    }
  }

  void layOutArena() {
    std::vector<Lifetime> lifetimes;
    std::vector<size_t> which;
    for (size_t b = 0; b < memory_.size(); b++) {
      memory_[b].to = std::max<size_t>(memory_[b].to, placement_.heldUntil[b]);
      if (memory_[b].place == Place::own) e_.counts_.ownBytes += p_.buffers[b].bytes;
      if (memory_[b].place != Place::arena) continue;
      lifetimes.push_back({p_.buffers[b].bytes, memory_[b].from, memory_[b].to});
      which.push_back(b);
    }
    const size_t bytes = layOut(lifetimes);
    e_.counts_.arenaBytes = bytes;
    e_.block_ = arena_.block(bytes);
    for (size_t i = 0; i < which.size(); i++)
      memory_[which[i]].storage =
          c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), lifetimes[i].bytes,
                                                shareOf(e_.block_, lifetimes[i].offset), nullptr, false);
  }

  void lay(int32_t value) {
    const Value& v = p_.values[value];
    Memory& m = memory_[v.buffer];
    if (!stays(value)) return;
    if (v.tensor.defined()) {
      e_.tensors_[value] = v.tensor;
      if (m.storage == nullptr) m.storage = storageOf(v.tensor);
      return;
    }
    if (m.storage == nullptr) m.storage = p_.buffers[v.buffer].where.lock();
    e_.tensors_[value] = tensorOver(m.storage, v);
  }

  void compile(uint32_t index) {
    const Operation& o = p_.operations[index];
    bool any = false, filled = true;
    for (const int32_t v : o.results)
      if (makes(index, v)) {
        any = true;
        filled &= of(v).filled;
      }
    const bool room = any && filled && makesRoom(o.op.schema().name());
    // A view is laid out with its memory.
    if (o.written.empty() && !o.results.empty() && !any) {
      e_.counts_.folded++;
      return;
    }
    Step step(o.op);
    step.source = &o;
    step.gradMode = o.gradMode;
    if (any && filled)
      for (const int32_t v : o.results)
        if (makes(index, v) && !stays(v)) step.allocates.push_back(v);
    if (room) {
      e_.counts_.folded++;
      if (step.allocates.empty()) return;
      step.kernel = [](Step&) {};
    } else {
      if (filled) step.kernel = straightKernel(o, p_);
      if (step.kernel != nullptr) straight(step, o);
      else boxed(step, index, any && filled && o.written.empty());
    }
    if (!step.allocates.empty() || (any && !filled)) e_.counts_.allocating++;
    e_.steps_.push_back(std::move(step));
  }

  void straight(Step& step, const Operation& o) {
    e_.counts_.straight++;
    for (const Argument& a : o.arguments) {
      step.form.push_back(a.constant);
      step.in.push_back(a.kind == Argument::Kind::one && a.values[0] >= 0 ? &e_.tensors_[a.values[0]] : nullptr);
    }
    for (const int32_t v : o.results) step.out.push_back(v < 0 ? nullptr : &e_.tensors_[v]);
  }

  void boxed(Step& step, uint32_t index, bool filled) {
    const Operation& o = p_.operations[index];
    for (size_t i = 0; i < o.arguments.size(); i++) argument(step, o.arguments[i], static_cast<uint32_t>(i));
    if (filled) {
      step.op = *outVariant(o.op);
      for (const int32_t v : o.results) {
        if (!stays(v)) step.holes.push_back({static_cast<uint32_t>(step.form.size()), v});
        step.form.emplace_back(e_.tensors_[v]);
      }
      return;
    }
    for (const int32_t v : o.results)
      if (makes(index, v)) {
        for (const int32_t r : o.results) step.made.push_back(makes(index, r) ? r : -1);
        return;
      }
  }

  void argument(Step& step, const Argument& a, uint32_t at) {
    const auto moves = [&](int32_t v) { return v >= 0 && !stays(v); };
    switch (a.kind) {
      case Argument::Kind::constant: step.form.push_back(a.constant); return;
      case Argument::Kind::one:
        step.form.emplace_back(e_.tensors_[a.values[0]]);
        if (moves(a.values[0])) step.holes.push_back({at, a.values[0]});
        return;
      case Argument::Kind::many: {
        c10::List<at::Tensor> list;
        for (const int32_t v : a.values) list.push_back(v < 0 ? at::Tensor() : e_.tensors_[v]);
        step.form.emplace_back(std::move(list));
        break;
      }
      case Argument::Kind::manyOptional: {
        c10::List<std::optional<at::Tensor>> list;
        for (const int32_t v : a.values) list.push_back(v < 0 ? std::nullopt : std::optional(e_.tensors_[v]));
        step.form.emplace_back(std::move(list));
        break;
      }
    }
    if (std::any_of(a.values.begin(), a.values.end(), moves)) step.lists.push_back(at);
  }

  /** After its last reader memory of its own goes, unless it outlives the run. */
  void free() {
    for (size_t b = 0; b < memory_.size(); b++) {
      const Memory& m = memory_[b];
      if (m.place != Place::own || placement_.outlives[b]) continue;
      // The last step of an operation that knows it, or that begins when others have let go of it.
      uint32_t last = e_.firstStep_[m.to + 1];
      if (last == 0) continue;
      e_.steps_[last - 1].frees.push_back(static_cast<int32_t>(b));
    }
  }

  Executable& e_;
  const Program& p_;
  const Placement& placement_;
  Arena& arena_;
  std::vector<Memory> memory_;
};

Executable::Executable(const Program& program, Placement placement, Arena& arena) : program_(program) {
  Planner(*this, placement, arena);
}

}  // namespace nbit::program
