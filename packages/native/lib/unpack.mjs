/**
 * Unpacks the native part of a wheel (libraries, headers, licences) and checks every file against the wheel's RECORD. A
 * file that is there already and is right is kept: an interrupted run goes on.
 */
import { createHash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { FULL, SetupError, diskFull, unwritable } from "./errors.mjs";
import { SETUP_COMMAND, makeFolder } from "./places.mjs";
import { megabytes } from "./progress.mjs";
import { ZipError, readEntry, readZip, streamEntry } from "./zip.mjs";

/**
 * What libtorch consists of. Left out: Python's part, what only PyTorch's own tests use, static libraries, device code
 * for linking kernels, and libraries of NVIDIA's that no library of PyTorch's loads (the solver for several GPUs, the
 * second compiler, replacements of BLAS and FFTW, samplers of profilers).
 */
const WANTED =
  /^(torch\/(lib\/|version\.py$)|nvidia\/|[^/]+\.libs\/|[^/]+\.dist-info\/(METADATA$|RECORD$|licenses\/|NOTICE|LICEN[CS]E))/;
const UNWANTED =
  /torch\/lib\/lib(torch_python|shm|backend_with_compiler|aoti_custom_ops|\w*_test|torchbind_test)\w*(\.so|\/)|\.py[co]?$|\.(a|bc|pc|cmake)$|nvidia\/.*\/lib(cusolverMg|nvrtc\.alt|nvrtc-builtins\.alt|nvblas|cufftw|checkpoint|pcsamplingutil|nvtx3interop)\.so[.\d]*$/;
const KEPT = /^torch\/version\.py$/;
/** What compiling the addon takes besides. */
const HEADERS = /^(torch|nvidia(\/[^/]+)?)\/include\//;

/** Which files of a wheel of PyTorch's or NVIDIA's are unpacked. */
export function isWanted(name, headers) {
  if (KEPT.test(name)) return true;
  if (HEADERS.test(name)) return headers;
  return WANTED.test(name) && !UNWANTED.test(name) && (headers || !/\/include\//.test(name));
}

/**
 * @param {string} source A wheel, or a folder that wheels were unpacked into by another program.
 * @param {string} stage
 * @param {string} work Folder that is forgotten when the wheel turns out to be damaged.
 * @param {(text: string) => void} update
 * @param {(name: string) => boolean} wanted
 */
export async function unpack(source, stage, work, update, wanted) {
  makeFolder(stage);
  try {
    const { files } = contentsOf(source);
    const chosen = files.filter(({ name }) => wanted(name));
    const total = chosen.reduce((sum, { size }) => sum + size, 0);
    let done = 0;
    for (const file of chosen) {
      await place(file, join(stage, file.name));
      done += file.size;
      update(`unpacking and verifying ${megabytes(done)} of ${megabytes(total)}`);
      if (file.size < 1 << 20 && chosen.length > 1000) await turn();
    }
  } catch (error) {
    throw explain(error, source, stage, work);
  }
}

let last = 0;
/** Timers have their turn among thousands of small files: a lock is kept alive, the progress line moves. */
async function turn() {
  if (performance.now() - last < 50) return;
  await new Promise((resolve) => setImmediate(resolve));
  last = performance.now();
}

class Damaged extends Error {}

/**
 * @typedef {{ name: string, size: number, sha256: string, open: () => NodeJS.ReadableStream, read: () => Buffer }} File
 *   `sha256` in base64url, "" of RECORD itself.
 *
 * @returns {{ files: File[], metadata: string[] }}
 */
function contentsOf(source) {
  const files = statSync(source).isDirectory() ? inFolder(source) : inWheel(source);
  const records = files.filter(({ name }) => /^[^/]+\.dist-info\/RECORD$/.test(name));
  if (records.length === 0) throw new Damaged("the wheel has no RECORD");
  const known = new Map(records.flatMap((record) => recordOf(record.read().toString("utf8"))));
  for (const file of files) {
    if (file.name.startsWith("/") || file.name.split("/").includes(".."))
      throw new Damaged(`${file.name} points outside of the wheel`);
    file.sha256 = known.get(file.name) ?? null;
  }
  const metadata = files
    .filter(({ name }) => /^[^/]+\.dist-info\/METADATA$/.test(name))
    .map((file) => file.read().toString("utf8"));
  return { files, metadata };
}

function inWheel(path) {
  return readZip(path).map((entry) => ({
    name: entry.name,
    size: entry.size,
    open: () => streamEntry(path, entry),
    read: () => readEntry(path, entry),
  }));
}

function inFolder(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath ?? entry.path, entry.name);
      return {
        name: relative(folder, path),
        size: statSync(path).size,
        open: () => createReadStream(path),
        read: () => readFileSync(path),
      };
    });
}

/** METADATA of each wheel in `source`; `work` is forgotten when it is damaged. */
export function metadataOf(source, work) {
  try {
    return contentsOf(source).metadata;
  } catch (error) {
    throw explain(error, source, work, work);
  }
}

/** Rows of `name,sha256=…,size`; a name with a comma stands in quotes. */
function recordOf(text) {
  return text
    .split(/\r?\n/)
    .map((line) => /^(?:"((?:[^"]|"")*)"|([^,]*)),(?:sha256=([\w-]*))?/.exec(line))
    .filter((row) => row !== null && (row[1] ?? row[2]) !== "")
    .map(([, quoted, plain, sha]) => [quoted?.replaceAll('""', '"') ?? plain, sha ?? ""]);
}

async function place(file, target) {
  if (file.sha256 === null) throw new Damaged(`${file.name} is not in RECORD`);
  if (await isRight(target, file)) return;
  mkdirSync(dirname(target), { recursive: true });
  const hash = createHash("sha256");
  if (file.size < 1 << 20) {
    const bytes = file.read();
    hash.update(bytes);
    writeFileSync(target, bytes);
  } else {
    const hashing = async function* (chunks) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    };
    await pipeline(file.open(), hashing, createWriteStream(target));
  }
  const got = hash.digest("base64url");
  if (file.sha256 === "" || got === file.sha256) return;
  rmSync(target, { force: true });
  throw new Damaged(`${file.name}: expected sha256 ${file.sha256}, got ${got}`);
}

async function isRight(target, { size, sha256 }) {
  try {
    if (sha256 === "" || statSync(target).size !== size) return false;
    return (await sha256Of(target, "base64url")) === sha256;
  } catch {
    return false;
  }
}

/** Of a file, without holding it in memory. */
export async function sha256Of(path, encoding = "hex") {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest(encoding);
}

function explain(error, source, stage, work) {
  if (error instanceof SetupError) return error;
  if (error instanceof Damaged || error instanceof ZipError || /^Z_/.test(error?.code) || error instanceof RangeError)
    return Object.assign(corrupt(work, `${source}: ${error.message}`), { wheel: source });
  if (FULL.test(error?.code)) return diskFull(stage, error);
  if (typeof error?.syscall === "string") return unwritable(stage, error);
  return error;
}

/** What came is not what was published: forget it, so that the next run fetches afresh. */
export function corrupt(work, message) {
  rmSync(work, { recursive: true, force: true });
  return new SetupError("NBIT_DOWNLOAD_CORRUPT", {
    problem: `the fetched wheel is damaged; it has been removed.`,
    details: String(message),
    fix: `${SETUP_COMMAND}   # fetches it again`,
  });
}
