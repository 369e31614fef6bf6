// Photographs on their way to tensors. sharp's own way to raw pixels hands line after line from one thread to another
// and copies them twice: 1.8 ms for 500 × 375, of which the decoder takes 0.7. Here one thread asks libvips for strips
// of the image and writes them into the tensor. Whatever is not a plain photograph is left to sharp, errors too.
#include "binding/args.h"
#include "binding/core.h"
#include "entries/pictures.h"
#include "pictures/libvips.h"

#include <ATen/ops/empty.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace nbit {
namespace {

using pictures::Libvips;

/** Lines at a time: enough that asking costs nothing, few enough to stay in the cache. */
constexpr int kStrip = 64;
/** sharp's own limit of pixels, 0x3fff². Beyond it sharp says no. */
constexpr int64_t kMostPixels = int64_t{0x3fff} * 0x3fff;
constexpr size_t kMostBytes = size_t{1} << 31;

struct Unref {
  const Libvips* vips;
  void operator()(void* object) const { vips->unref(object); }
};
using Object = std::unique_ptr<void, Unref>;

bool isJpeg(const std::vector<char>& bytes) {
  return bytes.size() > 3 && std::memcmp(bytes.data(), "\xff\xd8\xff", 3) == 0;
}

bool readFile(const std::string& path, std::vector<char>& bytes) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (file == nullptr) return false;
  size_t filled = 0;
  bytes.resize(size_t{1} << 16);
  for (;;) {
    filled += std::fread(bytes.data() + filled, 1, bytes.size() - filled, file.get());
    if (filled < bytes.size()) break;
    if (bytes.size() >= kMostBytes) return false;
    bytes.resize(bytes.size() * 2);
  }
  bytes.resize(filled);
  return std::ferror(file.get()) == 0;
}

/** uint8, [3, H, W], in memory pixel by pixel; undefined for what sharp is to see. */
at::Tensor decode(const Libvips& vips, const std::vector<char>& bytes) {
  if (!isJpeg(bytes)) return {};
  const Object image(vips.newFromBuffer(bytes.data(), bytes.size(), "[access=sequential,fail_on=error]", nullptr),
                     Unref{&vips});
  if (image == nullptr) return {};
  const int width = vips.width(image.get()), height = vips.height(image.get());
  if (vips.bands(image.get()) != 3 || vips.format(image.get()) != Libvips::uchar ||
      vips.interpretation(image.get()) != Libvips::srgb || width <= 0 || height <= 0 ||
      int64_t{width} * height > kMostPixels)
    return {};
  const Object region(vips.newRegion(image.get()), Unref{&vips});
  if (region == nullptr) return {};
  at::Tensor pixels = at::empty({height, width, 3}, at::TensorOptions().dtype(at::kByte));
  auto* to = pixels.mutable_data_ptr<uint8_t>();
  for (int top = 0; top < height; top += kStrip) {
    const int lines = std::min(kStrip, height - top);
    const size_t wanted = size_t{3} * static_cast<size_t>(width) * static_cast<size_t>(lines);
    size_t length = 0;
    void* strip = vips.fetch(region.get(), 0, top, width, lines, &length);
    const bool whole = strip != nullptr && length == wanted;
    if (whole) std::memcpy(to, strip, wanted);
    vips.free(strip);
    if (!whole) return {};
    to += wanted;
  }
  return pixels.permute({2, 0, 1});
}

struct Decoding {
  const Libvips* vips;
  std::string path;         // or
  std::vector<char> bytes;  // copied: JavaScript may give its memory away meanwhile
  napi_async_work work = nullptr;
  napi_ref done = nullptr;
  at::Tensor pixels;
};

void execute(napi_env, void* data) {
  auto& d = *static_cast<Decoding*>(data);
  try {
    if (d.path.empty() || readFile(d.path, d.bytes)) d.pixels = decode(*d.vips, d.bytes);
  } catch (const std::exception&) {
    d.pixels = at::Tensor();  // no memory: sharp's way says so
  }
  if (!d.pixels.defined()) d.vips->clearErrors();
}

void complete(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Decoding> d(static_cast<Decoding*>(data));
  napi_value undefined, done, argument, result;
  napi_get_undefined(env, &undefined);
  napi_get_reference_value(env, d->done, &done);
  napi_delete_reference(env, d->done);
  napi_delete_async_work(env, d->work);
  double handle = 0;
  if (enter(env) && d->pixels.defined()) {
    try {
      handle = newHandle(std::move(d->pixels));
    } catch (const std::exception&) {
      // No slot is left: sharp's way says so.
    }
  }
  argument = toJs(env, handle);
  napi_call_function(env, undefined, done, 1, &argument, &result);
}

}  // namespace

bool entries::decodePicture(const Args& a) {
  const Libvips* vips = pictures::loadedLibvips();
  if (vips == nullptr) return false;
  auto d = std::make_unique<Decoding>();
  d->vips = vips;
  if (a.type(0) == napi_string) {
    d->path = a.text(0);
    if (d->path.empty() || d->path.find('\0') != std::string::npos) return false;
  } else {
    napi_typedarray_type type;
    size_t length = 0;
    void* bytes = nullptr;
    if (a.count < 1 || napi_get_typedarray_info(a.env, a.at[0], &type, &length, &bytes, nullptr, nullptr) != napi_ok ||
        type != napi_uint8_array)
      a.failAt(0, "a path, or a Uint8Array");
    d->bytes.assign(static_cast<char*>(bytes), static_cast<char*>(bytes) + length);
    if (!isJpeg(d->bytes)) return false;
  }
  d->done = a.function(1);
  if (napi_create_async_work(a.env, nullptr, toJs(a.env, std::string("nbit picture")), execute, complete, d.get(),
                             &d->work) != napi_ok ||
      napi_queue_async_work(a.env, d->work) != napi_ok)
    fail("ERR_ARGUMENT", "native: cannot begin to decode a picture");
  (void)d.release();
  return true;
}

}  // namespace nbit
