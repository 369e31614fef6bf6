/** The files of CIFAR, in both versions in which they are published. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadPickle, type Tensor } from "@nbit/torch";
import { VisionError } from "../errors.js";

const PIXELS = 3 * 32 * 32;

interface Version {
  readonly folder: string;
  readonly train: readonly string[];
  readonly test: readonly string[];
}
export interface CifarFiles {
  readonly binary: Version & {
    /** The file with the names of classes, a line each. */
    readonly classes: string;
    /** Bytes before the pixels of an image; the last of them is the class. */
    readonly labels: number;
  };
  readonly python: Version & {
    /** The file with the names of classes, and what they are called in it. */
    readonly classes: readonly [file: string, key: string];
    readonly labels: string;
  };
}
export interface CifarImages {
  readonly folder: string;
  readonly classes: readonly string[];
  /** Of all images, one after the other: channels, rows, columns. */
  readonly pixels: Uint8Array<ArrayBuffer>;
  readonly targets: readonly number[];
}

/** Images of the version that is there; that for Python where both are, as torchvision has it. */
export function readCifar(root: string, train: boolean, { binary, python }: CifarFiles): CifarImages {
  if (existsSync(join(root, python.folder))) return readPython(join(root, python.folder), train, python);
  const folder = join(root, binary.folder);
  const names = read(folder, binary.classes, python.folder)
    .toString("utf8")
    .split("\n")
    .map((s) => s.trim());
  const row = binary.labels + PIXELS;
  const parts = (train ? binary.train : binary.test).map((file) => {
    const bytes = read(folder, file, python.folder);
    if (bytes.length % row !== 0 || bytes.length === 0)
      throw wrong(join(folder, file), `whole images of ${row} bytes`, `${bytes.length} bytes`);
    return bytes;
  });
  const count = parts.reduce((n, bytes) => n + bytes.length / row, 0);
  const pixels = new Uint8Array(count * PIXELS);
  const targets: number[] = [];
  for (const bytes of parts)
    for (let at = 0; at < bytes.length; at += row) {
      pixels.set(bytes.subarray(at + binary.labels, at + row), targets.length * PIXELS);
      targets.push(bytes[at + binary.labels - 1] as number);
    }
  return { folder, classes: names.filter((s) => s !== ""), pixels, targets };
}

function readPython(folder: string, train: boolean, files: CifarFiles["python"]): CifarImages {
  const [meta, key] = files.classes;
  const classes = field(folder, meta, key);
  if (!Array.isArray(classes) || !classes.every((name) => typeof name === "string"))
    throw wrong(join(folder, meta), `a list of names, ${key}`, typeof classes);
  const parts: Uint8Array[] = [];
  const targets: number[] = [];
  for (const file of train ? files.train : files.test) {
    const path = join(folder, file);
    const batch = load(folder, file);
    const data = batch["data"] as Partial<Tensor> | undefined;
    const labels = batch[files.labels];
    const count = Array.isArray(labels) ? labels.length : -1;
    if (data?.dtype !== "uint8" || String(data.shape) !== String([count, PIXELS]))
      throw wrong(path, `uint8 data of ${PIXELS} bytes for each of ${files.labels}`, String(data?.shape));
    if (!(labels as readonly unknown[]).every((label) => Number.isSafeInteger(label)))
      throw wrong(path, `whole numbers in ${files.labels}`, "others");
    parts.push((data as Tensor).toTypedArray() as Uint8Array);
    (data as Tensor).dispose();
    for (const label of labels as readonly number[]) targets.push(label);
  }
  const pixels = new Uint8Array(targets.length * PIXELS);
  let at = 0;
  for (const part of parts) {
    pixels.set(part, at);
    at += part.length;
  }
  return { folder, classes, pixels, targets };
}
function field(folder: string, file: string, key: string): unknown {
  return load(folder, file)[key];
}
function load(folder: string, file: string): Readonly<Record<string, unknown>> {
  if (!existsSync(join(folder, file))) read(folder, file, null);
  const batch = loadPickle(join(folder, file));
  if (typeof batch !== "object" || batch === null || Array.isArray(batch))
    throw wrong(join(folder, file), "a dict", typeof batch);
  return batch as Readonly<Record<string, unknown>>;
}

function read(folder: string, name: string, other: string | null): Buffer {
  try {
    return readFileSync(join(folder, name));
  } catch (error) {
    const beside = other === null ? "" : `, nor is ${other} beside it`;
    throw new VisionError(
      `${join(folder, name)} is not there${beside}: unpack the binary version of the data set below root, or that for Python`,
      "VISION_NOT_FOUND",
      { cause: error },
    );
  }
}
const wrong = (path: string, expected: string, received: string): VisionError =>
  new VisionError(`${path}: expected ${expected}. Received: ${received}`, "VISION_DATA");
