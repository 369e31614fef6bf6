import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readFile, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder } from "@nbit/native/build";
import { atMost, checkArguments, checkOptions, kinds } from "@nbit/torch/options";
import { isUint8Array } from "@nbit/torch/realm";

export interface ExecutableCacheOptions {
  /** Default: `xla-programs` in the folder where nbit keeps libtorch (`XDG_CACHE_HOME` or `~/.cache`, then `nbit`). */
  readonly folder?: string;
  /** Bytes of all programs; those that were not used for longest go first. Default 4 GiB. */
  readonly maxBytes?: number;
  /** Programs that compile faster than so many seconds are not kept. Default 1. */
  readonly minSeconds?: number;
}

const MAGIC = Buffer.from("nbit-xla-program-1\n");
const SUFFIX = ".program";
const STALE_MS = 3600e3;

/**
 * Compiled programs on disk. Several processes may share a folder: a program is written elsewhere first and then renamed,
 * and one that is damaged counts as missing. What the disk refuses costs a compilation, never an error; the first time
 * there is a warning, `XLA_CACHE`.
 */
export class ExecutableCache {
  readonly folder: string;
  readonly maxBytes: number;
  readonly minSeconds: number;
  #warned = false;

  constructor(options: ExecutableCacheOptions = {}) {
    atMost("ExecutableCache", arguments, 1);
    checkOptions("ExecutableCache", options, {
      folder: kinds.filled,
      maxBytes: kinds.real("[0, ∞]"),
      minSeconds: kinds.real("[0, ∞]"),
    });
    this.folder = options.folder ?? join(cacheFolder(), "xla-programs");
    this.maxBytes = options.maxBytes ?? 4 * 2 ** 30;
    this.minSeconds = options.minSeconds ?? 1;
  }

  /** The name of a program that is made of these parts. */
  static key(parts: readonly (string | Uint8Array)[]): string {
    atMost("ExecutableCache.key", arguments, 1);
    checkArguments("ExecutableCache.key", { parts }, { parts: kinds.listOf(part) });
    const hash = createHash("sha256");
    for (const each of parts) hash.update(`${each.length}\n`).update(each);
    return hash.digest("hex");
  }

  /** The program of this name; null when there is none, or none that is whole. */
  async get(key: string): Promise<Uint8Array | null> {
    atMost("get", arguments, 1);
    const path = this.#path("get", key);
    let file: Buffer;
    try {
      file = await readFile(path);
    } catch {
      return null;
    }
    const digest = file.subarray(MAGIC.length, MAGIC.length + 32);
    const program = file.subarray(MAGIC.length + 32);
    const whole =
      file.subarray(0, MAGIC.length).equals(MAGIC) && createHash("sha256").update(program).digest().equals(digest);
    const now = new Date();
    await (whole ? utimes(path, now, now) : rm(path, { force: true })).catch(() => undefined);
    return whole ? program : null;
  }

  /** Keep a program, unless it is larger than the whole cache. */
  async put(key: string, program: Uint8Array): Promise<void> {
    atMost("put", arguments, 2);
    checkArguments("put", { program }, { program: bytes });
    const path = this.#path("put", key);
    if (program.length > this.maxBytes) return;
    const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
    try {
      await mkdir(this.folder, { recursive: true });
      const file = await open(temporary, "wx");
      try {
        await file.writeFile(Buffer.concat([MAGIC, createHash("sha256").update(program).digest(), program]));
      } finally {
        await file.close();
      }
      await rename(temporary, path);
      await this.#prune();
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      this.#warn(error);
    }
  }

  /** Remove every program. */
  async clear(): Promise<void> {
    atMost("clear", arguments, 0);
    for (const { path } of await this.#files()) await rm(path, { force: true });
  }

  #path(fn: string, key: string): string {
    checkArguments(fn, { key }, { key: hexadecimal });
    return join(this.folder, key + SUFFIX);
  }

  async #files(): Promise<{ path: string; size: number; used: number }[]> {
    const names = await readdir(this.folder).catch(() => []);
    const found: { path: string; size: number; used: number }[] = [];
    for (const name of names) {
      if (!name.endsWith(SUFFIX) && !name.endsWith(".tmp")) continue;
      const path = join(this.folder, name);
      const facts = await stat(path).catch(() => null); // another process has removed it
      if (facts === null) continue;
      if (name.endsWith(SUFFIX)) found.push({ path, size: facts.size, used: facts.mtimeMs });
      else if (Date.now() - facts.mtimeMs > STALE_MS) await rm(path, { force: true });
    }
    return found;
  }

  async #prune(): Promise<void> {
    const files = (await this.#files()).sort((a, b) => b.used - a.used);
    let total = 0;
    for (const { path, size } of files) {
      total += size;
      if (total > this.maxBytes) await rm(path, { force: true });
    }
  }

  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    const why = error instanceof Error ? error.message : String(error);
    process.emitWarning(`compiled programs cannot be kept in ${this.folder}: ${why}`, { code: "XLA_CACHE" });
  }
}

const bytes = kinds.such<Uint8Array>("a Uint8Array", isUint8Array);
const part = kinds.such<string | Uint8Array>(
  "a string or a Uint8Array",
  (v) => typeof v === "string" || isUint8Array(v),
);
const hexadecimal = kinds.such<string>(
  "64 hexadecimal digits, as ExecutableCache.key gives them",
  (v) => typeof v === "string" && /^[\da-f]{64}$/.test(v),
);
