// What the entries of our own operators check before anything runs: each failure names the argument, what was expected
// and what was received. Kernels read memory as it lies, so a wrong size that passed here would be read beyond a
// tensor.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

namespace nbit {

/** `float32 [2, 3] on cpu`, and what is unusual about it. */
std::string described(const at::Tensor& t);

/** The message is made only when the condition fails. */
#define NBIT_EXPECT(condition, received, ...) \
  TORCH_CHECK_VALUE(condition, "expected ", __VA_ARGS__, ". Received: ", ::nbit::described(received))
#define NBIT_EXPECT_TYPE(condition, received, ...) \
  TORCH_CHECK_TYPE(condition, "expected ", __VA_ARGS__, ". Received: ", ::nbit::described(received))

namespace checks {

using Maybe = std::optional<at::Tensor>;

inline bool given(const Maybe& t) { return t.has_value() && t->defined(); }

/** Memory of its own that ATen's operators, but not kernels, may read in any strides. */
inline void strided(const at::Tensor& t, const char* what, const at::Tensor& like) {
  TORCH_CHECK_VALUE(t.defined(), "expected ", what, " to be a tensor. Received: none");
  NBIT_EXPECT(t.layout() == c10::kStrided && !t.is_quantized() && t.device() == like.device(), t, what,
              " to be strided on ", like.device());
}
/** Elements one after the other, as the kernels read them. */
inline void contiguous(const at::Tensor& t, const char* what, const at::Tensor& like) {
  strided(t, what, like);
  NBIT_EXPECT(t.is_contiguous() && !t.is_conj() && !t.is_neg() && !t._is_zerotensor(), t, what, " to be contiguous");
}
/** float32, bfloat16, float16 or, where `wide`, float64. */
inline void floating(const at::Tensor& t, const char* what, bool wide) {
  const auto d = t.scalar_type();
  NBIT_EXPECT_TYPE(d == at::kFloat || d == at::kBFloat16 || d == at::kHalf || (wide && d == at::kDouble), t, what,
                   " in float32, bfloat16", wide ? ", float16 or float64" : " or float16");
}
inline void type(const at::Tensor& t, const char* what, at::ScalarType wanted) {
  NBIT_EXPECT_TYPE(t.scalar_type() == wanted, t, what, " in ", c10::getDtypeNames(wanted).first);
}
inline void count(const at::Tensor& t, const char* what, int64_t n) {
  NBIT_EXPECT(t.numel() == n, t, what, " of ", n, n == 1 ? " element" : " elements");
}
inline void shapeOf(const at::Tensor& t, const char* what, const at::Tensor& like, const char* name) {
  NBIT_EXPECT(t.sizes() == like.sizes(), t, what, " of the shape of ", name, ", ", like.sizes());
}
/** One number each for `n` channels, columns or rows. */
inline void vector(const at::Tensor& t, const char* what, int64_t n) {
  NBIT_EXPECT(t.dim() == 1 && t.size(0) == n, t, what, " of shape [", n, "]");
}

/** Written memory belongs to one argument alone; an expanded tensor would be written many times at one place. */
struct Named {
  const at::Tensor* tensor;
  const char* name;
};
void apart(const std::vector<Named>& written, const std::vector<Named>& read);

}  // namespace checks

/** Lists of which a kernel takes the first elements together, then the second, …: as many in each (or none), of as many
 * elements, all in one piece of memory. Single numbers are steps. */
struct NamedList {
  const char* name;
  at::TensorList tensors;
};
void checkSideBySide(std::initializer_list<NamedList> lists);

/** Gives every operator of ours an answer where it has no kernel: on another device, in another layout. Once, after all
 * are registered. */
void refuseWhereThereIsNoKernel();

}  // namespace nbit
