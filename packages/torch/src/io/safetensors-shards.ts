/** Several safetensors files and an index that says which tensor is where, as Hugging Face keeps large models. */
import { existsSync, readFileSync, statSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { either, such, whole, type Kind } from "../kinds.js";
import { describe } from "../errors.js";
import { quoted } from "../plain-text.js";
import { isPlain } from "../realm.js";
import { SafetensorsError, withFile } from "./errors.js";
import { MAX_HEADER } from "./safetensors-header.js";

/** A number of bytes, or a text such as "5GB" (of powers of ten) or "512MiB" (of two). */
export type ShardSize = number | `${number}${"K" | "M" | "G" | "T"}${"B" | "iB"}`;

const UNITS = "KMGT";
function parse(size: unknown): number | null {
  if (typeof size === "number") return size;
  const match = typeof size === "string" ? /^(\d+(?:\.\d+)?) ?([KMGT])(i?)B$/i.exec(size) : null;
  if (match === null) return null;
  const [, digits = "", unit = "", binary = ""] = match;
  return Math.floor(Number(digits) * (binary === "" ? 1000 : 1024) ** (UNITS.indexOf(unit.toUpperCase()) + 1));
}
/** @internal */
export const shardSizeKind: Kind<ShardSize> = either(
  whole("[1, ∞]"),
  such<ShardSize>('a text such as "5GB"', (v) => typeof v === "string" && (parse(v) ?? 0) >= 1),
);
/** @internal In bytes. */
export const bytesIn = (size: ShardSize): number => parse(size) ?? Infinity;

const ENDING = ".safetensors";
const INDEX = ".safetensors.index.json";

/** What an index says: files, each with the names of its tensors, in the index's order. */
export interface ShardIndex {
  readonly path: string;
  readonly files: ReadonlyMap<string, readonly string[]>;
}

/**
 * @internal The index that a path means: of an index itself, or of a folder that has one. Null: it is a single file, of
 * the returned path.
 */
export function findIndex(fn: string, path: string): ShardIndex | string {
  if (path.endsWith(INDEX)) return readIndex(fn, path);
  if (!withFile(fn, "read", path, () => statSync(path)).isDirectory()) return path;
  const [index, single] = [join(path, `model${INDEX}`), join(path, `model${ENDING}`)];
  return existsSync(index) ? readIndex(fn, index) : existsSync(single) ? single : path;
}

function readIndex(fn: string, path: string): ShardIndex {
  const fail = (message: string): never => {
    throw new SafetensorsError("SAFETENSORS_INDEX", message, path);
  };
  const { size } = withFile(fn, "read", path, () => statSync(path));
  if (size > MAX_HEADER) fail(`expected an index of at most ${MAX_HEADER} bytes. Received: ${size}.`);
  let json: unknown;
  try {
    json = JSON.parse(withFile(fn, "read", path, () => readFileSync(path, "utf8")));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const map: unknown = isPlain(json) ? json["weight_map"] : undefined;
  if (!isPlain(map)) return fail("expected JSON with weight_map: files by the names of tensors.");
  const files = new Map<string, string[]>();
  for (const [name, file] of Object.entries(map)) {
    // Beside the index, and nowhere else.
    if (typeof file !== "string" || basename(file) !== file || !file.endsWith(ENDING) || file.includes("\\"))
      return fail(`expected a file beside the index for ${describe(name)}. Received: ${describe(file)}.`);
    const names = files.get(file);
    if (names === undefined) files.set(file, [name]);
    else names.push(name);
  }
  return { path, files };
}

/** @internal Where a shard lies. */
export const besideIndex = ({ path }: ShardIndex, file: string): string => join(dirname(path), file);

/** @internal A tensor that the index names is in no file. */
export function notIn(index: ShardIndex, name: string): SafetensorsError {
  return new SafetensorsError(
    "SAFETENSORS_MISSING",
    `expected a tensor ${quoted(name)}. Received: an index without it.`,
    index.path,
  );
}

/** @internal Entries in their order, in groups of at most so many bytes, but for an entry that is larger by itself. */
export function inShards<T extends { readonly nbytes: number }>(
  entries: readonly (readonly [string, T])[],
  most: number,
): (readonly [string, T])[][] {
  const shards: (readonly [string, T])[][] = [];
  let current: (readonly [string, T])[] = [];
  let size = 0;
  for (const entry of entries) {
    const { nbytes } = entry[1];
    if (nbytes > most) {
      shards.push([entry]);
      continue;
    }
    if (size + nbytes > most) {
      shards.push(current);
      [current, size] = [[], 0];
    }
    current.push(entry);
    size += nbytes;
  }
  if (current.length > 0 || shards.length === 0) shards.push(current);
  return shards;
}

/** @internal Names of files: `model-00001-of-00003.safetensors`, and the index. */
export function shardNames(path: string, count: number): { readonly files: readonly string[]; readonly index: string } {
  const stem = path.endsWith(ENDING) ? path.slice(0, -ENDING.length) : path;
  const digits = (n: number): string => String(n).padStart(5, "0");
  return {
    files: Array.from({ length: count }, (_, i) => `${stem}-${digits(i + 1)}-of-${digits(count)}${ENDING}`),
    index: `${stem}${INDEX}`,
  };
}

/** @internal The text of an index. */
export function indexText(
  files: readonly string[],
  shards: readonly (readonly (readonly [string, { readonly nbytes: number }])[])[],
): string {
  const map = shards.flatMap((shard, i) => shard.map(([name]) => [name, basename(files[i] ?? "")] as const));
  const total = shards.flat().reduce((n, [, { nbytes }]) => n + nbytes, 0);
  map.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `${JSON.stringify({ metadata: { total_size: total }, weight_map: Object.fromEntries(map) }, null, 2)}\n`;
}

/**
 * @internal What an earlier save of the same name left: the file itself, the index, and the files that it lists. Readers
 * would take what is not of the new save for the present one.
 */
export function earlierFiles(path: string): readonly string[] {
  const { index } = shardNames(path, 0);
  if (!existsSync(index)) return [path];
  try {
    const shards = [...readIndex("saveSafetensors", index).files.keys()];
    const ours = shards.filter((file) => /-\d{5}-of-\d{5}\.safetensors$/.test(file));
    return [path, index, ...ours.map((file) => join(dirname(index), file))];
  } catch {
    return [path]; // an index that cannot be read names nothing
  }
}
/** @internal */
export function removeFiles(files: readonly string[], kept: readonly string[]): void {
  const keep = new Set(kept.map((file) => basename(file)));
  for (const file of files)
    if (!keep.has(basename(file)))
      try {
        unlinkSync(file);
      } catch {
        // Never there, or it cannot be removed: the save itself succeeded.
      }
}
