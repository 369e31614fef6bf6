// A step that was recorded with the calls that JavaScript made, and what its replays share.
#pragma once
#include "program/executable.h"

#include <memory>
#include <string>
#include <vector>

namespace nbit::program {

/** A tensor in the message of a call. */
struct Word {
  uint32_t at;
  int32_t value;
  bool requiresGrad;
};
/** A tensor that a call gives to JavaScript. */
struct Given {
  uint32_t at;  // where in the reply
  int32_t value;
  bool requiresGrad;
  at::Tensor tensor;  // the same one in every run, where its memory stays
};
/** One call of JavaScript's. */
struct Event {
  bool backward = false;
  uint32_t op = 0;
  uint64_t modes = 0;     // of gradients, autocast, inference and the default dtype
  uint64_t policies = 0;  // of autocast, that are active
  std::vector<double> words;
  std::vector<Word> tensors;
  std::vector<double> reply;
  std::vector<Given> given;
  uint32_t firstOperation = 0, endOperation = 0;
  std::vector<int32_t> letGo;  // buffers that nobody has at its beginning, whose memory is used again from here on
  std::vector<const Given*> mustBeFree;  // what JavaScript was given of them

  // Of the run in hand, for when it has to be made again.
  std::vector<at::Tensor> externals;         // of `tensors`, where the program has not made them
  std::vector<const c10::TensorImpl*> made;  // where it has
  std::vector<at::Tensor> gave;              // of `given`
};

/** The gradient that a backward leaves with a leaf. */
struct LeafGradient {
  at::Tensor leaf;
  int32_t before;  // value of the gradient that was there; -1: none
  int32_t after;   // value of one that is new; -1: the one that was there is added to
};

class Trace;
/** Recordings that are replayed in turn, and the memory that they share. */
struct Sharing {
  Arena arena;
  std::vector<Trace*> traces;
};

/** A step that was recorded with JavaScript's calls. */
class Trace {
 public:
  explicit Trace(Sharing& sharing);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  /** Gives the memory of replays back: the next plans anew. */
  void rest();
  enum class State : uint8_t { empty, recorded, refused };
  State state = State::empty;
  std::string reason;  // why it was refused, or why the latest run was not a replay
  int64_t replayed = 0, left = 0;
  Counts counts() const { return executable_ ? executable_->counts() : Counts{}; }
  const Program& program() const { return program_; }

 private:
  friend class Session;
  void plan();
  bool isFree(const Given& given) const;
  void forget();

  bool othersAreFree() const;

  Sharing& sharing_;
  Program program_;
  uint64_t settings_ = 0;  // when it was recorded
  std::vector<int32_t> inputs_;
  std::vector<Event> events_;
  std::vector<LeafGradient> gradients_;
  Placement placement_;
  std::unique_ptr<Executable> executable_;
  std::vector<const Given*> lent_;         // what JavaScript is given of memory that stays
  std::vector<int64_t> expected_;          // of each buffer: how many tensors of ours lie in its storage
  std::vector<at::Generator> generators_;  // that random operators draw from
  std::vector<int32_t> state_;             // external values that forward writes
  std::vector<at::Tensor> written_;        // external tensors that the step writes
};

}  // namespace nbit::program
