/** Checkpoints of which large tensors stay in their files until ranges of them are needed. */
import {
  empty,
  openCheckpoint,
  plainTensorNames,
  scope,
  ShardedCheckpoint,
  unpackState,
  type Tensor,
} from "@nbit/torch";

/** What files of either kind can do: a file's, or a folder's. */
interface Files {
  readonly names: readonly string[];
  info(name: string): { readonly dtype: Tensor["dtype"]; readonly shape: readonly number[] };
  get(name: string): Tensor;
  read(name: string, start: number, end: number): Tensor;
  close(): void;
}

/**
 * An open checkpoint. Tensors on the device "meta" stand for those that are still in its files, for as long as it is
 * open.
 */
export class StoredCheckpoint {
  readonly #files: Files;
  readonly #json: string;
  readonly #names = new Map<Tensor, string>();

  private constructor(files: Files, json: string) {
    this.#files = files;
    this.#json = json;
  }

  static open(path: string, isFolder: boolean): StoredCheckpoint {
    if (isFolder) {
      const folder = ShardedCheckpoint.open(path);
      return new StoredCheckpoint(folder, folder.json);
    }
    const { file, json } = openCheckpoint(path);
    return new StoredCheckpoint(file, json);
  }

  /** Of all tensors. */
  get names(): readonly string[] {
    return this.#files.names;
  }
  /** All of it, with placeholders for the tensors that `stays` names. */
  state(stays: (name: string, dtype: Tensor["dtype"]) => boolean): unknown {
    const plain = plainTensorNames(this.#json);
    return scope(() => {
      const tensors = Object.fromEntries(
        this.#files.names.map((name) => {
          const { dtype } = this.#files.info(name);
          return [name, plain.has(name) && stays(name, dtype) ? this.#placeholder(name) : this.#files.get(name)];
        }),
      );
      return unpackState({ tensors, json: this.#json });
    });
  }
  #placeholder(name: string): Tensor {
    const { dtype, shape } = this.#files.info(name);
    const placeholder = empty([...shape], { dtype, device: "meta" });
    this.#names.set(placeholder, name);
    return placeholder;
  }

  /** Elements of what a placeholder stands for, in one dimension. */
  readonly read = (placeholder: Tensor, start: number, end: number): Tensor => {
    const name = this.#names.get(placeholder);
    if (name === undefined) throw new RangeError("a tensor that is not of this checkpoint");
    return this.#files.read(name, start, end);
  };
  /** All of what a tensor stands for; itself where it stands for nothing else. */
  whole(tensor: Tensor): Tensor {
    return this.#names.has(tensor) ? this.read(tensor, 0, tensor.numel()).view([...tensor.shape]) : tensor;
  }

  close(): void {
    this.#files.close();
    for (const placeholder of this.#names.keys()) placeholder.dispose();
    this.#names.clear();
  }
}
