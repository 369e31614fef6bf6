#pragma once
#include <string>

namespace nbit {

/** Strings that JavaScript interned, by id. */
const std::string& internedAt(double id);

}  // namespace nbit
