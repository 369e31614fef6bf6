// Every kernel and copy that a program runs on the GPU, summed by name: loaded into the program by the CUDA driver
// itself, so it works for Node and for Python alike, also inside CUDA graphs.
//
//   g++ -O2 -shared -fPIC -o kernels.so kernels.cc -I"$CUDA_HOME/include" -I"$CUDA_HOME/extras/CUPTI/include"
//   -L"$CUDA_HOME/lib64" -L"$CUDA_HOME/extras/CUPTI/lib64" -lcupti CUDA_INJECTION64_PATH=./kernels.so
//   NBIT_PROFILE=profile.tsv node benchmarks/dist/gpu/ours.js gpt2 bf16 eager 30
//
// NBIT_PROFILE_HOST=1 adds what the calls of CUDA's own functions cost the host, as "host: cudaLaunchKernel".
// Writes lines of: nanoseconds, count, name; largest first. NBIT_PROFILE_LAST=2000 adds, in NBIT_PROFILE with ".last"
// behind it, the last 2000 kernels and copies in their order: microseconds since the one before ended (below 0 beside
// it), microseconds, blocks × threads, name.
#include <cupti.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {
struct Total {
  unsigned long long ns = 0, count = 0;
};
std::mutex mutex;
struct Run {
  unsigned long long start, end;
  const std::string* name;
  long blocks;
  int threads;
};
// Never destroyed: buffers may arrive while the program ends.
auto& totals = *new std::map<std::string, Total>();
auto& runs = *new std::vector<Run>();
const size_t last = std::getenv("NBIT_PROFILE_LAST") ? std::strtoul(std::getenv("NBIT_PROFILE_LAST"), nullptr, 10) : 0;

void add(const std::string& name, unsigned long long start, unsigned long long end, long blocks = 0, int threads = 0,
         bool onDevice = true) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto at = totals.try_emplace(name).first;
  at->second.ns += end - start;
  at->second.count++;
  if (last != 0 && onDevice) runs.push_back({start, end, &at->first, blocks, threads});
}

void CUPTIAPI request(uint8_t** buffer, size_t* size, size_t* records) {
  *size = 8 << 20;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, *size));
  *records = 0;
}
void CUPTIAPI complete(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      // The layout's first fields are the same in every version; the newest struct is a superset.
      const auto* k = reinterpret_cast<const CUpti_ActivityKernel9*>(record);
      add(k->name ? k->name : "unnamed", k->start, k->end, long(k->gridX) * k->gridY * k->gridZ,
          k->blockX * k->blockY * k->blockZ);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
      const auto* m = reinterpret_cast<const CUpti_ActivityMemcpy5*>(record);
      add(m->copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_HTOD   ? "copy to device"
          : m->copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_DTOH ? "copy to host"
                                                           : "copy on device",
          m->start, m->end);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
      const auto* m = reinterpret_cast<const CUpti_ActivityMemset4*>(record);
      add("memset", m->start, m->end);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_RUNTIME || record->kind == CUPTI_ACTIVITY_KIND_DRIVER) {
      const auto* a = reinterpret_cast<const CUpti_ActivityAPI*>(record);
      const char* name = nullptr;
      cuptiGetCallbackName(
          record->kind == CUPTI_ACTIVITY_KIND_RUNTIME ? CUPTI_CB_DOMAIN_RUNTIME_API : CUPTI_CB_DOMAIN_DRIVER_API,
          a->cbid, &name);
      add(std::string("host: ") + (name ? name : "unnamed"), a->start, a->end, 0, 0, false);
    }
  }
  std::free(buffer);
}

std::string readable(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string out = status == 0 && text ? text : name;
  std::free(text);
  return out;
}

void writeLast(const std::string& path) {
  FILE* file = std::fopen(path.c_str(), "w");
  if (!file) return;
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.start < b.start; });
  unsigned long long before = 0;
  for (size_t i = runs.size() > last ? runs.size() - last : 0; i < runs.size(); i++) {
    const Run& r = runs[i];
    const double gap = before == 0 ? 0. : (double(r.start) - double(before)) / 1e3;
    std::fprintf(file, "%.2f\t%.2f\t%ldx%d\t%s\n", gap, double(r.end - r.start) / 1e3, r.blocks, r.threads,
                 readable(*r.name).c_str());
    before = std::max(before, r.end);
  }
  std::fclose(file);
}

void write() {
  cuptiActivityFlushAll(1);
  const char* path = std::getenv("NBIT_PROFILE");
  FILE* file = std::fopen(path ? path : "profile.tsv", "w");
  if (!file) return;
  const std::lock_guard<std::mutex> lock(mutex);
  std::vector<std::pair<std::string, Total>> rows(totals.begin(), totals.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.ns > b.second.ns; });
  for (const auto& [name, t] : rows) std::fprintf(file, "%llu\t%llu\t%s\n", t.ns, t.count, readable(name).c_str());
  std::fclose(file);
  if (last != 0) writeLast(std::string(path ? path : "profile.tsv") + ".last");
}
}  // namespace

extern "C" int InitializeInjection() {
  cuptiActivityRegisterCallbacks(request, complete);
  for (auto kind : {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET})
    cuptiActivityEnable(kind);
  if (std::getenv("NBIT_PROFILE_HOST"))
    for (auto kind : {CUPTI_ACTIVITY_KIND_RUNTIME, CUPTI_ACTIVITY_KIND_DRIVER}) cuptiActivityEnable(kind);
  std::atexit(write);
  return 1;
}
