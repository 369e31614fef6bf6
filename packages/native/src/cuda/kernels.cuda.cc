// The assembler puts the files into the addon as they are: an edit to a kernel compiles this file again, and no other.
#include "cuda/kernels.h"

#define NBIT_EMBED(id, path)                                                               \
  asm(".section .rodata\nnbit_kernel_" #id ":\n.incbin \"" path "\"\n.byte 0\n.previous"); \
  extern "C" __attribute__((visibility("hidden"))) const char nbit_kernel_##id[];

#define NBIT_KERNEL_HEADER(id, include, path) NBIT_EMBED(id, path)
#define NBIT_KERNEL_SOURCE(id, path) NBIT_EMBED(id, path)
#include "kernels.inc"
#undef NBIT_KERNEL_HEADER
#undef NBIT_KERNEL_SOURCE

namespace nbit::kernels {

#define NBIT_KERNEL_HEADER(id, include, path)
#define NBIT_KERNEL_SOURCE(id, path) const Source id{#id, nbit_kernel_##id};
#include "kernels.inc"
#undef NBIT_KERNEL_HEADER
#undef NBIT_KERNEL_SOURCE

#define NBIT_KERNEL_HEADER(id, include, path) {include, nbit_kernel_##id},
#define NBIT_KERNEL_SOURCE(id, path)
const Source headers[] = {
#include "kernels.inc"
};
const int headerCount = sizeof(headers) / sizeof(headers[0]);

}  // namespace nbit::kernels
