// Replays that follow JavaScript: forward and backward of a step are recorded once, with the calls that JavaScript
// made. In later steps JavaScript runs again, and as long as it makes the same calls with the same arguments, each call
// runs its recorded kernels: no dispatcher, no graph, planned memory. Where it does anything else, the calls so far are
// made again with a graph, and the step goes on eagerly: so the results are always those of eager steps.
#pragma once
#include "binding/environment.h"
#include "program/executable.h"
#include "program/recorder.h"

#include <functional>
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

class Session;
extern constinit thread_local Session* session __attribute__((tls_model("initial-exec")));

/** One step of JavaScript's, from open to close. */
class Session {
 public:
  /** `inputs`: other tensors in every run. */
  /** `told` is called where a step leaves its recording, or cannot be recorded: its caller is who did it. */
  Session(Trace& trace, const std::vector<at::Tensor>& inputs, void (*told)());
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void call(uint32_t op, const char*& name);
  void backward(bool keepsGraph, const std::function<void()>& eagerly);
  /** Go on eagerly, with the graph of what was called so far. */
  void leave(const char* reason);
  bool isHere() const { return js == home_; }
  /** The step is over. Whether it was replayed. */
  bool close();
  bool replays() const { return mode_ == Mode::replaying; }
  /** The inputs are not of the form that the step was recorded with: nothing has begun. */
  bool isOfAnotherForm() const { return anotherForm_; }

 private:
  enum class Mode : uint8_t { eager, recording, replaying };
  Event begin(uint32_t op, bool backward);
  bool follows(Event& event, uint32_t op, bool backward, const char*& why);
  bool takes(int32_t value, const at::Tensor& t, const char*& why);
  void give(Event& event);
  void record(uint32_t op, const char*& name);
  void recordBackward(const std::function<void()>& eagerly);
  void noteDeaths(size_t event);
  void leaves(const Event& event);
  void finishRecording();
  void makeAgain();

  Trace& trace_;
  void (*const told_)();
  Mode mode_ = Mode::eager;
  std::unique_ptr<Recorder> recorder_;
  std::vector<int32_t> exposed_;     // buffers that JavaScript was given
  std::vector<int64_t> diedBefore_;  // of each buffer: the event at whose beginning nobody had it; -1: alive
  std::vector<uint32_t> diedAt_;
  std::vector<std::pair<at::Tensor, bool>> leaves_;
  std::vector<bool> isBound_;
  size_t next_ = 0;
  Environment* const home_ = js;
  bool anotherForm_ = false;
  bool replans_ = false;  // a tensor is another in every run, and was not known to be
  std::vector<at::Tensor> seeds_, saved_;
};

void callInSession(uint32_t op, const char*& name);
void backwardInSession(bool keepsGraph, const std::function<void()>& eagerly);

}  // namespace nbit::program
