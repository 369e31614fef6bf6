/** Values as a pickle, and the storages of its tensors. */
import { Buffer } from "node:buffer";
import { ArgumentError, verbatim } from "../../errors.js";
import { DEEPEST } from "../../limits.js";
import { extraStateOf, isPlainExtraState } from "../../nn/extra-state.js";
import { Parameter } from "../../nn/parameter.js";
import { aten, Complex } from "../../ops/index.js";
import { isMap, isPlain, isSet, isUint8Array } from "../../realm.js";
import { isDevice } from "../../tensor/device.js";
import { isTensor, tensor as tensorFrom, type Tensor, type TypedArray } from "../../tensor/index.js";
import { PickleWriter } from "../pickle/write.js";
import { SavedStorages } from "./saved-storages.js";
import { storageClass, UNTYPED } from "./storage.js";
import { inTorchNames } from "./torch-names.js";

/** Values in lists, objects, Maps and Sets, all together. */
const MOST_VALUES = 2 ** 23;
/** An int of Python's that `weights_only` reads has at most 255 bytes. */
const LARGEST = 2n ** (8n * 255n - 1n);

/** Of one file. */
export class Saver {
  readonly storages = new SavedStorages();
  readonly #writer = new PickleWriter();
  /** Where in the pickle each object is, once it is there. */
  readonly #memo = new Map<object, number>();
  /** Every tensor as it is written: detached, without conj and neg bits. */
  readonly #plain = new Map<Tensor, Tensor>();
  readonly #seen = new Set<object>();
  #values = 0;

  pickle(obj: unknown): Uint8Array {
    // What shares memory is known before the first of it is written.
    this.#look(obj, []);
    this.#value(obj, []);
    return this.#writer.finish();
  }

