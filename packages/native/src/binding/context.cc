// What this libtorch and this machine are, and the switches of the whole process.
#include "binding/context.h"

#include "binding/core.h"
#include "entries/context.h"
#include "program/recorder.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/Dict.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_nnpack_available.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/DeviceType.h>
#include <c10/util/Logging.h>
#include <torch/version.h>

namespace nbit {

void quietNnpack() {
  const int level = FLAGS_caffe2_log_level;
  FLAGS_caffe2_log_level = 3;  // below fatal
  const bool available = at::_nnpack_available();
  FLAGS_caffe2_log_level = level;
  if (!available) at::globalContext().setUserEnabledNNPACK(false);
}

namespace {
// More than a system gives ends the process in the threads' own library.
constexpr int64_t kMostThreads = 1024;
int threadsAt(const Args& a) {
  const int64_t n = a.integer(0);
  if (n < 1 || n > kMostThreads)
    fail("ERR_ARGUMENT",
         "expected from 1 to " + std::to_string(kMostThreads) + " threads. Received: " + std::to_string(n));
  return static_cast<int>(n);
}
}  // namespace

void entries::setThreads(const Args& a) {
  program::settingChanges();
  at::set_num_threads(threadsAt(a));
}
double entries::getThreads() { return static_cast<double>(at::get_num_threads()); }
double entries::getInteropThreads() { return static_cast<double>(at::get_num_interop_threads()); }
void entries::setInteropThreads(const Args& a) { at::set_num_interop_threads(threadsAt(a)); }
napi_value entries::info(napi_env env) {
  std::string devices;
  for (int i = 0; i < static_cast<int>(c10::COMPILE_TIME_MAX_DEVICE_TYPES); i++) {
    if (i) devices += " ";
    devices += c10::DeviceTypeName(static_cast<c10::DeviceType>(i), true);
  }
  std::string dtypes;
  for (int i = 0; i < static_cast<int>(c10::ScalarType::NumOptions); i++) {
    if (i) dtypes += " ";
    dtypes += c10::toString(static_cast<c10::ScalarType>(i));
  }
  napi_value o;
  napi_create_object(env, &o);
  const auto set = [&](const char* key, napi_value v) { napi_set_named_property(env, o, key, v); };
  set("version", toJs(env, std::string(TORCH_VERSION)));
  set("cpuCapability", toJs(env, at::get_cpu_capability()));
  set("parallel", toJs(env, at::get_parallel_info()));
  set("config", toJs(env, at::show_config()));
  set("mkldnn", toJs(env, at::globalContext().hasMKLDNN()));
  set("mkl", toJs(env, at::globalContext().hasMKL()));
  set("cuda", toJs(env, at::hasCUDA()));
  set("cudaDevices",
      toJs(env, static_cast<double>(
                    at::hasCUDA() ? at::globalContext().getAcceleratorHooksInterface(at::kCUDA).deviceCount() : 0)));
  set("devices", toJs(env, devices));
  set("dtypes", toJs(env, dtypes));
  return o;
}
namespace {

/** A way to compute scaled dot product attention: whether it may be taken, and, by the name with "First", before
 * others. */
struct SdpSwitch {
  const char* name;
  at::SDPBackend backend;
  void (at::Context::*set)(bool);
  bool (at::Context::*get)() const;
};
const SdpSwitch SDP_SWITCHES[] = {
    {"sdpFlash", at::SDPBackend::flash_attention, &at::Context::setSDPUseFlash, &at::Context::userEnabledFlashSDP},
    {"sdpMemEfficient", at::SDPBackend::efficient_attention, &at::Context::setSDPUseMemEfficient,
     &at::Context::userEnabledMemEfficientSDP},
    {"sdpMath", at::SDPBackend::math, &at::Context::setSDPUseMath, &at::Context::userEnabledMathSDP},
    {"sdpCudnn", at::SDPBackend::cudnn_attention, &at::Context::setSDPUseCuDNN, &at::Context::userEnabledCuDNNSDP},
    {"sdpOverrideable", at::SDPBackend::overrideable, &at::Context::setSDPUseOverrideable,
     &at::Context::userEnabledOverrideableSDP},
};
const SdpSwitch* sdpSwitch(const std::string& name) {
  for (const SdpSwitch& each : SDP_SWITCHES)
    if (name == each.name || name == std::string(each.name) + "First") return &each;
  return nullptr;
}
/** Before all others; these keep their order. */
void preferSdp(at::Context& context, at::SDPBackend first) {
  std::vector<int64_t> order{static_cast<int64_t>(first)};
  for (const at::SDPBackend each : context.sDPPriorityOrder())
    if (each != first) order.push_back(static_cast<int64_t>(each));
  context.setSDPPriorityOrder(order);
}

}  // namespace

void entries::setSwitch(const Args& a) {
  program::settingChanges();
  const std::string name = a.text(0);
  const bool on = a.flag(1);
  auto& context = at::globalContext();
  if (name == "deterministicAlgorithms") context.setDeterministicAlgorithms(on, false);
  else if (name == "deterministicWarnOnly") context.setDeterministicAlgorithms(on, on);
  else if (name == "deterministicFillUninitialized") context.setDeterministicFillUninitializedMemory(on);
  else if (name == "cudnnBenchmark") context.setBenchmarkCuDNN(on);
  else if (name == "cudnnDeterministic") context.setDeterministicCuDNN(on);
  else if (name == "tf32Matmul") context.setAllowTF32CuBLAS(on);
  else if (name == "tf32Cudnn") context.setAllowTF32CuDNN(on);
  else if (name == "fp16ReducedReduction") context.setAllowFP16ReductionCuBLAS(on);
  else if (const SdpSwitch* sdp = sdpSwitch(name)) {
    if (name == sdp->name) (context.*(sdp->set))(on);
    else if (on) preferSdp(context, sdp->backend);
  } else if (name == "flushDenormal") {
    if (!context.setFlushDenormal(on)) fail("NBIT_UNSUPPORTED", "this CPU cannot flush denormals");
  } else fail("ERR_ARGUMENT", "unknown switch: " + name);
}
bool entries::getSwitch(const Args& a) {
  const std::string name = a.text(0);
  auto& context = at::globalContext();
  bool on = false;
  if (name == "deterministicAlgorithms") on = context.deterministicAlgorithms();
  else if (name == "deterministicWarnOnly") on = context.deterministicAlgorithmsWarnOnly();
  else if (name == "cudnnBenchmark") on = context.benchmarkCuDNN();
  else if (name == "cudnnDeterministic") on = context.deterministicCuDNN();
  else if (name == "tf32Matmul") on = context.allowTF32CuBLAS();
  else if (name == "tf32Cudnn") on = context.allowTF32CuDNN();
  else if (const SdpSwitch* sdp = sdpSwitch(name))
    on = name == sdp->name ? (context.*(sdp->get))() : context.sDPPriorityOrder()[0] == sdp->backend;
  else fail("ERR_ARGUMENT", "unknown switch: " + name);
  return on;
}
void entries::setFloat32MatmulPrecision(const Args& a) {
  program::settingChanges();
  at::globalContext().setFloat32MatmulPrecision(a.text(0));
}
std::string entries::getFloat32MatmulPrecision() {
  switch (at::globalContext().float32MatmulPrecision()) {
    case at::Float32MatmulPrecision::HIGHEST: return std::string("highest");
    case at::Float32MatmulPrecision::HIGH: return std::string("high");
    default: return std::string("medium");
  }
}
double entries::pow(const Args& a) { return std::pow(a.number(0), a.number(1)); }
void entries::setDefaultDtype(const Args& a) {
  const at::ScalarType dtype = a.dtype(0);
  if (!at::isFloatingType(dtype)) fail("ERR_ARGUMENT", "expected the code of a floating point dtype");
  c10::set_default_dtype(c10::scalarTypeToTypeMeta(dtype));
}
double entries::getDefaultDtype() { return static_cast<double>(c10::get_default_dtype_as_scalartype()); }
bool entries::hasKernel(const Args& a) {
  const auto key = c10::parseDispatchKey(a.text(0));
  auto handle = c10::Dispatcher::singleton().findOp({a.text(1), a.text(2)});
  return handle && handle->hasKernelForDispatchKey(key);
}
std::string entries::kernelsOf(const Args& a) {
  const auto key = c10::parseDispatchKey(a.text(0));
  std::string o;
  for (const auto& name : c10::Dispatcher::singleton().getRegistrationsForDispatchKey(key))
    o += name.name + "." + name.overload_name + "\n";
  return o;
}

}  // namespace nbit
