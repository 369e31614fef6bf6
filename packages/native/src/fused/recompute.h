// Results that backward makes again, from what is kept anyhow, in place of keeping them.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/TensorImpl.h>

#include <vector>

namespace nbit {

/** How a tensor is made: carried by the tensor itself, and by those who would have kept it. */
class Recipe : public c10::BackendMeta {
 public:
  /** @throws as libtorch does, where what it is made from has been written since. */
  at::Tensor again() const;
  /** The same, where its gradient is at hand: a kernel that has a use for both may do the next node's work, and leave
   * it there (next_node.h). */
  at::Tensor againWith(const at::Tensor& gradient) const;

 protected:
  Recipe(const at::Tensor& out, std::vector<at::Tensor> from);
  const at::Tensor& from(size_t i) const { return from_[i]; }
  virtual at::Tensor make() const = 0;
  virtual at::Tensor makeWith(const at::Tensor&) const { return make(); }

 private:
  friend c10::intrusive_ptr<Recipe> recipeOf(const at::Tensor& t);
  void check() const;
  std::vector<at::Tensor> from_;  // outside of the graph, with the version counters of the originals
  std::vector<uint32_t> versions_;
  const void* data_;
  std::vector<int64_t> sizes_, strides_;
  uint32_t version_;
};

/** The recipe of a tensor that is as it was made; null where it has none. */
c10::intrusive_ptr<Recipe> recipeOf(const at::Tensor& t);

}  // namespace nbit
