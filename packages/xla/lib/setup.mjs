/**
 * Everything native that this package needs: the host of plugins, in seconds, always; the CPU plugin and libtpu when they
 * are asked for. Fast when nothing is to do.
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  Progress,
  SetupError,
  buildLibrary,
  cacheFolder,
  checkSpace,
  choosePrebuiltLibrary,
  download,
  explainFileError,
  findCompiler,
  findPython,
  installInto,
  makeFolder,
  noCompiler,
  proveAddon,
  readInstalled,
  sizeOf,
  unpack,
  withLock,
} from "@nbit/native/build";
import { LIBTPU, TENSORFLOW, cpuPluginPath, folderOf, installed, libtpuPath, packageFolder, sha } from "./places.mjs";
import { hostSources, planHost } from "./plan.mjs";

export { pluginPlaces } from "./places.mjs";
export { examinePlugins } from "./examine.mjs";

/** Installs the host of plugins, built elsewhere or here, unless that is done. */
export async function setupXla({ progress = new Progress(), cpu = false, tpu = false } = {}) {
  const why = await withoutCompiler();
  const compiler = why !== null || cpu ? findCompiler() : null;
  if (why !== null) {
    if (compiler !== null) await compileHost(compiler, progress);
    else if (readInstalled(installed) === null) throw noCompiler(undefined, undefined, why);
  }
  if (cpu) {
    if (compiler === null) throw noCompiler();
    await setupCpuPlugin(compiler, progress);
  }
  if (tpu) await fetchWheel(LIBTPU, { bytes: 1.0e9, file: libtpuPath(), wanted: LIBTPU_FILES }, progress);
}

/** Takes the host that was built elsewhere; where there is none, why. */
async function withoutCompiler() {
  const chosen = choosePrebuiltLibrary("xla", hostSources());
  if (chosen.reason !== null) return chosen.reason;
  if (readInstalled(installed)?.key === chosen.key) return null;
  try {
    await proveAddon(chosen.path);
  } catch (error) {
    return `${chosen.path} does not load here: ${error.message}`;
  }
  installInto(installed, chosen.path, { key: chosen.key, prebuilt: chosen.package, node: process.version });
  return null;
}

async function compileHost(compiler, progress) {
  const plan = planHost(compiler);
  if (readInstalled(installed)?.key === plan.key) return;
  await buildLibrary(plan, compiler, progress);
  installInto(installed, plan.built, { key: plan.key, compiler: compiler.version, node: process.version });
}

const LIBTPU_FILES = /^(libtpu\/(libtpu\.so|LICENSE|THIRD_PARTY_NOTICES\.txt)$|[^/]+\.dist-info\/)/;
// The libraries of the XLA client, and the headers that the plugin is compiled against.
const TENSORFLOW_FILES =
  /^(tensorflow\/(libtensorflow_(cc|framework)\.so\.2$|include\/(xla|absl|google|tsl|Eigen|unsupported|ml_dtypes|LICENSE|external\/(highwayhash|farmhash_archive))(\/|$))|[^/]+\.dist-info\/)/;

async function setupCpuPlugin(compiler, progress) {
  const built = cpuPluginPath();
  if (existsSync(built)) return;
  const folder = folderOf(TENSORFLOW);
  const tensorflow = join(folder, "tensorflow");
  const library = join(tensorflow, "libtensorflow_cc.so.2");
  await fetchWheel(TENSORFLOW, { bytes: 1.5e9, file: library, wanted: TENSORFLOW_FILES }, progress);
  const include = join(tensorflow, "include");
  const stand = standIn(join(dirname(built), "include"));
  const flags = [
    "-std=c++17",
    "-O0", // nothing is computed here, and XLA's headers take a minute as it is
    "-fPIC",
    "-fvisibility=hidden",
    "-w",
    "-DNDEBUG",
    `-I${stand}`,
    `-I${include}`,
    `-isystem${join(include, "external", "highwayhash")}`,
    `-isystem${join(include, "external", "farmhash_archive", "src")}`,
  ];
  const link = [
    "-shared",
    `-L${tensorflow}`,
    "-l:libtensorflow_cc.so.2",
    "-l:libtensorflow_framework.so.2",
    `-Wl,-rpath,${tensorflow}`,
    "-Wl,--no-undefined",
  ];
  const source = join("native", "cpu-plugin", "plugin.cc");
  const units = [{ source, flags, hash: sha(built, compiler.version, ...flags) }];
  const against = `XLA of ${TENSORFLOW.name} ${TENSORFLOW.version}`;
  await buildLibrary({ name: "xla-cpu", root: packageFolder, units, link, against, built }, compiler, progress);
}

