/** Vectors with labels and pictures, in the files that TensorBoard's projector reads. */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { ArgumentError } from "../../errors.js";
import { withFile } from "../../io/errors.js";
import { replaceFile, writeAll, writeText } from "../../io/replace.js";
import { full } from "../../ops/index.js";
import { quoted } from "../../plain-text.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { gridOf, pixelsOf } from "./images.js";
import { doublesOf } from "./numbers.js";
import { png } from "./png.js";

export interface Embedding {
  /** `[N, D]`. */
  readonly mat: Tensor;
  /** A label of each, or with a header a row of them. */
  readonly metadata: readonly unknown[] | null;
  readonly header: readonly string[] | null;
  /** `[N, C, H, W]`, values 0 … 1. */
  readonly images: Tensor | null;
  readonly tag: string;
  readonly step: number;
}

/** Writes the files below `root`. @returns Its entry of the projector's configuration. */
export function writeEmbedding(fn: string, root: string, embedding: Embedding): string {
  const { mat, metadata, images, tag, step, header } = embedding;
  if (mat.ndim !== 2) throw new ArgumentError(fn, "mat to be [N, D]", mat);
  if (metadata !== null && metadata.length !== mat.size(0))
    throw new ArgumentError(fn, `metadata of ${mat.size(0)} labels, one per row of mat`, metadata.length);
  if (images !== null && (images.ndim !== 4 || images.size(0) !== mat.size(0)))
    throw new ArgumentError(fn, `labelImg to be [${mat.size(0)}, C, H, W], one picture per row of mat`, images);
  const table = metadata === null ? null : tableOf(fn, metadata, header);
  const number = String(step).padStart(5, "0");
  // What would part folders is written out.
  const below = `${number}/${tag.replaceAll("%", "%25").replaceAll("/", "%2f").replaceAll("\\", "%5c")}`;
  const folder = join(root, below);
  withFile(fn, "make the folder", folder, () => mkdirSync(folder, { recursive: true }));
  if (table !== null) writeText(fn, join(folder, "metadata.tsv"), table);
  if (images !== null) {
    const sprite = spriteOf(fn, images);
    replaceFile(fn, join(folder, "sprite.png"), (fd) => writeAll(fd, sprite), false);
  }
  writeText(fn, join(folder, "tensors.tsv"), vectorsOf(fn, mat));
  const lines = [`  tensor_name: ${quoted(`${tag}:${number}`)}`];
  if (table !== null) lines.push(`  metadata_path: ${quoted(`${below}/metadata.tsv`)}`);
  if (images !== null)
    lines.push(
      "  sprite {",
      `    image_path: ${quoted(`${below}/sprite.png`)}`,
      `    single_image_dim: ${images.size(3)}`,
      `    single_image_dim: ${images.size(2)}`,
      "  }",
    );
  lines.push(`  tensor_path: ${quoted(`${below}/tensors.tsv`)}`);
  return `embeddings {\n${lines.join("\n")}\n}\n`;
}

/** The configuration of all embeddings of a writer. */
export function writeConfig(fn: string, root: string, entries: readonly string[]): void {
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) mkdirSync(root, { recursive: true });
  writeText(fn, join(root, "projector_config.pbtxt"), entries.join(""));
}

function tableOf(fn: string, metadata: readonly unknown[], header: readonly string[] | null): string {
  const cell = (value: unknown): string => String(value).replace(/[\t\n\r]/g, " ");
  if (header === null) return `${metadata.map(cell).join("\n")}\n`;
  const rows = metadata.map((row) => {
    if (!Array.isArray(row) || row.length !== header.length)
      throw new ArgumentError(fn, `metadata of rows of ${header.length}, as metadataHeader has it`, row);
    return (row as readonly unknown[]).map(cell).join("\t");
  });
  return `${[header.map(cell).join("\t"), ...rows].join("\n")}\n`;
}

function vectorsOf(fn: string, mat: Tensor): string {
  const values = doublesOf(fn, "mat", mat);
  const [rows = 0, columns = 0] = mat.shape;
  return Array.from(
    { length: rows },
    (_, y) => `${Array.from(values.subarray(y * columns, (y + 1) * columns), String).join("\t")}\n`,
  ).join("");
}

/** All pictures in one that is as high as it is wide. */
function spriteOf(fn: string, images: Tensor): Buffer {
  return scope(() => {
    const grid = gridOf(fn, images.detach(), Math.ceil(Math.sqrt(images.size(0))));
    const side = grid.size(2);
    const rows = Math.min(grid.size(1), side);
    const square = full([3, side, side], 0, { dtype: grid.dtype, device: grid.device });
    square.narrow(1, 0, rows).copy_(grid.narrow(1, 0, rows));
    return png(pixelsOf(fn, square, "CHW"));
  });
}
