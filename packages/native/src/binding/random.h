#pragma once
#include <ATen/core/Generator.h>

namespace nbit {

/** Generators made by JavaScript, by id; 0 is "none". */
at::Generator& generatorAt(double id);

}  // namespace nbit
