import { family } from "../family.js";

export const setup = family(
  "setup",
  {
    title: "Setting up",
    brief: "What can go wrong between `npm install` and a loaded addon.",
    by: "SetupError",
    in: ["native"],
  },
  {
    NBIT_ADDON_BROKEN: {
      means: "The native addon was built, but the dynamic loader refuses it.",
      cause: "A compiler, libtorch or C++ library was exchanged between building and loading.",
      fix: "Run `npx nbit doctor`, which shows what the addon was built with, then `npx nbit setup`.",
    },
    NBIT_ADDON_OLD: {
      means:
        "The addon is older than its sources, or belongs to another libtorch or compiler. `nbit doctor` reports it; nothing is thrown.",
      cause: "nbit or libtorch was updated without setting up again.",
      fix: "Run `npx nbit setup`.",
    },
    NBIT_BUILD_FAILED: {
      means: "The compiler ended with an error while the addon was built.",
      cause:
        "Headers of libtorch and the compiler do not fit, or a compiler flag of the environment (`CXXFLAGS`) is not understood.",
      fix: "Run the command that the message ends with: it shows all that the compiler says.",
    },
    NBIT_BUNDLED: {
      means: "A bundler has put nbit into its output, where the native addon is not found.",
      cause: "esbuild, Vite, Rollup, webpack or a framework with its defaults for a server.",
      fix: "Keep the packages outside: the message has the setting of each bundler, such as `--packages=external` for esbuild.",
    },
    NBIT_CACHE_UNWRITABLE: {
      means: "The folder that keeps libtorch and the built addon cannot be written to.",
      cause: "A home folder that is read-only, or a cache that belongs to another user (after `sudo`).",
      fix: "Set `NBIT_HOME` to a folder of your own with 1 GB free, and run the same command again.",
    },
    NBIT_CLOSED: {
      means: "The addon was called after its thread, or its vm context, had ended.",
      cause: "A timer or a finalizer of a worker thread that went on after `process.exit` or `worker.terminate`.",
      fix: "Wait for what runs before the thread ends.",
      by: "Error",
    },
    NBIT_CPU_BUILD: {
      means:
        "There is a GPU, but the libtorch that was found is a build for CPUs. `nbit doctor` reports it; nothing is thrown.",
      cause: "A build for CPUs was there before the GPU, in the cache or as the PyTorch of `python3`.",
      fix: "Run `npx nbit setup --cuda`, or point `LIBTORCH` to a CUDA build and set up again: see [gpu.md](../gpu.md).",
    },
    NBIT_DISK_FULL: {
      means: "The disk was full, or too small, for what set-up keeps.",
      cause:
        "Unpacking libtorch for CPUs needs about 0.9 GB for a while and 0.5 GB afterwards, for CUDA 7.5 GB and 4.1 GB.",
      fix: "Free space, or set `NBIT_HOME` to a folder on a larger disk; the same command goes on where it stopped.",
    },
    NBIT_DOWNLOAD_BROKEN: {
      means: "The connection broke while pip fetched a wheel.",
      cause: "A network that is not steady.",
      fix: "Run the command of the message; wheels that are whole are kept.",
    },
    NBIT_DOWNLOAD_CORRUPT: {
      means:
        "A wheel is damaged, or not what the index or `SHA256SUMS` says. A fetched one has been removed; one of a folder of yours (`--wheels`) is left where it is.",
      cause: "A proxy or a cache that cut the download off; a copy that was not finished.",
      fix: "Run `npx nbit setup` again: it fetches the wheel anew. Copy one of a folder again.",
    },
    NBIT_ELECTRON: {
      means: "Electron lets no native code share memory with JavaScript, which nbit does.",
      cause: "An import of nbit in Electron's main or renderer process.",
      fix: "Train in a process of Node.js: `child_process.fork(file, { execPath })` from the main process, and messages.",
    },
    NBIT_GPU_UNSUPPORTED: {
      means: "The build of PyTorch that was asked for has no kernels for this GPU. Nothing was fetched.",
      cause: "A GPU of an older generation (Volta, Turing, Pascal) and a build for a newer CUDA.",
      fix: "Run the command of the message: it names the build that has them, or `--cpu`.",
    },
    NBIT_INTERRUPTED: {
      means: "A step of set-up was ended by a signal.",
      cause: "Ctrl-C, a time limit of CI, or the system's out-of-memory killer.",
      fix: "Run `npx nbit setup`: it goes on where it stopped.",
    },
    NBIT_LIBTORCH: {
      means: "`LIBTORCH` names a folder that is no usable libtorch.",
      cause:
        "A misspelt path, or one that leads to the wheel's parent instead of the folder with `lib/` and `include/`.",
      fix: "Correct `LIBTORCH`, or unset it: set-up then finds or fetches one.",
    },
    NBIT_LOAD_FAILED: {
      means: "The addon is there, but the dynamic loader refuses it.",
      cause: "The libtorch that it was built for was moved, removed or updated; or a system library is missing.",
      fix: "Read the details in the message, then run `npx nbit setup`.",
    },
    NBIT_NODE_VERSION: {
      means: "This Node.js is older than nbit supports.",
      cause: "A system package of Node.js; nvm's default in a new shell.",
      fix: "Install Node.js 20.19 or newer.",
    },
    NBIT_NOT_BUILT: {
      means: "The command of a clone was called before the clone was built.",
      cause: "`npx nbit fit` straight after `git clone`.",
      fix: "Run `npm run build`. `nbit doctor` and `nbit setup` work before.",
      by: "the command",
      in: ["cli"],
    },
    NBIT_NOT_SET_UP: {
      means: "The native addon has not been built for this copy of nbit.",
      cause: "The first use after `npm install`; or `npm ci`, which empties node_modules.",
      fix: "Run `npx nbit setup` once.",
    },
    NBIT_NO_COMPILER: {
      means: "A C++20 compiler is needed to build the addon, and none was found.",
      cause: "A slim container image; or `CXX` names a program that does not exist.",
      fix: "Install g++ (the message has the command for this system), or unset `CXX`.",
    },
    NBIT_NO_LIBTORCH: {
      means: "No libtorch was found. `nbit doctor` reports it; set-up fetches one.",
      cause: "Nothing was set up yet, or the cache was cleaned.",
      fix: "Run `npx nbit setup`.",
    },
    NBIT_NO_NETWORK: {
      means: "pip could not reach its index.",
      cause: "No network, a proxy that is not configured, or a firewall.",
      fix: "Make the `pip download` command of the message work, or set `LIBTORCH` to a libtorch that is there already.",
    },
    NBIT_NO_NODE_HEADERS: {
      means: "The headers of Node-API were not found.",
      cause: "node_modules was copied without `node-api-headers`.",
      fix: "Run `npm install`.",
    },
    NBIT_NO_PIP: {
      means: "python3 is there, but has no pip.",
      cause: "Debian and Ubuntu install python3 without pip.",
      fix: "Install pip with the command of the message, or set `LIBTORCH`.",
    },
    NBIT_NO_PYTHON: {
      means: "python3 is needed to fetch libtorch, and there is none in `PATH`.",
      cause: "A slim container image.",
      fix: "Install python3 and pip with the command of the message, or set `LIBTORCH`.",
    },
    NBIT_OLD_COMPILER: {
      means: "The compiler that was found is too old for C++20.",
      cause: "An old distribution; or `CXX` names an old version.",
      fix: "Install a newer one and set `CXX`, as in `export CXX=g++-12`.",
    },
    NBIT_OUT_OF_MEMORY: {
      means: "Memory ran out while the addon was compiled.",
      cause: "A small container or virtual machine: a compiler takes about 1 GB.",
      fix: "Close other programs, or give the container more, and run `npx nbit setup` again: what is compiled is kept.",
    },
    NBIT_PIP_FAILED: {
      means: "pip could not fetch libtorch, for a reason of its own.",
      cause: "An index without this package; a broken pip configuration.",
      fix: "Run the `pip download` command of the message, which shows the whole story.",
    },
    NBIT_PLATFORM: {
      means: "There is no supported libtorch for this operating system, processor or C library.",
      cause: "Alpine (musl), Windows, macOS, or a 32-bit system.",
      fix: "Use Linux with glibc on x64 or arm64, for example the image `node:22-bookworm`.",
    },
    NBIT_SECOND_COPY: {
      means: "Two different builds of `@nbit/native` were loaded into one process.",
      cause: "Two versions of nbit in one dependency tree.",
      fix: "Run `npm dedupe`, and pin one version.",
    },
    NBIT_SETUP_FLAGS: {
      means: "`nbit setup` has no such flag, or not this value for it.",
      cause: "A misspelling.",
      fix: "The message lists the flags; `nbit setup --help` explains them.",
    },
    NBIT_SUDO: {
      means: "Set-up was called under sudo. Nothing was done.",
      cause: "`sudo npx nbit setup`: libtorch would belong to root, where its user cannot read or replace it.",
      fix: "Run it as yourself. For all users of a machine, say where: `sudo NBIT_HOME=/opt/nbit npx nbit setup`, and set `NBIT_HOME` for each of them.",
    },
    NBIT_TOO_MANY: {
      means: "One call was to take or return more numbers than fit into a message to the addon: 16 million.",
      cause: "A list of that many tensors, or a huge nested array.",
      fix: "Build large tensors from typed arrays, and split the call.",
      by: "TorchError",
    },
    NBIT_TORCH_NOT_OFFERED: {
      means: "pip's index has no such version of PyTorch for this Python and platform.",
      cause:
        "`NBIT_TORCH_SPEC` asks for a version that does not exist there; or Python is too new or too old for the wheels.",
      fix: "Choose one of the versions in the message, or set `LIBTORCH`.",
    },
    NBIT_TORCH_VERSION: {
      means: "The libtorch that was found has a version that nbit does not work with.",
      cause: "`LIBTORCH` or an installed PyTorch is too old or too new.",
      fix: "Use a version that the message names.",
    },
    NBIT_UNSUPPORTED: {
      means: "libtorch, this processor or this operator cannot do what was asked.",
      cause:
        "An operator that takes or returns a kind of value that JavaScript does not have; `setFlushDenormal` on a processor without it.",
      fix: "Use another operator; the message names what is missing.",
      by: "TorchError",
    },
    NBIT_WHEELS_MISSING: {
      means: "The folder that `nbit setup --wheels` names is none, or lacks a wheel that is needed.",
      cause: "A wheel for another platform or version; a build for CUDA without NVIDIA's libraries.",
      fix: "Run the command of the message where there is a network, and copy the folder: see [set-up.md](../set-up.md#offline).",
    },
    NBIT_XLA_NOT_OFFERED: {
      means: "pip's index has no such PJRT plugin for this Python and platform.",
      cause: "A platform without wheels of it.",
      fix: "Set `PJRT_PLUGIN_LIBRARY_PATH` to a plugin that is there already.",
      in: ["xla"],
    },
    NBIT_XLA_PLATFORM: {
      means: "The PJRT plugin is published for Linux on x64 alone.",
      cause: "Set-up with `--tpu` or `--xla` on another platform.",
      fix: "Set `PJRT_PLUGIN_LIBRARY_PATH` to a plugin for this machine, if you have one.",
      in: ["xla"],
    },
  },
);
