/**
 * Compiles sources that are not in the cache, links them to a library, proves that it is whole, and keeps it: the addon of
 * this package, and those of packages above it.
 */
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { availableParallelism, freemem } from "node:os";
import { basename, join } from "node:path";
import { FULL, SetupError, diskFull, explainFileError } from "./errors.mjs";
import { withLock } from "./lock.mjs";
import { SETUP_COMMAND, cacheFolder, makeFolder } from "./places.mjs";
import { run } from "./run.mjs";

const BYTES_PER_COMPILER = 1.2e9;
const KEEP_OBJECTS_MS = 30 * 24 * 3600e3;

/**
 * @typedef {object} Library
 * @property {string} name Of its step in what set-up tells: "addon".
 * @property {string} root Folder that the sources' paths begin at.
 * @property {readonly import("./addon-plan.mjs").Unit[]} units
 * @property {readonly string[]} link Flags of the linker.
 * @property {string} against What it is linked against, in words; "" for nothing.
 * @property {string} built Where the finished file is kept: in a folder whose name has the hash of all that it is made of.
 * @property {((file: string) => Promise<void>) | undefined} prove Throws where the linked file is of no use.
 *
 * @param {Library} library
 * @param {{ program: string, version: string }} compiler
 * @param {import("./progress.mjs").Progress} progress
 */
export async function buildLibrary(library, compiler, progress) {
  const { name, units, built } = library;
  if (existsSync(built)) return;
  const folder = makeFolder(join(built, ".."));
  await withLock(
    join(folder, "build.lock"),
    async () => {
      if (existsSync(built)) return;
      const objects = makeFolder(join(cacheFolder(), "objects"));
      const missing = units.filter((unit) => !reuse(objectOf(objects, unit)));
      if (missing.length > 0)
        await progress.step(name, `compiling ${missing.length} of ${units.length} files`, (update) =>
          compileAll(library, missing, objects, compiler, update),
        );
      await progress.step(name, library.against === "" ? "linking" : `linking against ${library.against}`, () =>
        link(library, objects, compiler),
      );
      prune(objects);
    },
    (holder, wait) => progress.step(name, `waiting for ${holder}, which builds it`, wait),
  );
}

const objectOf = (folder, unit) => join(folder, `${unit.hash.slice(0, 32)}.o`);

function reuse(path) {
  if (!existsSync(path)) return false;
  try {
    utimesSync(path, new Date(), new Date());
  } catch {
    // another user's, in a cache that several share
  }
  return true;
}

/** Headers of libtorch that take long to read, in seconds: most of a compile is that. */
const SLOW_HEADERS = [
  [/ATen\/(ATen|autocast_mode)\.h/, 12],
  [/torch\/csrc\/autograd\//, 9],
  [/Dispatcher\.h|torch\/library\.h/, 5],
];

function expectedSeconds(root, unit) {
  const text = readFileSync(join(root, unit.source), "utf8");
  return SLOW_HEADERS.reduce((sum, [header, seconds]) => sum + (header.test(text) ? seconds : 0), text.length / 2000);
}

/** One compiler per core, as far as memory allows; longest first, so that no long one is left for the end. */
async function compileAll({ root }, units, objects, compiler, update) {
  const queue = [...units].sort((a, b) => expectedSeconds(root, b) - expectedSeconds(root, a));
  const jobs = Math.max(1, Math.min(availableParallelism(), units.length, Math.floor(freemem() / BYTES_PER_COMPILER)));
  let done = 0;
  let failed = null;
  const worker = async () => {
    for (let unit = queue.shift(); unit !== undefined && failed === null; unit = queue.shift()) {
      update(`compiling ${basename(unit.source)}, ${done} of ${units.length} done`);
      await compile(root, unit, objectOf(objects, unit), compiler).catch((error) => (failed ??= error));
      done++;
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  if (failed !== null) throw failed;
  update(`compiled ${units.length} files`);
}

async function compile(root, unit, object, compiler) {
  const temporary = `${object}.${process.pid}.tmp`;
  const args = [...unit.flags, `-ffile-prefix-map=${root}=.`, "-c", unit.source, "-o", temporary];
  const result = await run(compiler.program, args, { cwd: root });
  try {
    if (result.status !== 0)
      throw explainCompiler(root, result, `${compiler.program} could not compile ${unit.source}`, [
        compiler.program,
        ...args,
      ]);
    renameSync(temporary, object);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw explainFileError(error, object);
  }
}

async function link({ name, root, units, link: flags, built, prove }, objects, compiler) {
  const temporary = `${built}.${process.pid}.tmp`;
  const args = [...units.map((unit) => objectOf(objects, unit)), ...flags, "-o", temporary];
  try {
    const result = await run(compiler.program, args, { cwd: root });
    if (result.status !== 0)
      throw explainCompiler(root, result, `${compiler.program} could not link the ${name}`, [
        compiler.program,
        ...args,
      ]);
    await prove?.(temporary);
    renameSync(temporary, built);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw explainFileError(error, built);
  }
}

/** Whether Node.js can load an addon, in a process of its own. */
export async function proveAddon(file) {
  const loaded = await run(process.execPath, ["-e", "process.dlopen({ exports: {} }, process.argv[1])", file]);
  if (loaded.status === 0) return;
  const details =
    loaded.output.split("\n").find((line) => line.includes("Error")) ??
    (loaded.output.slice(-1000) || `ended by ${loaded.signal}`);
  throw new SetupError("NBIT_ADDON_BROKEN", {
    problem: "the addon was built, but does not load.",
    details,
    fix: "npx nbit doctor   # shows what it was built with",
  });
}

function explainCompiler(root, result, problem, command) {
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
    fix: `(cd ${root} && ${command.join(" ")})   # shows all messages of the compiler`,
  });
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
