// Direct, unboxed calls of the hottest operators; generated into generated/hot.cc from the manifest's hot list.
#pragma once
#include <string>

namespace nbit {
/** Reads its arguments between `at` and `end`, and writes its result to the beginning of the shared buffer. */
using DirectCall = void (*)(const double* at, const double* end);
/** The direct call generated for exactly this schema, or null: a libtorch whose schema differs takes the boxed way. */
DirectCall findDirect(const std::string& schema);
}  // namespace nbit
