// Replays that follow JavaScript: forward and backward of a step are recorded once, with the calls that JavaScript
// made. In later steps JavaScript runs again, and as long as it makes the same calls with the same arguments, each call
// runs its recorded kernels: no dispatcher, no graph, planned memory. Where it does anything else, the calls so far are
// made again with a graph, and the step goes on eagerly: so the results are always those of eager steps.
#pragma once
#include "binding/environment.h"
#include "program/recorder.h"
#include "program/trace.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace nbit::program {

class Session;
extern constinit thread_local Session* session __attribute__((tls_model("initial-exec")));

/** One step of JavaScript's, from open to close. */
class Session {
 public:
  /**
   * `inputs`: other tensors in every run. `told` is called where a step leaves its recording, or cannot be recorded:
   * its caller is who did it.
   */
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
  void beginRecording(const std::vector<at::Tensor>& inputs);
  /** False where it cannot be one, which the trace's reason says. */
  bool beginReplay(const std::vector<at::Tensor>& inputs);
  enum class Mode : uint8_t { eager, recording, replaying };
  Event begin(uint32_t op, bool backward);
  bool follows(Event& event, uint32_t op, bool backward, const char*& why);
  bool takes(int32_t value, const at::Tensor& t, const char*& why);
  void give(Event& event);
  void record(uint32_t op, const char*& name);
  void recordBackward(const std::function<void()>& eagerly);
  void noteDeaths(size_t event);
  void finishRecording();
  void makeAgain();
  /** What was kept of the run in hand. */
  void letGo();

  Trace& trace_;
  void (*const told_)();
  Mode mode_ = Mode::eager;
  std::unique_ptr<Recorder> recorder_;
  std::vector<int32_t> exposed_;     // buffers that JavaScript was given
  std::vector<int64_t> diedBefore_;  // of each buffer: the event at whose beginning nobody had it; -1: alive
  std::vector<uint32_t> diedAt_;
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
