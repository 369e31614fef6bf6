// Direct, unboxed calls of the hottest operators; generated into generated/hot.cc from the manifest's hot list.
#pragma once
#include <string>

namespace nbit {
/** Reads arguments at `in`, writes results at `out`; both lie in the shared buffer. */
using DirectCall = void (*)(const double* in, double* out);
/** The direct call generated for exactly this schema, or null: a libtorch whose schema differs takes the boxed way. */
DirectCall findDirect(const std::string& schema);
}  // namespace nbit
