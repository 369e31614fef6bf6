/**
 * What a newer compiler's headers make the addon ask of the C and C++ libraries, and the libraries that libtorch is
 * content with do not have: defined here and hidden, so that the linker looks no further. Linked into published addons
 * only; `tools/prebuild.mjs` then compares what is left with what libtorch itself asks for.
 *
 * Names in the assembler are the libraries'; those of C++ are ours, so that the headers' declarations do not matter.
 */
#include <dlfcn.h>
#include <linux/futex.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#define HIDDEN(symbol) __asm__(symbol) __attribute__((visibility("hidden")))
#if defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#define STRUCTURE_OF_STAT 1
#elif defined(__aarch64__)
#define FIRST "GLIBC_2.17"
#define STRUCTURE_OF_STAT 0
#else
#error "the first version of glibc for this processor is not known here"
#endif
/** The library's function under an older version of its symbol, which every later library has as well. */
#define OLD(name, symbol, version) __asm__(".symver " #name ", " symbol "@" version)

extern "C" {

// glibc 2.29: another way to set errno.
double oldPow(double, double);
OLD(oldPow, "pow", FIRST);
double ownPow(double base, double exponent) HIDDEN("pow");
double ownPow(double base, double exponent) { return oldPow(base, exponent); }

// glibc 2.34: moved into libc from libraries of their own, where the old versions are. Which library calls these
// matters to some, and it stays the same.
void* oldDlopen(const char*, int);
OLD(oldDlopen, "dlopen", FIRST);
void* ownDlopen(const char* path, int flags) HIDDEN("dlopen");
void* ownDlopen(const char* path, int flags) { return oldDlopen(path, flags); }

void* oldDlsym(void*, const char*);
OLD(oldDlsym, "dlsym", FIRST);
void* ownDlsym(void* library, const char* name) HIDDEN("dlsym");
void* ownDlsym(void* library, const char* name) { return oldDlsym(library, name); }

char* oldDlerror();
OLD(oldDlerror, "dlerror", FIRST);
char* ownDlerror() HIDDEN("dlerror");
char* ownDlerror() { return oldDlerror(); }

int oldDladdr(const void*, Dl_info*);
OLD(oldDladdr, "dladdr", FIRST);
int ownDladdr(const void* address, Dl_info* info) HIDDEN("dladdr");
int ownDladdr(const void* address, Dl_info* info) { return oldDladdr(address, info); }

int oldOnce(pthread_once_t*, void (*)());
OLD(oldOnce, "pthread_once", FIRST);
int ownOnce(pthread_once_t* once, void (*work)()) HIDDEN("pthread_once");
int ownOnce(pthread_once_t* once, void (*work)()) { return oldOnce(once, work); }

// glibc 2.32: moved likewise.
int oldSigmask(int, const sigset_t*, sigset_t*);
OLD(oldSigmask, "pthread_sigmask", FIRST);
int ownSigmask(int how, const sigset_t* set, sigset_t* before) HIDDEN("pthread_sigmask");
int ownSigmask(int how, const sigset_t* set, sigset_t* before) { return oldSigmask(how, set, before); }

// glibc 2.33: before, a function took the version of the structure.
int oldStat(int, const char*, struct stat*);
OLD(oldStat, "__xstat", FIRST);
int ownStat(const char* path, struct stat* found) HIDDEN("stat");
int ownStat(const char* path, struct stat* found) { return oldStat(STRUCTURE_OF_STAT, path, found); }

// glibc 2.30.
pid_t ownGettid() HIDDEN("gettid");
pid_t ownGettid() { return static_cast<pid_t>(syscall(SYS_gettid)); }

// glibc 2.32: lets counters of references do without atomic instructions. They do with them.
extern char ownSingleThreaded HIDDEN("__libc_single_threaded");
char ownSingleThreaded = 0;

// glibc 2.30. Waits by the clock that can be set, as the C++ library did before; its callers look at theirs afterwards.
int ownClockWait(pthread_cond_t* changed, pthread_mutex_t* mutex, clockid_t clock, const timespec* until)
    HIDDEN("pthread_cond_clockwait");
int ownClockWait(pthread_cond_t* changed, pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  constexpr long second = 1'000'000'000;
  timespec here, there;
  clock_gettime(clock, &here);
  clock_gettime(CLOCK_REALTIME, &there);
  timespec limit = {there.tv_sec + until->tv_sec - here.tv_sec, there.tv_nsec + until->tv_nsec - here.tv_nsec};
  for (; limit.tv_nsec < 0; --limit.tv_sec) limit.tv_nsec += second;
  for (; limit.tv_nsec >= second; ++limit.tv_sec) limit.tv_nsec -= second;
  return pthread_cond_timedwait(changed, mutex, &limit);
}

// GLIBCXX_3.4.30: std::condition_variable::wait that a cancelled thread may leave.
void oldWait(void*, void*);
OLD(oldWait, "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE", "GLIBCXX_3.4.11");
void ownWait(void* condition, void* lock) HIDDEN("_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE");
void ownWait(void* condition, void* lock) { oldWait(condition, lock); }

// GLIBCXX_3.4.29: what a compiler before called by itself.
void oldThrowLength() __asm__("__cxa_throw_bad_array_new_length");
void ownThrowLength() HIDDEN("_ZSt28__throw_bad_array_new_lengthv");
void ownThrowLength() { oldThrowLength(); }

// GLIBCXX_3.4.29: std::future waits by the steady clock. False where the time has passed.
bool ownFutexWait(void*, unsigned* word, unsigned value, bool limited, std::chrono::seconds, std::chrono::nanoseconds)
    HIDDEN(
        "_ZNSt28__atomic_futex_unsigned_base26_M_futex_wait_until_steadyEPjjbNSt6chrono8durationIlSt5ratioILl1ELl1E"
        "EEENS2_IlS3_ILl1ELl1000000000EEEE");
bool ownFutexWait(void*, unsigned* word, unsigned value, bool limited, std::chrono::seconds seconds,
                  std::chrono::nanoseconds rest) {
  const timespec until = {seconds.count(), static_cast<long>(rest.count())};
  const long status =
      syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, limited ? &until : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
  return !(status == -1 && errno == ETIMEDOUT);
}

// CXXABI_1.3.13: what std::exception_ptr does when it is copied and dropped, which older ones do out of line.
void oldCopy(void* copy, const void* of);
OLD(oldCopy, "_ZNSt15__exception_ptr13exception_ptrC1ERKS0_", "CXXABI_1.3.3");
void ownAddref(void** pointer) HIDDEN("_ZNSt15__exception_ptr13exception_ptr9_M_addrefEv");
void ownAddref(void** pointer) {
  void* copy;  // never dropped
  oldCopy(&copy, pointer);
}

void oldDrop(void*);
OLD(oldDrop, "_ZNSt15__exception_ptr13exception_ptrD1Ev", "CXXABI_1.3.3");
void ownRelease(void** pointer) HIDDEN("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");
void ownRelease(void** pointer) { oldDrop(pointer); }

/** As std::to_chars_result is returned. */
struct End {
  char* end;
  int error;
};

// GLIBCXX_3.4.29: std::to_chars of a finite double, the fewest digits that are read back as the same number.
End ownToChars(char* first, char* last, double number) HIDDEN("_ZSt8to_charsPcS_d");
End ownToChars(char* first, char* last, double number) {
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  const locale_t before = uselocale(plain);
  char scientific[40], fixed[40];
  int digits = 0;
  do snprintf(scientific, sizeof scientific, "%.*e", digits, number);
  while (strtod(scientific, nullptr) != number && ++digits < 17);
  const int exponent = atoi(strchr(scientific, 'e') + 1);
  const char* best = scientific;
  if (exponent > -8 && exponent < 24) {  // beyond, the other form is shorter in any case
    snprintf(fixed, sizeof fixed, "%.*f", digits > exponent ? digits - exponent : 0, number);
    if (strlen(fixed) <= strlen(scientific)) best = fixed;
  }
  uselocale(before);
  const auto length = static_cast<long>(strlen(best));
  if (length > last - first) return {last, EOVERFLOW};
  memcpy(first, best, static_cast<size_t>(length));
  return {first + length, 0};
}

}  // extern "C"