  #look(v: unknown, path: readonly string[]): void {
    if (++this.#values > MOST_VALUES)
      throw new ArgumentError("save", `at most ${MOST_VALUES} values`, verbatim("more"), "Save tensors, not lists.");
    if (typeof v !== "object" || v === null || isUint8Array(v) || this.#seen.has(v)) return;
    if (path.length > DEEPEST)
      throw new ArgumentError("save", `at most ${DEEPEST} levels of nesting`, verbatim("one that is deeper"));
    this.#seen.add(v);
    if (isTensor(v)) {
      if (!isPlainExtraState(path.at(-1) ?? "", v)) this.#lookAt(v, path);
    } else if (ArrayBuffer.isView(v)) this.#lookAt(this.#arrayAsTensor(v as TypedArray, path), path);
    else for (const [key, each] of entriesOf(v, path)) this.#look(each, [...path, key]);
  }
  #lookAt(tensor: Tensor, path: readonly string[]): void {
    if (tensor.disposed) throw refused(path, tensor, "a live tensor");
    if (tensor.layout === "sparseCoo" || tensor.layout === "sparseCsr") {
      for (const part of this.#partsOf(tensor)) this.#lookAt(part, path);
      return;
    }
    if (tensor.layout !== "strided" || /^q(u?)int/.test(tensor.dtype))
      throw refused(path, tensor, "a tensor with strides", "Make it dense, and no codes, first.");
    if (tensor.device.type !== "meta") this.storages.add(this.#asPlain(tensor));
  }
  #asPlain(tensor: Tensor): Tensor {
    let made = this.#plain.get(tensor);
    if (made === undefined) this.#plain.set(tensor, (made = tensor.detach().resolveConj().resolveNeg()));
    return made;
  }
  readonly #parts = new Map<Tensor, readonly Tensor[]>();
  #partsOf(tensor: Tensor): readonly Tensor[] {
    let parts = this.#parts.get(tensor);
    if (parts === undefined) {
      const t = tensor.detach();
      parts =
        tensor.layout === "sparseCoo"
          ? [aten._indices(t), aten._values(t)]
          : [aten.crow_indices(t), aten.col_indices(t), aten.values(t)];
      this.#parts.set(tensor, parts);
    }
    return parts;
  }
  readonly #arrays = new Map<TypedArray, Tensor>();
  #arrayAsTensor(array: TypedArray, path: readonly string[]): Tensor {
    let made = this.#arrays.get(array);
    if (made === undefined) {
      if (array instanceof DataView) throw refused(path, array);
      this.#arrays.set(array, (made = tensorFrom(array)));
    }
    return made;
  }

  #value(v: unknown, path: readonly string[]): void {
    const writer = this.#writer;
    switch (typeof v) {
      case "string":
        if (Buffer.from(v).toString() !== v) throw refused(path, v, "a well-formed text");
        return writer.text(v);
      case "number":
        return writer.number(v);
      case "boolean":
        return writer.bool(v);
      case "bigint":
        if (v >= LARGEST || v < -LARGEST) throw refused(path, v, "a bigint of at most 255 bytes");
        return writer.bigint(v);
      case "undefined":
        return writer.none();
      case "object":
        return v === null ? writer.none() : this.#object(v, path);
      default:
        throw refused(path, v);
    }
  }

  #object(v: object, path: readonly string[]): void {
    const known = this.#memo.get(v);
    if (known !== undefined) {
      this.#writer.recall(known);
      return;
    }
    const remember = (): void => void this.#memo.set(v, this.#writer.remember());
    if (isTensor(v)) {
      this.#tensor(v, !(path.at(-1) === STATE));
      remember();
    } else if (isUint8Array(v)) {
      this.#writer.bytes(v);
      remember();
    } else if (ArrayBuffer.isView(v)) {
      this.#strided(this.#arrayAsTensor(v as TypedArray, path), false);
      remember();
    } else if (isDevice(v)) {
      this.#writer.call("torch", "device", () => {
        this.#writer.text(v.type);
        if (v.index !== null) this.#writer.number(v.index);
      });
      remember();
    } else if (v instanceof Complex) {
      this.#writer.call("__builtin__", "complex", () => {
        // Python's complex takes floats and ints alike.
        this.#writer.number(v.re);
        this.#writer.number(v.im);
      });
      remember();
    } else this.#container(v, path, (index) => void this.#memo.set(v, index));
  }

  #container(v: object, path: readonly string[], made: (index: number) => void): void {
    const writer = this.#writer;
    // Of a Set inside itself, which is not written before what is in it.
    if (path.length > 2 * DEEPEST) throw refused(path.slice(0, 4), v, "values that are not inside themselves");
    if (Array.isArray(v)) {
      writer.list(made, () => {
        for (const [key, each] of entriesOf(v, path)) this.#value(each, [...path, key]);
      });
      return;
    }
    if (isSet(v)) {
      writer.call("__builtin__", "set", () => {
        writer.list(
          () => undefined,
          () => {
            for (const each of v) this.#value(each, [...path, "(a value)"]);
          },
        );
      });
      made(writer.remember());
      return;
    }
    const state = isStateDict(v);
    const ints = !isMap(v) && Object.keys(inTorchNames(v)).every((key) => WHOLE.test(key));
    writer.dict(state, made, () => {
      const entries: Iterable<readonly [unknown, unknown]> = isMap(v) ? v : Object.entries(inTorchNames(v));
      for (const [key, each] of entries) {
        this.#value(ints ? Number(key) : key, [...path, "(a key)"]);
        // A state dict's tensors have no graph and need no gradient, as in PyTorch. Plain data of modules is itself.
        if (isPlainExtraState(String(key), each)) this.#value(extraStateOf(each), [...path, String(key)]);
        else this.#value(each, state ? [...path, String(key), STATE] : [...path, String(key)]);
      }
    });
  }

  #tensor(v: Tensor, graph: boolean): void {
    const writer = this.#writer;
    const requiresGrad = graph && v.requiresGrad;
    if (graph && v instanceof Parameter)
      writer.call("torch._utils", "_rebuild_parameter", () => {
        this.#withoutParameter(v, requiresGrad);
        writer.bool(v.requiresGrad);
        this.#noHooks();
      });
    else this.#withoutParameter(v, requiresGrad);
  }
  #withoutParameter(v: Tensor, requiresGrad: boolean): void {
    if (v.layout === "strided") this.#strided(v, requiresGrad);
    else this.#sparse(v);
  }

  #sparse(v: Tensor): void {
    const writer = this.#writer;
    const parts = this.#partsOf(v);
    const coo = v.layout === "sparseCoo";
    writer.call("torch._utils", "_rebuild_sparse_tensor", () => {
      writer.call("torch.serialization", "_get_layout", () =>
        writer.text(coo ? "torch.sparse_coo" : "torch.sparse_csr"),
      );
      writer.tuple(() => {
        for (const part of parts) this.#strided(part, false);
        writer.call("torch", "Size", () => this.#sizes(v.shape));
        if (coo) writer.bool(aten.is_coalesced(v) as unknown as boolean);
      });
    });
  }

  #strided(v: Tensor, requiresGrad: boolean): void {
    const writer = this.#writer;
    if (v.device.type === "meta") {
      writer.call("torch._utils", "_rebuild_meta_tensor_no_storage", () => {
        writer.global("torch", v.dtype);
        this.#sizes(v.shape);
        this.#sizes(v.stride());
        writer.bool(requiresGrad);
      });
      return;
    }
    const plain = this.#asPlain(v);
    const storage = this.storages.of(plain);
    const typed = storage.dtype === null ? undefined : storageClass(storage.dtype);
    writer.call("torch._utils", typed === undefined ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2", () => {
      writer.persistent(() => {
        writer.text("storage");
        if (typed === undefined) writer.global("torch.storage", UNTYPED);
        else writer.global("torch", typed);
        writer.text(storage.key);
        writer.text(storage.device);
        writer.number(typed === undefined ? storage.nbytes : storage.nbytes / plain.itemsize);
      });
      writer.number(plain.numel() === 0 ? 0 : plain.storageOffset() - storage.skipped / plain.itemsize);
      this.#sizes(plain.shape);
      this.#sizes(plain.stride());
      writer.bool(requiresGrad);
      this.#noHooks();
      if (typed === undefined) writer.global("torch", plain.dtype);
    });
  }
  #sizes(sizes: readonly number[]): void {
    this.#writer.tuple(() => {
      for (const size of sizes) this.#writer.number(size);
    });
  }
  #noHooks(): void {
    this.#writer.call("collections", "OrderedDict", () => undefined);
  }
}

