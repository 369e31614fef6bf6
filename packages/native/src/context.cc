// What this libtorch and this machine are, and the switches of the whole process.
#include "core.h"

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

/** Where NNPACK cannot run, every convolution that would ask for it says so on stderr, thousands of times an epoch. Ask once, in silence, and switch it off: results stay the same. */
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
  if (n < 1 || n > kMostThreads) fail("ERR_ARGUMENT", "expected from 1 to " + std::to_string(kMostThreads) + " threads. Received: " + std::to_string(n));
  return static_cast<int>(n);
}
}  // namespace

NBIT_FN(setThreads) {
  Args a(env, info);
  NBIT_TRY
  at::set_num_threads(threadsAt(a));
  return nullptr;
  NBIT_CATCH("setNumThreads")
}
NBIT_FN(getThreads) { return toJs(env, static_cast<double>(at::get_num_threads())); }
NBIT_FN(getInteropThreads) { return toJs(env, static_cast<double>(at::get_num_interop_threads())); }
NBIT_FN(setInteropThreads) {
  Args a(env, info);
  NBIT_TRY
  at::set_num_interop_threads(threadsAt(a));
  return nullptr;
  NBIT_CATCH("setNumInteropThreads")
}
NBIT_FN(info_) {
  NBIT_TRY
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
  set("cudaDevices", toJs(env, static_cast<double>(at::hasCUDA() ? at::globalContext().getAcceleratorHooksInterface(at::kCUDA).deviceCount() : 0)));
  set("devices", toJs(env, devices));
  set("dtypes", toJs(env, dtypes));
  return o;
  NBIT_CATCH("info")
}
// (name, on): a switch of the process
NBIT_FN(setSwitch) {
  Args a(env, info);
  NBIT_TRY
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
  else if (name == "flushDenormal") { if (!context.setFlushDenormal(on)) fail("NBIT_UNSUPPORTED", "this CPU cannot flush denormals"); }
  else fail("ERR_ARGUMENT", "unknown switch: " + name);
  return nullptr;
  NBIT_CATCH("setSwitch")
}
NBIT_FN(getSwitch) {
  Args a(env, info);
  NBIT_TRY
  const std::string name = a.text(0);
  auto& context = at::globalContext();
  bool on = false;
  if (name == "deterministicAlgorithms") on = context.deterministicAlgorithms();
  else if (name == "deterministicWarnOnly") on = context.deterministicAlgorithmsWarnOnly();
  else if (name == "cudnnBenchmark") on = context.benchmarkCuDNN();
  else if (name == "cudnnDeterministic") on = context.deterministicCuDNN();
  else if (name == "tf32Matmul") on = context.allowTF32CuBLAS();
  else if (name == "tf32Cudnn") on = context.allowTF32CuDNN();
  else fail("ERR_ARGUMENT", "unknown switch: " + name);
  return toJs(env, on);
  NBIT_CATCH("getSwitch")
}
// ("highest" | "high" | "medium"): how float32 matrix products may be computed
NBIT_FN(setFloat32MatmulPrecision) {
  Args a(env, info);
  NBIT_TRY
  at::globalContext().setFloat32MatmulPrecision(a.text(0));
  return nullptr;
  NBIT_CATCH("setFloat32MatmulPrecision")
}
NBIT_FN(getFloat32MatmulPrecision) {
  NBIT_TRY
  switch (at::globalContext().float32MatmulPrecision()) {
    case at::Float32MatmulPrecision::HIGHEST: return toJs(env, std::string("highest"));
    case at::Float32MatmulPrecision::HIGH: return toJs(env, std::string("high"));
    default: return toJs(env, std::string("medium"));
  }
  NBIT_CATCH("getFloat32MatmulPrecision")
}
/** The C library's pow, which Python's ** is: optimizers need the same last bit. */
NBIT_FN(pow_) {
  Args a(env, info);
  NBIT_TRY
  return toJs(env, std::pow(a.number(0), a.number(1)));
  NBIT_CATCH("pow")
}
NBIT_FN(setDefaultDtype) {
  Args a(env, info);
  NBIT_TRY
  const at::ScalarType dtype = a.dtype(0);
  if (!at::isFloatingType(dtype)) fail("ERR_ARGUMENT", "expected the code of a floating point dtype");
  c10::set_default_dtype(c10::scalarTypeToTypeMeta(dtype));
  return nullptr;
  NBIT_CATCH("setDefaultDtype")
}
NBIT_FN(getDefaultDtype) { return toJs(env, static_cast<double>(c10::get_default_dtype_as_scalartype())); }
// (dispatch key, operator, overload) → whether the operator has its own kernel there
NBIT_FN(hasKernel) {
  Args a(env, info);
  NBIT_TRY
  const auto key = c10::parseDispatchKey(a.text(0));
  auto handle = c10::Dispatcher::singleton().findOp({a.text(1), a.text(2)});
  return toJs(env, handle && handle->hasKernelForDispatchKey(key));
  NBIT_CATCH("hasKernel")
}
// (dispatch key) → newline separated "name.overload" of every operator with a kernel there
NBIT_FN(kernelsOf) {
  Args a(env, info);
  NBIT_TRY
  const auto key = c10::parseDispatchKey(a.text(0));
  std::string o;
  for (const auto& name : c10::Dispatcher::singleton().getRegistrationsForDispatchKey(key)) o += name.name + "." + name.overload_name + "\n";
  return toJs(env, o);
  NBIT_CATCH("kernelsOf")
}

std::vector<Entry> contextEntries() {
  return {{"setThreads", setThreads}, {"getThreads", getThreads}, {"setInteropThreads", setInteropThreads}, {"getInteropThreads", getInteropThreads}, {"info", info_}, {"setSwitch", setSwitch},
          {"getSwitch", getSwitch}, {"setFloat32MatmulPrecision", setFloat32MatmulPrecision}, {"getFloat32MatmulPrecision", getFloat32MatmulPrecision}, {"pow", pow_}, {"setDefaultDtype", setDefaultDtype}, {"getDefaultDtype", getDefaultDtype}, {"hasKernel", hasKernel}, {"kernelsOf", kernelsOf}};
}

}  // namespace nbit
