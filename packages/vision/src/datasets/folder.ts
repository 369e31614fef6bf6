/** Images in folders, one for each class. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  atMost,
  ArgumentError,
  Dataset,
  isTensor,
  kinds,
  scope,
  signature,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { VisionError } from "../errors.js";
import { readImage } from "../io/io.js";
import type { Step } from "../transforms/transform.js";
import { inTurn, sample, transform, type Sample, type VisionArguments } from "./vision.js";

export const IMG_EXTENSIONS = [".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"] as const;

/** The pixels of a file in colour: uint8, `[3, H, W]`. */
export function defaultLoader(path: string): Promise<Tensor> {
  atMost("defaultLoader", arguments, 1);
  return readImage(path, "RGB");
}

export interface ImageFolderArguments extends VisionArguments {
  /** Default: {@link defaultLoader}. For workers of a loader it must be one that a module exports. */
  readonly loader?: (path: string) => unknown;
  /** Instead of by extension. */
  readonly isValidFile?: ((path: string) => boolean) | null;
  /** Let classes be without images. Default false. */
  readonly allowEmpty?: boolean;
}
const read = signature("ImageFolder", {
  root: kinds.filled,
  transform,
  targetTransform: transform,
  loader: kinds.byDefault<(path: string) => unknown, () => typeof defaultLoader>(
    () => defaultLoader,
    kinds.such("a function of a path", (v) => typeof v === "function"),
  ),
  isValidFile: kinds.byDefault(
    null,
    kinds.orNull(kinds.such<(path: string) => boolean>("a function of a path", (v) => typeof v === "function")),
  ),
  allowEmpty: kinds.byDefault(false, kinds.flag),
} satisfies OptionNames<ImageFolderArguments>);
type ImageFolderCall = Call<
  ImageFolderArguments,
  ["root", "transform", "targetTransform", "loader", "isValidFile", "allowEmpty"],
  [
    root: string,
    transform?: Step | null,
    targetTransform?: Step | null,
    loader?: (path: string) => unknown,
    isValidFile?: ((path: string) => boolean) | null,
    allowEmpty?: boolean,
  ]
>;

/**
 * Images of `root/class/…/image.png`: element i is the image, or what `transform` makes of it, and its class. Elements
 * come as promises, since images are decoded on other threads.
 *
 * @throws {VisionError} `VISION_NOT_FOUND` where there is no folder of a class, or one without an image.
 * @example new ImageFolder("train", new Compose([new RandomResizedCrop(224), new ToTensor()]))
 */
export class ImageFolder extends Dataset<Sample> {
  readonly root: string;
  readonly transform: Step | null;
  readonly targetTransform: Step | null;
  readonly loader: (path: string) => unknown;
  readonly classes: readonly string[];
  readonly classToIdx: Readonly<Record<string, number>>;
  readonly paths: readonly string[];
  readonly targets: readonly number[];

  constructor(...given: ImageFolderCall) {
    super();
    const a = read(given, new.target.name);
    this.root = a.root;
    this.transform = a.transform;
    this.targetTransform = a.targetTransform;
    this.loader = a.loader;
    this.classes = folders(a.root);
    this.classToIdx = Object.fromEntries(this.classes.map((name, i) => [name, i]));
    const isValid = a.isValidFile ?? hasImageExtension;
    const perClass = this.classes.map((name) => filesBelow(join(a.root, name)).filter((path) => isValid(path)));
    const empty = this.classes.filter((_, i) => (perClass[i] as string[]).length === 0);
    if (empty.length > 0 && !a.allowEmpty)
      throw new VisionError(
        `${a.root}: no image of ${empty.join(", ")}. Files are ${a.isValidFile === null ? `those that end with ${IMG_EXTENSIONS.join(", ")}` : "chosen by isValidFile"}; allowEmpty takes classes without any.`,
        "VISION_NOT_FOUND",
      );
    this.paths = perClass.flat();
    this.targets = perClass.flatMap((paths, i) => paths.map(() => i));
  }
  get length(): number {
    return this.paths.length;
  }
  /** Paths and classes. */
  get samples(): [path: string, target: number][] {
    return this.paths.map((path, i) => [path, this.targets[i] as number]);
  }
  get(index: number): Promise<Sample> {
    atMost(`${this.constructor.name}.get`, arguments, 1);
    const path = this.paths[index];
    if (path === undefined)
      throw new ArgumentError("ImageFolder.get", `index to be from 0 to ${this.length - 1}`, index);
    return inTurn(this, this.loader(path), (image) => {
      const made = scope(() => sample(image, this.targets[index] as number, this));
      // An image of ours that became another tensor is nobody's.
      if (this.loader === defaultLoader && isTensor(image) && isTensor(made[0]) && made[0] !== image) image.dispose();
      return made;
    });
  }
}

const hasImageExtension = (path: string): boolean => IMG_EXTENSIONS.some((end) => path.toLowerCase().endsWith(end));
const sorted = (names: string[]): string[] => names.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

function folders(root: string): string[] {
  let names: string[];
  try {
    names = readdirSync(root).filter((name) => statSync(join(root, name)).isDirectory());
  } catch (error) {
    throw new VisionError(`${root} cannot be read: ${String(error)}`, "VISION_NOT_FOUND", { cause: error });
  }
  if (names.length === 0) throw new VisionError(`${root}: no folder, of which each is a class`, "VISION_NOT_FOUND");
  return sorted(names);
}
/** Files of a folder, then those of the folders in it, each in the order of names; links are followed. */
function filesBelow(folder: string): string[] {
  const all: { readonly folder: string; readonly files: string[] }[] = [];
  const walk = (at: string): void => {
    const names = readdirSync(at);
    const inner = names.filter((name) => statSync(join(at, name)).isDirectory());
    all.push({ folder: at, files: sorted(names.filter((name) => !inner.includes(name))) });
    for (const name of inner) walk(join(at, name));
  };
  walk(folder);
  all.sort((a, b) => (a.folder < b.folder ? -1 : 1));
  return all.flatMap((each) => each.files.map((name) => join(each.folder, name)));
}
