// CUDA devices. Compiled, as its neighbours, only against a libtorch with CUDA.
#include "binding/core.h"
#include "entries/cuda.h"

#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {

napi_value entries::cudaProperties(const Args& a) {
  const auto* p = at::cuda::getDeviceProperties(a.deviceIndex(0));
  napi_value o;
  napi_create_object(a.env, &o);
  napi_set_named_property(a.env, o, "name", toJs(a.env, std::string(p->name)));
  napi_set_named_property(a.env, o, "major", toJs(a.env, static_cast<double>(p->major)));
  napi_set_named_property(a.env, o, "minor", toJs(a.env, static_cast<double>(p->minor)));
  napi_set_named_property(a.env, o, "totalMemory", toJs(a.env, static_cast<double>(p->totalGlobalMem)));
  napi_set_named_property(a.env, o, "multiprocessors", toJs(a.env, static_cast<double>(p->multiProcessorCount)));
  napi_set_named_property(a.env, o, "l2CacheSize", toJs(a.env, static_cast<double>(p->l2CacheSize)));
  return o;
}
void entries::cudaVersions() {
  int runtime = 0, driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  js->buffer[0] = runtime;
  js->buffer[1] = driver;
}
void entries::cudaSynchronize(const Args& a) {
  const c10::cuda::CUDAGuard guard(a.deviceIndex(0));
  c10::cuda::device_synchronize();
}
double entries::cudaCurrentDevice() { return static_cast<double>(c10::cuda::current_device()); }
void entries::cudaSetDevice(const Args& a) { c10::cuda::set_device(a.deviceIndex(0)); }
void entries::cudaSyncDebug(const Args& a) {
  c10::cuda::warning_state().set_sync_debug_mode(
      static_cast<c10::cuda::SyncDebugMode>(codeBelow(a.number(0), 3, "a mode")));
}

}  // namespace nbit
