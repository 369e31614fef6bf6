// The few functions of libvips that decoding needs, of the copy that sharp has loaded. libvips has no stable C++
// interface and its headers are not there; its C functions have been the same since 8.8, and no structure is looked
// into.
#pragma once
#include <cstddef>

namespace nbit::pictures {

struct Libvips {
  void* (*newFromBuffer)(const void* bytes, size_t length, const char* options, ...);
  int (*width)(const void* image);
  int (*height)(const void* image);
  int (*bands)(const void* image);
  int (*format)(const void* image);
  int (*interpretation)(const void* image);
  void* (*newRegion)(void* image);
  void* (*fetch)(void* region, int left, int top, int width, int height, size_t* length);
  void (*unref)(void* object);
  void (*free)(void* memory);
  void (*clearErrors)();

  /** Of VipsBandFormat and VipsInterpretation: numbers that libvips writes into files. */
  static constexpr int uchar = 0, srgb = 22;
};

/** libvips as it is loaded in this process by whomever; null where it is not, or lacks a function. */
const Libvips* loadedLibvips();

}  // namespace nbit::pictures