/**
 * XLA's headers name MLIR's module, whose own header needs LLVM's, which the wheel leaves out. It is one pointer, and the
 * plugin calls nothing that takes it.
 */
function standIn(folder) {
  const path = join(makeFolder(join(folder, "mlir", "IR")), "BuiltinOps.h");
  writeFileSync(
    path,
    "#pragma once\nnamespace mlir {\nclass MLIRContext;\nclass ModuleOp {\n  void* operation = nullptr;\n};\n}\n",
  );
  return folder;
}

/** Fetches the wheel of this hash and unpacks what is wanted of it into the cache, unless that is done. */
async function fetchWheel(wheel, { bytes, file, wanted }, progress) {
  if (existsSync(file)) return;
  const spec = `${wheel.name}==${wheel.version}`;
  if (process.arch !== "x64")
    throw new SetupError("NBIT_XLA_PLATFORM", {
      problem: `${spec} is there for Linux on x64 alone. This is ${process.platform}-${process.arch}.`,
      fix: "export PJRT_PLUGIN_LIBRARY_PATH=/path/to/a/plugin.so   # a plugin for this machine, if you have one",
    });
  const cache = makeFolder(cacheFolder());
  const python = findPython(wheel.name, []);
  const offer = {
    code: "NBIT_XLA_NOT_OFFERED",
    fix: () => `python3 -m pip index versions ${wheel.name}   # the indexes of pip must have ${wheel.version}`,
    otherwise: "",
  };
  await withLock(
    join(cache, `${wheel.name}.lock`),
    async () => {
      if (existsSync(file)) return;
      const work = makeFolder(join(cache, "downloads", sha(spec, wheel.sha256).slice(0, 12)));
      checkSpace(cache, bytes - sizeOf(work));
      const list = join(work, "requirements.txt");
      writeFileSync(list, `${spec} --hash=sha256:${wheel.sha256}\n`);
      // One wheel serves every Python: nothing here is imported.
      const python311 = ["--python-version=3.11", "--implementation=cp", "--abi=cp311"];
      const platforms = ["2_27", "2_31"].map((glibc) => `--platform=manylinux_${glibc}_x86_64`);
      const what = ["--require-hashes", "--no-deps", ...python311, ...platforms, "-r", list];
      const [path] = await progress.step(wheel.name, `fetching ${spec}`, (update) =>
        download(python, what, join(work, "wheel"), spec, update, offer),
      );
      const stage = join(work, "unpacked");
      await progress.step(wheel.name, "unpacking and verifying", (update) =>
        unpack(path, stage, work, update, (name) => wanted.test(name)),
      );
      const target = folderOf(wheel);
      try {
        rmSync(target, { recursive: true, force: true }); // half of one, or it would have been found
        mkdirSync(dirname(target), { recursive: true });
        renameSync(stage, target);
        rmSync(work, { recursive: true, force: true });
      } catch (error) {
        throw explainFileError(error, target);
      }
      progress.note(`${spec} is in ${target}`);
    },
    (holder, wait) => progress.step(wheel.name, `waiting for ${holder}, which fetches it`, wait),
  );
}
