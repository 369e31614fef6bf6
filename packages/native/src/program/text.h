// A program as text: what JavaScript reads, prints, keeps in files and lowers for other compilers.
#pragma once
#include "program/program.h"

#include <string>

namespace nbit::program {

/** JSON, in the form that packages/torch/src/program/format.ts describes. */
std::string toText(const Program& program);

}  // namespace nbit::program
