// What an operator takes and returns, read from its schema.
#pragma once
#include <ATen/core/function_schema.h>

namespace nbit {

struct Kind {
  char kind = '?';               // one letter, the same that JavaScript reads in a schema
  bool optional = false;         // T?
  bool list = false;             // T[]
  bool elementOptional = false;  // T?[]
};
Kind kindOf(c10::TypePtr type);

struct Return {
  Kind kind;
  int alias = -1;  // the written argument that this result is: JavaScript returns that object
};
Return returnOf(const c10::FunctionSchema& schema, const c10::Argument& result);

}  // namespace nbit
