/** What a sharded checkpoint says of itself: `manifest.json` in its folder, which is written last. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe } from "../errors.js";
import { isDType, type DType } from "../tensor/dtype.js";
import { conforming, count, fieldsOf, leaf, listOf, recordOf, text } from "../schema.js";
import { checkPath, CheckpointError, withFile } from "./errors.js";

/** Elements of a tensor in row-major order, from `start` until before `end`, and which file has them. */
export interface Part {
  /** Index in the files of the manifest. */
  readonly file: number;
  readonly start: number;
  readonly end: number;
}
export interface ManifestTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** In the order of elements, without gaps or overlaps. */
  readonly parts: readonly Part[];
}
export interface Manifest {
  /** Names in the folder, and sizes. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  readonly tensors: Readonly<Record<string, ManifestTensor>>;
  /** Everything that is no tensor: the text that `packState` gives. */
  readonly state: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** @internal */
export const MANIFEST = "manifest.json";
const FORMAT = "nbit.sharded";
const VERSION = 1;

const FILE_NAME = /^[0-9a-f]{16}\.rank-\d+\.safetensors$/;
/** @internal The file of a rank; `save` tells one save from another. */
export const shardName = (save: string, rank: number): string => `${save}.rank-${rank}.safetensors`;
/** @internal Whether a file in the folder may be one of some save's. */
export const isShardName = (name: string): boolean => FILE_NAME.test(name);

const dtype = leaf<DType>("a dtype", (v) => typeof v === "string" && isDType(v));
const fileName = leaf<string>(
  "the name of a file of a sharded checkpoint",
  (v) => typeof v === "string" && isShardName(v),
);
const schema = fieldsOf({
  format: leaf<string>(`"${FORMAT}"`, (v) => v === FORMAT),
  version: count,
  files: listOf(fieldsOf({ name: fileName, bytes: count })),
  tensors: recordOf(
    fieldsOf({ dtype, shape: listOf(count), parts: listOf(fieldsOf({ file: count, start: count, end: count })) }),
  ),
  state: text,
  metadata: recordOf(text),
});

/** @internal */
export function manifestText(manifest: Manifest): string {
  return JSON.stringify({ format: FORMAT, version: VERSION, ...manifest });
}

/**
 * Read and check the manifest of a folder, and that its files are there, as long as they were.
 *
 * @throws {CheckpointError} `CHECKPOINT_INCOMPLETE`: no manifest, as a save leaves that was killed, or a file is missing
 * or was cut; `CHECKPOINT_VERSION`; `CHECKPOINT_STATE`.
 */
export function readManifest(fn: string, folder: string): Manifest {
  checkPath(fn, folder);
  const path = join(folder, MANIFEST);
  if (!withFile(fn, "read", folder, () => statSync(folder)).isDirectory())
    throw new CheckpointError(
      "CHECKPOINT_FORMAT",
      `${fn}: expected the folder of a sharded checkpoint. Received: the file ${folder}.`,
    );
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true)
    throw new CheckpointError(
      "CHECKPOINT_INCOMPLETE",
      `${folder}: expected ${MANIFEST}, which a save writes last. Received: none. That save did not come to its end, or this is no checkpoint: use an earlier one.`,
    );
  const json = parse(
    path,
    withFile(fn, "read", path, () => readFileSync(path, "utf8")),
  );
  const manifest = conforming(schema, json, "", ({ path: at, expected, received }) =>
    damaged(path, `${at === "" ? "it" : at} to be ${expected}`, describe(received)),
  );
  if (manifest.version > VERSION)
    throw new CheckpointError(
      "CHECKPOINT_VERSION",
      `${path}: expected a sharded checkpoint of version ${VERSION} or below. Received: ${manifest.version}. Read it with a newer nbit.`,
    );
  for (const [name, tensor] of Object.entries(manifest.tensors)) checkParts(path, name, tensor, manifest.files.length);
  for (const { name, bytes } of manifest.files) {
    const size = statSync(join(folder, name), { throwIfNoEntry: false })?.size;
    if (size !== bytes)
      throw new CheckpointError(
        "CHECKPOINT_INCOMPLETE",
        `${folder}: expected the file ${name} of ${bytes} bytes. Received: ${size === undefined ? "none" : `${size} bytes`}. Copy the whole folder.`,
      );
  }
  return manifest;
}

function parse(path: string, content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    throw damaged(path, "JSON", describe(content.slice(0, 40)));
  }
}

function damaged(path: string, expected: string, received: string): CheckpointError {
  return new CheckpointError(
    "CHECKPOINT_STATE",
    `${path}: expected ${expected}. Received: ${received}. It is damaged.`,
  );
}

/** @internal Every element once. */
export function checkParts(path: string, name: string, { shape, parts }: ManifestTensor, files: number): void {
  let at = 0;
  for (const { file, start, end } of parts) {
    if (file >= files) throw damaged(path, `files of ${describe(name)} to be from 0 to ${files - 1}`, String(file));
    if (start !== at || end < start)
      throw damaged(path, `a part of ${describe(name)} that begins at ${at}`, `one of elements ${start} to ${end}`);
    at = end;
  }
  const numel = shape.reduce((a, b) => a * b, 1);
  if (at !== numel) throw damaged(path, `${numel} elements of ${describe(name)}`, String(at));
}
