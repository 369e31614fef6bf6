/**
 * Compiles what a plan asks for and is not in the cache, links it, proves that it loads, and installs it into this copy
 * of the package.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, freemem } from "node:os";
import { basename, dirname, join } from "node:path";
import { FULL, SetupError, diskFull, explainFileError, packageDiskFull } from "./errors.mjs";
import { describeLibtorch } from "./libtorch.mjs";
import { withLock } from "./lock.mjs";
import { SETUP_COMMAND, cacheFolder, installedAddon, installedRecord, makeFolder, packageFolder } from "./places.mjs";
import { run } from "./run.mjs";

const BYTES_PER_COMPILER = 1.2e9;
const KEEP_OBJECTS_MS = 30 * 24 * 3600e3;

/**
 * @param {import("./addon-plan.mjs").Plan} plan
 * @param {import("./libtorch.mjs").Libtorch} libtorch
 * @param {{ program: string, version: string }} compiler
 * @param {import("./progress.mjs").Progress} progress
 */
export async function buildAddon(plan, libtorch, compiler, progress) {
  const built = join(plan.folder, "nbit.node");
  if (!existsSync(built)) {
    makeFolder(plan.folder);
    await withLock(
      join(plan.folder, "build.lock"),
      async () => {
        if (existsSync(built)) return;
        const objects = makeFolder(join(cacheFolder(), "objects"));
        const missing = plan.units.filter((unit) => !reuse(objectOf(objects, unit)));
        if (missing.length > 0)
          await progress.step("addon", `compiling ${missing.length} of ${plan.units.length} files`, (update) =>
            compileAll(missing, objects, compiler, update),
          );
        await progress.step("addon", `linking against ${describeLibtorch(libtorch)}`, () =>
          linkAddon(plan, objects, compiler, built),
        );
        prune(objects);
      },
      (holder, wait) => progress.step("addon", `waiting for ${holder}, which builds it`, wait),
    );
  }
  install(plan, libtorch, compiler, built);
}

const objectOf = (folder, unit) => join(folder, `${unit.hash.slice(0, 32)}.o`);

function reuse(path) {
  if (!existsSync(path)) return false;
  utimesSync(path, new Date(), new Date());
  return true;
}

