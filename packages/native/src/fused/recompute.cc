// Recipes of results that backward makes again. They are made by the very operators that made the results, so that the
// bits are the same.
#include "fused/recompute.h"

#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"
#include "fused/bias_gelu.h"
#include "fused/next_node.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

namespace nbit {
namespace {

using Maybe = std::optional<at::Tensor>;

Maybe maybe(const at::Tensor& t) { return t.defined() ? Maybe(t) : Maybe(); }
at::Tensor outside(const Maybe& t) {
  if (!t || !t->defined()) return {};
  const auto* impl = t->unsafeGetTensorImpl();
  return at::Tensor(impl->shallow_copy_and_detach(impl->version_counter(), /*allow_tensor_metadata_change=*/true));
}
template <class Signature>
auto operatorOf(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

auto& gradients = *new ForNextNode<std::pair<const void*, GeluGradients>>(1);

class GeluRecipe : public Recipe {
 public:
  GeluRecipe(const at::Tensor& out, const at::Tensor& x, const Maybe& bias, bool tanh, bool needBias)
      : Recipe(out, {outside(x), outside(bias)}), tanh_(tanh), needBias_(needBias) {}

 private:
  at::Tensor make() const override {
    static const auto op = operatorOf<at::Tensor(const at::Tensor&, const Maybe&, bool)>("nbit::bias_gelu");
    return op.call(from(0), maybe(from(1)), tanh_);
  }
  at::Tensor makeWith(const at::Tensor& gradient) const override {
    if (gradient.sizes() != from(0).sizes() || gradient.scalar_type() != from(0).scalar_type() ||
        !gradient.is_contiguous())
      return make();
    static const auto op =
        operatorOf<GeluGradients(const at::Tensor&, const at::Tensor&, const Maybe&, bool, bool, bool)>(
            "nbit::bias_gelu_backward");
    auto [gx, gb, out] = op.call(gradient, from(0), maybe(from(1)), tanh_, needBias_, true);
    gradients.keep(gradient, {from(0).const_data_ptr(), {gx, gb, at::Tensor()}});
    return out;
  }
  const bool tanh_, needBias_;
};

class NormRecipe : public Recipe {
 public:
  NormRecipe(const at::Tensor& out, const at::Tensor& sum, const Maybe& weight, const Maybe& bias, int64_t columns,
             double eps, bool rms)
      : Recipe(out, {outside(sum), outside(weight), outside(bias)}),
        columns_(columns),
        eps_(eps),
        rms_(rms),
        dtype_(out.scalar_type()) {}

 private:
  at::Tensor make() const override {
    using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
    static const auto op = operatorOf<Four(const at::Tensor&, const Maybe&, const Maybe&, const Maybe&, int64_t, double,
                                           bool, at::ScalarType)>("nbit::add_norm");
    return std::get<1>(op.call(from(0), Maybe(), maybe(from(1)), maybe(from(2)), columns_, eps_, rms_, dtype_));
  }
  const int64_t columns_;
  const double eps_;
  const bool rms_;
  const at::ScalarType dtype_;
};

void checkOut(const at::Tensor& out, const at::Tensor& from, const char* what) {
  checks::contiguous(out, "out", out);
  checks::floating(out, "out", true);
  checks::contiguous(from, what, out);
  checks::floating(from, what, true);
  checks::shapeOf(from, what, out, "out");
}
void checkWeight(const Maybe& t, const char* what, const at::Tensor& out, int64_t n) {
  if (!checks::given(t)) return;
  checks::strided(*t, what, out);
  checks::floating(*t, what, true);
  checks::count(*t, what, n);
}
void rememberGelu(const at::Tensor& out, const at::Tensor& x, const Maybe& bias, bool tanh, bool needBias) {
  checkOut(out, x, "x");
  checks::type(x, "x", out.scalar_type());
  NBIT_EXPECT(x.dim() >= 1, x, "x with a last dimension");
  checkWeight(bias, "bias", out, x.size(-1));
  out.unsafeGetTensorImpl()->set_backend_meta(c10::make_intrusive<GeluRecipe>(out, x, bias, tanh, needBias));
}
void rememberNorm(const at::Tensor& out, const at::Tensor& sum, const Maybe& weight, const Maybe& bias, int64_t columns,
                  double eps, bool rms) {
  checkOut(out, sum, "sum");
  TORCH_CHECK_VALUE(columns >= 1 && sum.numel() % columns == 0, "expected columns to divide the ", sum.numel(),
                    " elements of sum. Received: ", columns);
  checkWeight(weight, "weight", out, columns);
  checkWeight(bias, "bias", out, columns);
  out.unsafeGetTensorImpl()->set_backend_meta(
      c10::make_intrusive<NormRecipe>(out, sum, weight, bias, columns, eps, rms));
}

NBIT_OPERATORS(m) {
  // `out` need not be kept for backward: it is bias_gelu of these, or add_norm of this sum.
  m.def("remember_gelu(Tensor out, Tensor x, Tensor? bias, bool tanh, bool need_bias) -> ()");
  m.def("remember_norm(Tensor out, Tensor sum, Tensor? weight, Tensor? bias, int columns, float eps, bool rms) -> ()");
}
NBIT_KERNELS(nbit, CPU, m) {
  m.impl("remember_gelu", rememberGelu);
  m.impl("remember_norm", rememberNorm);
}
NBIT_KERNELS(nbit, CUDA, m) {
  m.impl("remember_gelu", rememberGelu);
  m.impl("remember_norm", rememberNorm);
}

}  // namespace

Recipe::Recipe(const at::Tensor& out, std::vector<at::Tensor> from)
    : from_(std::move(from)),
      data_(out.const_data_ptr()),
      sizes_(out.sizes().vec()),
      strides_(out.strides().vec()),
      version_(static_cast<uint32_t>(out._version())) {
  for (const at::Tensor& t : from_) versions_.push_back(t.defined() ? static_cast<uint32_t>(t._version()) : 0);
}
void Recipe::check() const {
  TORCH_CHECK(
      !c10::GradMode::is_enabled(),
      "expected recompute: false where backward is itself differentiated. Received: results that are made again "
      "in backward");
  for (size_t i = 0; i < from_.size(); i++)
    TORCH_CHECK(!from_[i].defined() || static_cast<uint32_t>(from_[i]._version()) == versions_[i],
                "one of the variables needed for gradient computation has been modified by an inplace operation: what ",
                "a result is made from again is at version ", from_[i]._version(), "; expected version ", versions_[i]);
}
at::Tensor Recipe::again() const {
  check();
  return make();
}
at::Tensor Recipe::againWith(const at::Tensor& gradient) const {
  check();
  return makeWith(gradient);
}

c10::intrusive_ptr<Recipe> recipeOf(const at::Tensor& t) {
  const auto meta = t.unsafeGetTensorImpl()->get_backend_meta_intrusive_ptr();
  const auto* recipe = dynamic_cast<const Recipe*>(meta.get());
  if (recipe == nullptr || t.const_data_ptr() != recipe->data_ || t.sizes() != at::IntArrayRef(recipe->sizes_) ||
      t.strides() != at::IntArrayRef(recipe->strides_) || static_cast<uint32_t>(t._version()) != recipe->version_)
    return {};
  return c10::intrusive_ptr<Recipe>::reclaim_copy(const_cast<Recipe*>(recipe));
}

std::optional<GeluGradients> keptGelu(const at::Tensor& grad, const at::Tensor& x, bool needBias) {
  auto kept = gradients.take(grad);
  if (!kept || kept->first != x.const_data_ptr() || std::get<1>(kept->second).defined() != needBias)
    return std::nullopt;
  return std::move(kept->second);
}

}  // namespace nbit
