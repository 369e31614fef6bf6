// The thread's autocast state, as PyTorch keeps it. Policy is the dispatcher's; scoping is TypeScript's (amp/autocast.ts).
#include "core.h"

#include <ATen/autocast_mode.h>

namespace nbit {

/** Something was written in place: casts of it that a region has cached are of the old values. */
void forgetCasts() {
  if (!at::autocast::is_autocast_cache_enabled()) return;
  if (at::autocast::is_autocast_enabled(c10::kCPU) || at::autocast::is_autocast_enabled(c10::kCUDA)) at::autocast::clear_cache();
}

// (deviceType) → buffer: enabled, dtype, cache enabled
NBIT_FN(autocastGet) {
  Args a(env, info);
  NBIT_TRY
  const auto type = a.deviceType(0);
  js->buffer[0] = at::autocast::is_autocast_enabled(type);
  js->buffer[1] = static_cast<double>(at::autocast::get_autocast_dtype(type));
  js->buffer[2] = at::autocast::is_autocast_cache_enabled();
  return nullptr;
  NBIT_CATCH("autocast")
}
// (deviceType, enabled, dtype, cacheEnabled)
NBIT_FN(autocastSet) {
  Args a(env, info);
  NBIT_TRY
  const auto type = a.deviceType(0);
  at::autocast::set_autocast_enabled(type, a.flag(1));
  at::autocast::set_autocast_dtype(type, a.dtype(2));
  at::autocast::set_autocast_cache_enabled(a.flag(3));
  return nullptr;
  NBIT_CATCH("autocast")
}
NBIT_FN(autocastIncrementNesting) { return toJs(env, static_cast<double>(at::autocast::increment_nesting())); }
NBIT_FN(autocastDecrementNesting) { return toJs(env, static_cast<double>(at::autocast::decrement_nesting())); }
NBIT_FN(autocastClearCache) {
  NBIT_TRY
  at::autocast::clear_cache();
  return nullptr;
  NBIT_CATCH("autocast")
}

/** Warnings of libtorch are dropped from here on, or given again. Gives what it was. */
NBIT_FN(muteWarnings) {
  Args a(env, info);
  NBIT_TRY
  const bool before = js->warningsMuted;
  js->warningsMuted = a.flag(0);
  return toJs(env, before);
  NBIT_CATCH("muteWarnings")
}

std::vector<Entry> autocastEntries() {
  return {{"autocastGet", autocastGet}, {"autocastSet", autocastSet}, {"autocastIncrementNesting", autocastIncrementNesting}, {"autocastDecrementNesting", autocastDecrementNesting},
          {"autocastClearCache", autocastClearCache}, {"muteWarnings", muteWarnings}};
}

}  // namespace nbit
