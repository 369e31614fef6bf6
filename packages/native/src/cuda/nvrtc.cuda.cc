// NVRTC and the driver, found through libtorch's own library of them: nothing to link, nothing to install.
#include "cuda/nvrtc.h"

#include "binding/core.h"

#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAStream.h>

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

namespace nbit::nvrtc {
namespace {

using Program = void*;
struct Api {
  int (*createProgram)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compileProgram)(Program, int, const char* const*);
  int (*getCubinSize)(Program, size_t*);
  int (*getCubin)(Program, char*);
  int (*getLogSize)(Program, size_t*);
  int (*getLog)(Program, char*);
  int (*destroyProgram)(Program*);
  int (*version)(int*, int*);
  int (*moduleLoadData)(void**, const void*);
  int (*moduleGetFunction)(void**, void*, const char*);
  int (*launchKernel)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**,
                      void**);
};

void* openLibrary() {
  Dl_info where{};
  dladdr(reinterpret_cast<void*>(&c10::cuda::getCurrentCUDAStream), &where);
  const std::string folder = where.dli_fname ? std::filesystem::path(where.dli_fname).parent_path().string() : "";
  for (const std::string& name : {folder + "/libcaffe2_nvrtc.so", std::string("libnvrtc.so"),
                                  std::string("libnvrtc.so.13"), std::string("libnvrtc.so.12")})
    if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  fail("NVRTC_MISSING",
       "NVRTC, which compiles kernels for this GPU, was not found beside libtorch (libcaffe2_nvrtc.so) nor as "
       "libnvrtc.so. Install a CUDA build of PyTorch with its NVIDIA wheels");
}

const Api& api() {
  static const Api loaded = [] {
    Api a{};
    void* library = openLibrary();
    void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    const auto load = [&](auto& target, const char* name) {
      void* symbol = dlsym(library, name);
      if (!symbol && driver) symbol = dlsym(driver, name);
      if (!symbol) fail("NVRTC_MISSING", std::string(name) + " was not found in NVRTC or the driver");
      target = reinterpret_cast<std::remove_reference_t<decltype(target)>>(symbol);
    };
    load(a.createProgram, "nvrtcCreateProgram");
    load(a.compileProgram, "nvrtcCompileProgram");
    load(a.getCubinSize, "nvrtcGetCUBINSize");
    load(a.getCubin, "nvrtcGetCUBIN");
    load(a.getLogSize, "nvrtcGetProgramLogSize");
    load(a.getLog, "nvrtcGetProgramLog");
    load(a.destroyProgram, "nvrtcDestroyProgram");
    load(a.version, "nvrtcVersion");
    load(a.moduleLoadData, "cuModuleLoadData");
    load(a.moduleGetFunction, "cuModuleGetFunction");
    load(a.launchKernel, "cuLaunchKernel");
    return a;
  }();
  return loaded;
}

std::string compile(const kernels::Source& source, const std::vector<std::string>& options) {
  std::vector<const char*> texts, names;
  for (int i = 0; i < kernels::headerCount; i++) {
    texts.push_back(kernels::headers[i].text);
    names.push_back(kernels::headers[i].name);
  }
  Program program = nullptr;
  if (api().createProgram(&program, source.text, source.name, kernels::headerCount, texts.data(), names.data()) != 0)
    fail("NVRTC_FAILED", std::string(source.name) + ": NVRTC refused the source");
  std::vector<const char*> list;
  for (const auto& o : options) list.push_back(o.c_str());
  const int status = api().compileProgram(program, static_cast<int>(list.size()), list.data());
  if (status != 0) {
    size_t n = 0;
    api().getLogSize(program, &n);
    std::string log(n, '\0');
    api().getLog(program, log.data());
    api().destroyProgram(&program);
    fail("NVRTC_FAILED", std::string(source.name) + ": " + log);
  }
  size_t n = 0;
  api().getCubinSize(program, &n);
  std::string cubin(n, '\0');
  api().getCubin(program, cubin.data());
  api().destroyProgram(&program);
  return cubin;
}

std::filesystem::path cacheFile(const kernels::Source& source, const std::vector<std::string>& options) {
  uint64_t hash = 1469598103934665603ull;
  const auto mix = [&](const std::string& s) {
    for (unsigned char c : s) hash = (hash ^ c) * 1099511628211ull;
    hash = (hash ^ 0xff) * 1099511628211ull;
  };
  int major = 0, minor = 0;
  api().version(&major, &minor);
  mix(source.text);
  for (int i = 0; i < kernels::headerCount; i++) mix(kernels::headers[i].text);
  for (const auto& o : options) mix(o);
  mix(std::to_string(major) + "." + std::to_string(minor));
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::filesystem::path base =
      xdg ? std::filesystem::path(xdg) : std::filesystem::path(home ? home : "/tmp") / ".cache";
  char name[64];
  snprintf(name, sizeof name, "%s-%016llx.cubin", source.name, static_cast<unsigned long long>(hash));
  return base / "nbit" / "kernels" / name;
}

std::string machineCode(const kernels::Source& source, const std::vector<std::string>& options) {
  const auto file = cacheFile(source, options);
  if (std::ifstream in(file, std::ios::binary); in) return {std::istreambuf_iterator<char>(in), {}};
  std::string cubin = compile(source, options);
  std::error_code ignored;  // a cache that cannot be written only costs a second at the next start
  std::filesystem::create_directories(file.parent_path(), ignored);
  const auto temporary = file.string() + "." + std::to_string(getpid());
  if (std::ofstream out(temporary, std::ios::binary);
      out && out.write(cubin.data(), static_cast<std::streamsize>(cubin.size()))) {
    out.close();
    std::filesystem::rename(temporary, file, ignored);
  }
  return cubin;
}
}  // namespace

Kernel& get(const kernels::Source& source, const char* name, const std::vector<std::string>& extra) {
  static std::map<std::string, Kernel> known;
  const auto* device = at::cuda::getCurrentDeviceProperties();
  std::vector<std::string> options = extra;
  options.push_back("--gpu-architecture=sm_" + std::to_string(device->major) + std::to_string(device->minor));
  options.push_back("--std=c++17");
  std::string key = std::string(source.name) + "/" + name + "@" + std::to_string(c10::cuda::current_device());
  for (const auto& o : options) key += " " + o;
  Kernel& kernel = known[key];
  if (kernel.function) return kernel;
  const std::string code = machineCode(source, options);
  void* loaded = nullptr;
  if (api().moduleLoadData(&loaded, code.data()) != 0)
    fail("NVRTC_FAILED", std::string(source.name) + ": the driver refused the compiled kernel");
  if (api().moduleGetFunction(&kernel.function, loaded, name) != 0)
    fail("NVRTC_FAILED", std::string(source.name) + ": no kernel " + name);
  return kernel;
}

void launch(Kernel& kernel, unsigned blocks, unsigned threads, void** arguments) {
  const int status = api().launchKernel(kernel.function, blocks, 1, 1, threads, 1, 1, 0,
                                        c10::cuda::getCurrentCUDAStream().stream(), arguments, nullptr);
  if (status != 0) fail("NVRTC_FAILED", "a kernel could not be launched: driver error " + std::to_string(status));
}

}  // namespace nbit::nvrtc
