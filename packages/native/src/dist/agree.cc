// Ranks compare what they are about to do.
#include "binding/errors.h"
#include "dist/collectives.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cstring>
#include <sstream>

namespace nbit::dist {
namespace {

constexpr size_t kText = 192, kHash = 17, kSignature = kText + kHash;

/** FNV-1a: of what is too long to be compared as a text. */
std::string hashOf(const std::string& text) {
  uint64_t h = 14695981039346656037ull;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  std::ostringstream s;
  s << std::hex << h;
  return s.str();
}

}  // namespace

void agree(const Group& group, const Operation& operation, const std::string& more, bool always) {
  const auto& backend = group.control || !always ? group.control : group.cpu;
  if (!backend || group.alone()) return;
  auto mine = at::zeros({static_cast<int64_t>(kSignature)}, at::kByte);
  auto* signature = reinterpret_cast<char*>(mine.mutable_data_ptr<uint8_t>());
  const std::string text = operation.what.substr(0, kText - 1), hash = hashOf(operation.what + more);
  std::memcpy(signature, text.data(), text.size());
  std::memcpy(signature + kText, hash.data(), hash.size());
  auto all = at::empty({static_cast<int64_t>(kSignature) * group.size}, at::kByte);
  waitFor(group, backend->_allgather_base(all, mine), operation);
  const auto* bytes = reinterpret_cast<const char*>(all.const_data_ptr<uint8_t>());
  const auto of = [&](int r) { return bytes + static_cast<size_t>(r) * kSignature; };
  const auto same = [&](int r) { return std::memcmp(of(r), signature, kSignature) == 0; };
  bool equal = true, texts = true;
  for (int r = 0; r < group.size; r++) {
    equal = equal && same(r);
    texts = texts && text == of(r);
  }
  if (equal) return;
  std::ostringstream s;
  s << group.monitor->here() << ": expected all ranks to call the same collective. Received: ";
  for (int i = 0; i < group.size && i < 8; i++)
    s << (i ? ", " : "") << "rank " << group.ranks[static_cast<size_t>(i)] << " " << of(i)
      << (texts ? (same(i) ? ", as here" : ", of other tensors, names or options than here") : "");
  if (group.size > 8) s << ", …";
  s << ". Shapes and dtypes must be equal too: look where the scripts, or their data, differ";
  fail("ERR_DIST_MISMATCH", s.str());
}

}  // namespace nbit::dist
