/** Reading sharded checkpoints: the elements that are asked for, and no others. */
import { join } from "node:path";
import { ArgumentError, describe } from "../errors.js";
import { itemSize } from "../tensor/dtype.js";
import { callable } from "../kinds.js";
import { atMost, checkArguments, checkOptions } from "../options.js";
import { empty } from "../ops/index.js";
import { scope, type Tensor } from "../tensor/index.js";
import { SafetensorsError } from "./errors.js";
import { checkRange, fillFrom, PLACE, SafetensorsFile, type PlaceOptions } from "./safetensors-read.js";
import { readManifest, type Manifest, type ManifestTensor } from "./sharded-manifest.js";
import { partName } from "./sharded-write.js";
import { unpackState } from "./state.js";

/**
 * A sharded checkpoint, opened and checked: a folder with a file for each process that saved it, and a manifest. Whoever
 * reads it, in however many processes, reads the elements that it needs.
 *
 * @example
 * using checkpoint = ShardedCheckpoint.open("last.ckpt");
 * checkpoint.read("stateDict.head.weight", 0, 1024);
 */
export class ShardedCheckpoint {
  readonly folder: string;
  readonly #manifest: Manifest;
  readonly #open = new Map<number, SafetensorsFile>();

  private constructor(folder: string, manifest: Manifest) {
    this.folder = folder;
    this.#manifest = manifest;
  }

  /**
   * Read the manifest; no tensor is read.
   * @throws {CheckpointError} `CHECKPOINT_INCOMPLETE` where the save did not come to its end; `CHECKPOINT_VERSION`,
   * `CHECKPOINT_STATE`.
   */
  static open(folder: string): ShardedCheckpoint {
    atMost("ShardedCheckpoint.open", arguments, 1);
    return new ShardedCheckpoint(folder, readManifest("ShardedCheckpoint.open", folder));
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.#manifest.metadata;
  }
  get names(): string[] {
    return Object.keys(this.#manifest.tensors);
  }
  /** @internal The state's text, as `packState` has it. */
  get json(): string {
    return this.#manifest.state;
  }
  /** Dtype and shape of a tensor, and which parts of it which files have. */
  info(name: string): ManifestTensor {
    atMost("ShardedCheckpoint.info", arguments, 1);
    if (typeof name !== "string") throw new ArgumentError("ShardedCheckpoint.info", "the name of a tensor", name);
    if (this.#manifest === undefined)
      throw new ArgumentError("ShardedCheckpoint.info", "a checkpoint made by new ShardedCheckpoint(folder)", this);
    const { tensors } = this.#manifest;
    const found = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
    if (found === undefined)
      throw new SafetensorsError(
        "SAFETENSORS_MISSING",
        `expected a tensor ${describe(name)}. Received: a checkpoint without it.`,
        this.folder,
      );
    return found;
  }

  /** Elements of a tensor in row-major order, from `start` until before `end`, in one dimension. */
  read(name: string, start: number, end: number, options: PlaceOptions = {}): Tensor {
    atMost("ShardedCheckpoint.read", arguments, 4);
    checkOptions("ShardedCheckpoint.read", options, PLACE);
    const { dtype, shape } = this.info(name);
    checkRange("ShardedCheckpoint.read", name, shape, start, end);
    return scope(() => {
      const tensor = empty([end - start], { dtype, device: "cpu" });
      fillFrom(tensor, (take) => this.eachBytes(name, start, end, take));
      return options.device === undefined ? tensor : tensor.to({ device: options.device });
    });
  }

  /** All of a tensor. */
  get(name: string, options: PlaceOptions = {}): Tensor {
    atMost("ShardedCheckpoint.get", arguments, 2);
    const { shape } = this.info(name);
    return scope(() =>
      this.read(
        name,
        0,
        shape.reduce((a, b) => a * b, 1),
        options,
      ).view([...shape]),
    );
  }

  /**
   * Everything that was saved, as {@link loadCheckpoint} gives it of one file.
   * @param tensorOf - What stands for a tensor. Default: all of it, read.
   */
  state(options: PlaceOptions = {}, tensorOf: (name: string) => Tensor = (name) => this.get(name, options)): unknown {
    atMost("ShardedCheckpoint.state", arguments, 2);
    checkArguments("ShardedCheckpoint.state", { tensorOf }, { tensorOf: callable });
    return scope(() => {
      const tensors = Object.fromEntries(this.names.map((name) => [name, tensorOf(name)]));
      return unpackState({ tensors, json: this.#manifest.state });
    });
  }

  /** @internal The bytes of a range, piece by piece, in memory that is used again. */
  eachBytes(name: string, start: number, end: number, take: (bytes: Uint8Array) => void): void {
    const { dtype, parts } = this.info(name);
    const size = itemSize(dtype);
    for (const part of parts) {
      const from = Math.max(start, part.start);
      const to = Math.min(end, part.end);
      if (from >= to) continue;
      const stored = partName(name, part.start);
      this.#file(part.file).eachBytes(stored, (from - part.start) * size, (to - part.start) * size, take);
    }
  }

  #file(index: number): SafetensorsFile {
    const open = this.#open.get(index);
    if (open !== undefined) return open;
    const file = SafetensorsFile.open(join(this.folder, this.#manifest.files[index]?.name ?? ""));
    this.#open.set(index, file);
    return file;
  }

  /** Close its files. Safe to call twice; what is asked for afterwards opens them again. */
  close(): void {
    atMost("ShardedCheckpoint.close", arguments, 0);
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
