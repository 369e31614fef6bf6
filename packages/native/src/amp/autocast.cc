// The thread's autocast state, as PyTorch keeps it. Policy is the dispatcher's; scoping is TypeScript's
// (amp/autocast.ts).
#include "amp/autocast.h"

#include "binding/core.h"
#include "entries/autocast.h"

#include <ATen/autocast_mode.h>

namespace nbit {

void forgetCasts() {
  if (!at::autocast::is_autocast_cache_enabled()) return;
  if (at::autocast::is_autocast_enabled(c10::kCPU) || at::autocast::is_autocast_enabled(c10::kCUDA))
    at::autocast::clear_cache();
}

void entries::autocastGet(const Args& a) {
  const auto type = a.deviceType(0);
  js->buffer[0] = at::autocast::is_autocast_enabled(type);
  js->buffer[1] = static_cast<double>(at::autocast::get_autocast_dtype(type));
  js->buffer[2] = at::autocast::is_autocast_cache_enabled();
}
void entries::autocastSet(const Args& a) {
  const auto type = a.deviceType(0);
  at::autocast::set_autocast_enabled(type, a.flag(1));
  at::autocast::set_autocast_dtype(type, a.dtype(2));
  at::autocast::set_autocast_cache_enabled(a.flag(3));
}
double entries::autocastIncrementNesting() { return static_cast<double>(at::autocast::increment_nesting()); }
double entries::autocastDecrementNesting() { return static_cast<double>(at::autocast::decrement_nesting()); }
void entries::autocastClearCache() { at::autocast::clear_cache(); }

bool entries::muteWarnings(const Args& a) {
  const bool before = js->warningsMuted;
  js->warningsMuted = a.flag(0);
  return before;
}

}  // namespace nbit
