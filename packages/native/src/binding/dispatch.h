#pragma once
#include "binding/signature.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nbit {

/** Strings that JavaScript interned, by id. */
const std::string& internedAt(double id);

/** An operator that JavaScript has asked for, by its id. */
struct Signature {
  const std::string& name;
  const std::vector<Kind>& arguments;
  const std::vector<Return>& returns;
};
Signature signatureOf(uint32_t id);
/** Calls it with the message in the buffer. */
void callOperator(uint32_t id, const char*& name);

}  // namespace nbit
