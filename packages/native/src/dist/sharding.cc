// Parameters whose memory comes and goes: what a gathered parameter shows, and storages that are freed while tensors
// (views that autograd saved, say) still look at them.
#include "amp/autocast.h"
#include "amp/weight_casts.h"
#include "binding/errors.h"
#include "binding/library.h"

#include <ATen/core/Tensor.h>

namespace nbit::dist {
namespace {

c10::StorageImpl& storageOf(const at::Tensor& flat) {
  TORCH_CHECK_VALUE(flat.has_storage() && flat.is_contiguous() && flat.storage_offset() == 0,
                    "expected a contiguous tensor that begins its storage. Received: another one");
  return *flat.storage().unsafeGetStorageImpl();
}

/**
 * Who reads or writes the memory from here on gets an error. A libtorch that cannot say so tells kernels that ask for
 * more than the storage has.
 */
template <class Storage>
void forbid(Storage& storage, const std::string& why) {
  if constexpr (requires { storage.clear_data_ptr_access_error_msg_(); })
    storage.release_data_and_set_meta_custom_data_ptr_error_msg_(why);
  else storage.set_nbytes(0);
}
template <class Storage>
void permit(Storage& storage, size_t bytes) {
  if constexpr (requires { storage.clear_data_ptr_access_error_msg_(); }) storage.clear_data_ptr_access_error_msg_();
  storage.set_nbytes(bytes);
}

/** Every tensor of the first list shows the memory of its counterpart, in its shape and dtype. Counts as no write. */
void show(at::TensorList tensors, at::TensorList sources) {
  TORCH_CHECK_VALUE(tensors.size() == sources.size(), "expected a source for each of ", tensors.size(),
                    " tensors. Received: ", sources.size());
  for (size_t i = 0; i < tensors.size(); i++) tensors[i].set_data(sources[i]);
  forgetCasts();
  weightsMayHaveChanged();
}

/** `what`: whose memory it is, such as "unit layers.0". */
void freeStorage(const at::Tensor& flat, std::string what) {
  c10::StorageImpl& storage = storageOf(flat);
  if (flat.is_meta()) return;
  storage.set_data_ptr_noswap(c10::DataPtr(nullptr, flat.device()));
  forbid(storage, "expected memory that is there. Received: that of " + what + ", " + kFreedParameter +
                      " between its uses. Call the module that has them instead of reading them, or read them in "
                      "summonFullParams(module, () => …)");
}

/** Memory again, of the same size; what is in it is undefined. */
void allocateStorage(const at::Tensor& flat) {
  c10::StorageImpl& storage = storageOf(flat);
  if (flat.is_meta()) return;
  if (storage._mutable_data_ptr_no_checks().get() != nullptr) return;
  const auto bytes = static_cast<size_t>(flat.numel()) * flat.itemsize();
  storage.set_data_ptr_noswap(storage.allocator()->allocate(bytes));
  permit(storage, bytes);
}

}  // namespace
}  // namespace nbit::dist

namespace nbit {
using namespace dist;
NBIT_REGISTER_AS(defineSharding, FRAGMENT, "nbit_dist", std::nullopt, m) {
  const auto def = [&m](const char* schema, auto fn) {
    m.def(schema, torch::dispatch(c10::DispatchKey::CompositeExplicitAutograd, fn));
  };
  def("show_(Tensor[] tensors, Tensor[] sources) -> ()", TORCH_FN(show));
  def("free_storage_(Tensor flat, str what) -> ()", TORCH_FN(freeStorage));
  def("allocate_storage_(Tensor flat) -> ()", TORCH_FN(allocateStorage));
}
}  // namespace nbit
