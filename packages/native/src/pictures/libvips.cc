#include "pictures/libvips.h"

#include <dlfcn.h>
#include <link.h>

#include <cstring>
#include <mutex>

namespace nbit::pictures {
namespace {

/** Called for each loaded library, until it returns other than 0. */
int isLibvips(dl_phdr_info* info, size_t, void* found) {
  const char* path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
  const char* slash = std::strrchr(path, '/');
  // sharp's own carries C and C++ in one file; a system's has the C functions in libvips.so.
  if (std::strncmp(slash == nullptr ? path : slash + 1, "libvips", 7) != 0) return 0;
  void* library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr || dlsym(library, "vips_region_fetch") == nullptr) return 0;
  *static_cast<void**>(found) = library;  // open for as long as the process lasts
  return 1;
}

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

const Libvips* loadedLibvips() {
  static std::mutex mutex;
  static Libvips vips;
  static bool ready = false;
  const std::lock_guard<std::mutex> lock(mutex);
  if (ready) return &vips;
  void* library = nullptr;
  if (dl_iterate_phdr(isLibvips, &library) == 0) return nullptr;  // asked again the next time: sharp may come yet
  ready = find(library, "vips_image_new_from_buffer", vips.newFromBuffer) &&
          find(library, "vips_image_get_width", vips.width) && find(library, "vips_image_get_height", vips.height) &&
          find(library, "vips_image_get_bands", vips.bands) && find(library, "vips_image_get_format", vips.format) &&
          find(library, "vips_image_get_interpretation", vips.interpretation) &&
          find(library, "vips_region_new", vips.newRegion) && find(library, "vips_region_fetch", vips.fetch) &&
          find(library, "g_object_unref", vips.unref) && find(library, "g_free", vips.free) &&
          find(library, "vips_error_clear", vips.clearErrors);
  return ready ? &vips : nullptr;
}

}  // namespace nbit::pictures