/** Marks that a value stands in a state dict. */
const STATE = "\0state";
const WHOLE = /^(0|-?[1-9]\d{0,14})$/;

function isStateDict(v: object): v is ReadonlyMap<string, Tensor> {
  if (!isMap(v) || v.size === 0) return false;
  for (const [key, each] of v) if (typeof key !== "string" || !isTensor(each)) return false;
  return true;
}

/** What is in a container, with the names of its places. */
function entriesOf(v: object, path: readonly string[]): Iterable<readonly [string, unknown]> {
  if (Array.isArray(v)) return Array.from(v as readonly unknown[], (each, i) => [String(i), each] as const);
  if (isMap(v))
    return [...v].flatMap(([key, each]): (readonly [string, unknown])[] => [
      ["(a key)", key],
      [String(typeof key === "object" ? "(a value)" : key), each],
    ]);
  if (isSet(v)) return [...v].map((each) => ["(a value)", each] as const);
  if (isDevice(v) || v instanceof Complex) return [];
  if (isPlain(v)) return Object.entries(inTorchNames(v));
  throw refused(path, v);
}

function refused(
  path: readonly string[],
  v: unknown,
  expected = "tensors and plain values",
  fix = meant(v),
): ArgumentError {
  const where = path.filter((part) => part !== STATE);
  return new ArgumentError(
    "save",
    `${where.length === 0 ? "obj" : `obj.${where.join(".")}`} to be ${expected}`,
    v,
    fix,
  );
}
/** What was probably to be saved instead. */
function meant(v: unknown): string {
  if (typeof v !== "object" || v === null || !("stateDict" in v) || typeof v.stateDict !== "function")
    return "Save plain objects, and what is needed to make the rest again.";
  return "parameters" in v ? "Write save(model.stateDict(), path)." : "Save its stateDict().";
}
