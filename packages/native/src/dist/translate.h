// Exceptions of c10d, gloo and NCCL, which are of many classes, as failures with a code.
#pragma once
#include "dist/failure.h"

#include <exception>
#include <string>

namespace nbit::dist {

/** `during`: what was being done, put before the reason; may be empty. */
Failure translate(std::exception_ptr reason, const std::string& during = "");

}  // namespace nbit::dist