/** Headers of libtorch that take long to read, in seconds: most of a compile is that. */
const SLOW_HEADERS = [
  [/ATen\/(ATen|autocast_mode)\.h/, 12],
  [/torch\/csrc\/autograd\//, 9],
  [/Dispatcher\.h|torch\/library\.h/, 5],
];

function expectedSeconds(unit) {
  const text = readFileSync(join(packageFolder, unit.source), "utf8");
  return SLOW_HEADERS.reduce((sum, [header, seconds]) => sum + (header.test(text) ? seconds : 0), text.length / 2000);
}

/** One compiler per core, as far as memory allows; longest first, so that no long one is left for the end. */
async function compileAll(units, objects, compiler, update) {
  const queue = [...units].sort((a, b) => expectedSeconds(b) - expectedSeconds(a));
  const jobs = Math.max(1, Math.min(availableParallelism(), units.length, Math.floor(freemem() / BYTES_PER_COMPILER)));
  let done = 0;
  let failed = null;
  const worker = async () => {
    for (let unit = queue.shift(); unit !== undefined && failed === null; unit = queue.shift()) {
      update(`compiling ${basename(unit.source)}, ${done} of ${units.length} done`);
      await compile(unit, objectOf(objects, unit), compiler).catch((error) => (failed ??= error));
      done++;
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  if (failed !== null) throw failed;
  update(`compiled ${units.length} files`);
}

async function compile(unit, object, compiler) {
  const temporary = `${object}.${process.pid}.tmp`;
  const args = [...unit.flags, `-ffile-prefix-map=${packageFolder}=.`, "-c", unit.source, "-o", temporary];
  const result = await run(compiler.program, args, { cwd: packageFolder });
  try {
    if (result.status !== 0)
      throw explainCompiler(result, `${compiler.program} could not compile ${unit.source}`, [
        compiler.program,
        ...args,
      ]);
    renameSync(temporary, object);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw explainFileError(error, object);
  }
}

async function linkAddon(plan, objects, compiler, built) {
  const temporary = `${built}.${process.pid}.tmp`;
  const args = [...plan.units.map((unit) => objectOf(objects, unit)), ...plan.link, "-o", temporary];
  try {
    const result = await run(compiler.program, args, { cwd: packageFolder });
    if (result.status !== 0)
      throw explainCompiler(result, `${compiler.program} could not link the addon`, [compiler.program, ...args]);
    const loaded = await run(process.execPath, ["-e", "process.dlopen({ exports: {} }, process.argv[1])", temporary]);
    if (loaded.status !== 0) {
      const details =
        loaded.output.split("\n").find((line) => line.includes("Error")) ??
        (loaded.output.slice(-1000) || `ended by ${loaded.signal}`);
      throw new SetupError("NBIT_ADDON_BROKEN", {
        problem: "the addon was built, but does not load.",
        details,
        fix: "npx nbit doctor   # shows what it was built with",
      });
    }
    renameSync(temporary, built);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw explainFileError(error, built);
  }
}

function explainCompiler(result, problem, command) {
  if (FULL.test(result.output)) return diskFull(cacheFolder(), null);
  if (
    result.signal === "SIGKILL" ||
    /Killed signal terminated program|virtual memory exhausted|cannot allocate memory/i.test(result.output)
  ) {
    return new SetupError("NBIT_OUT_OF_MEMORY", {
      problem: `${problem}: memory ran out (a compiler needs about 1 GB).`,
      fix: `${SETUP_COMMAND}   # with other programs closed; what is compiled already is kept`,
    });
  }
  if (result.signal !== null)
    return new SetupError("NBIT_INTERRUPTED", {
      problem: `${problem}: ended by ${result.signal}.`,
      fix: `${SETUP_COMMAND}   # goes on where it stopped`,
    });
  const details =
    result.error?.message ??
    result.output
      .split("\n")
      .filter((line) => /error|undefined reference|cannot find/i.test(line))
      .slice(0, 12)
      .join("\n");
  return new SetupError("NBIT_BUILD_FAILED", {
    problem: `${problem}.`,
    details: details || result.output.slice(-2000),
    fix: `(cd ${packageFolder} && ${command.join(" ")})   # shows all messages of the compiler`,
  });
}

/** A copy per clone: a cache that is emptied later breaks nothing. */
function install(plan, libtorch, compiler, built) {
  const temporary = `${installedAddon}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(installedAddon), { recursive: true });
    copyFileSync(built, temporary);
    renameSync(temporary, installedAddon);
    const { size, mtimeMs } = statSync(installedAddon);
    const record = {
      key: plan.key,
      size,
      mtimeMs,
      libtorch,
      compiler: compiler.version,
      node: process.version,
      withoutCuda: plan.withoutCuda,
    };
    writeFileSync(temporary, `${JSON.stringify(record, null, 2)}\n`);
    renameSync(temporary, installedRecord);
  } catch (error) {
    rmSync(temporary, { force: true });
    if (FULL.test(error.code)) throw packageDiskFull(packageFolder, error);
    if (!["EACCES", "EROFS", "EPERM"].includes(error.code)) throw explainFileError(error, installedAddon);
    // The package itself is read-only (installed system-wide): the loader finds the addon in the cache.
  }
}

/** The record of the installed addon when that is whole, else null. */
export function readInstalled() {
  try {
    const record = JSON.parse(readFileSync(installedRecord, "utf8"));
    const { size, mtimeMs } = statSync(installedAddon);
    return record.size === size && record.mtimeMs === mtimeMs ? record : null;
  } catch {
    return null;
  }
}

function prune(objects) {
  for (const name of readdirSync(objects)) {
    const path = join(objects, name);
    try {
      if (Date.now() - statSync(path).mtimeMs > (name.endsWith(".tmp") ? 3600e3 : KEEP_OBJECTS_MS))
        rmSync(path, { force: true });
    } catch {
      // another set-up has removed it
    }
  }
}
