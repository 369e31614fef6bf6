#include "dist/translate.h"

#include "binding/errors.h"

#include <c10/util/Exception.h>

#include <array>
#include <cstring>

namespace nbit::dist {
namespace {

struct Pattern {
  const char* text;
  const char* code;
};
// In gloo's, c10d's and NCCL's own words, most particular first.
constexpr std::array kPatterns{
    Pattern{"EADDRINUSE", "ERR_DIST_ADDRESS_IN_USE"},
    Pattern{"ddress already in use", "ERR_DIST_ADDRESS_IN_USE"},
    Pattern{"Unable to find address for", "ERR_DIST_INTERFACE"},
    Pattern{"nable to find interface", "ERR_DIST_INTERFACE"},
    Pattern{"ifa != nullptr", "ERR_DIST_INTERFACE"},
    Pattern{"makeDeviceForInterface", "ERR_DIST_INTERFACE"},
    Pattern{"no socket interface found", "ERR_DIST_INTERFACE"},
    Pattern{"onnection closed by peer", "ERR_DIST_PEER_LOST"},
    Pattern{"onnection reset by peer", "ERR_DIST_PEER_LOST"},
    Pattern{"roken pipe", "ERR_DIST_PEER_LOST"},
    Pattern{"onnection refused", "ERR_DIST_CONNECT"},
    Pattern{"was aborted", "ERR_DIST_PEER_LOST"},
    Pattern{"remote process exited or there was a network error", "ERR_DIST_PEER_LOST"},
    Pattern{"imed out", "ERR_DIST_TIMEOUT"},
    Pattern{"imeout", "ERR_DIST_TIMEOUT"},
    Pattern{"failed to recv", "ERR_DIST_PEER_LOST"},
    Pattern{"failed to send", "ERR_DIST_PEER_LOST"},
    Pattern{"could not be resolved", "ERR_DIST_CONNECT"},
    Pattern{"failed to connect", "ERR_DIST_CONNECT"},
    Pattern{"Name or service not known", "ERR_DIST_CONNECT"},
};

const char* codeOf(const char* message) {
  for (const auto& [text, code] : kPatterns)
    if (std::strstr(message, text)) return code;
  return "ERR_DIST";
}

/** The first line: C++ places and backtraces follow it. */
std::string firstLine(const char* message) {
  const char* end = std::strchr(message, '\n');
  return end ? std::string(message, end) : std::string(message);
}

Failure describe(const char* message, const std::string& during) {
  const std::string line = firstLine(message);
  return {codeOf(message), during.empty() ? line : during + ": " + line};
}

}  // namespace

Failure translate(std::exception_ptr reason, const std::string& during) {
  try {
    std::rethrow_exception(reason);
  } catch (const CodedError& e) { return {e.code, e.what()}; } catch (const c10::Error& e) {
    return describe(e.what_without_backtrace(), during);
  } catch (const std::exception& e) { return describe(e.what(), during); } catch (...) {
    return {"ERR_DIST", during + ": unknown C++ exception"};
  }
}

}  // namespace nbit::dist
