// What the steps on every device ask of their arguments.
#pragma once
#include "lowbit_families.h"

#include <c10/util/ArrayRef.h>
#include <c10/util/Exception.h>

namespace nbit::lowbit {

/** The list of a step's numbers, each at its place (Hyperparameter). */
inline void checkHyperparameters(c10::ArrayRef<double> list) {
  TORCH_CHECK_VALUE(list.size() == kHyperparameters, "expected hyperparameters to be ", kHyperparameters, " numbers (",
                    kHyperparameterNames, "). Received: ", list.size());
}

}  // namespace nbit::lowbit
