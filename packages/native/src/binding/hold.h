#pragma once

namespace nbit {

/**
 * JavaScript that is called while it lives, in the middle of an operator, takes no tensor away from it: arguments are
 * slots. What is given up meanwhile goes when the operator has ended.
 */
class HoldTensors {
 public:
  HoldTensors();
  ~HoldTensors();
  HoldTensors(const HoldTensors&) = delete;
  HoldTensors& operator=(const HoldTensors&) = delete;
};
/** At a drain. */
void releaseHeld();

}  // namespace nbit
