// What this host or a plugin refuses. It becomes an XlaError in one place, node.cc.
#pragma once
#include <exception>
#include <string>
#include <utility>

namespace nbit::pjrt {
struct Failure : std::exception {
  std::string code, message;
  Failure(std::string code, std::string message) : code(std::move(code)), message(std::move(message)) {}
  const char* what() const noexcept override { return message.c_str(); }
};
}  // namespace nbit::pjrt
