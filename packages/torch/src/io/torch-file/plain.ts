/** What was read, as JavaScript's own values. */
import { DEEPEST } from "../../limits.js";
import { itemSize, type Tensor } from "../../tensor/index.js";
import { PyDict, PyGlobal, type PyList, PyMade, PySet, type PyTuple, type PyValue } from "../pickle/values.js";
import type { FileFault } from "./errors.js";
import { TorchStorage } from "./storage.js";

/**
 * A value of a pickle as ours: lists and tuples as arrays; an OrderedDict as a Map; any other dict as an object where
 * its keys are all texts, or all whole numbers, and else as a Map; None as null. What stands in several places stays
 * one.
 */
export function toPlain(value: PyValue, fault: FileFault): unknown {
  const known = new Map<object, unknown>();
  return plain(value, 0);

  function plain(v: PyValue, depth: number): unknown {
    if (typeof v !== "object" || v === null || v instanceof Uint8Array) return v;
    if (known.has(v)) return known.get(v);
    if (depth > DEEPEST) throw fault("TORCH_FILE_LIMIT", `expected at most ${DEEPEST} levels of nesting.`);
    if (v instanceof PyMade) return remember(v, madeValue(v, fault));
    if (v instanceof PyGlobal) return v.spec.value ?? v.name;
    if (v instanceof PyDict) return dict(v, depth);
    if (v instanceof PySet) {
      const set = new Set<unknown>();
      known.set(v, set);
      for (const item of v.items) set.add(plain(item, depth + 1));
      return set;
    }
    const list: unknown[] = [];
    known.set(v, list);
    for (const item of (v as PyList | PyTuple).items) list.push(plain(item, depth + 1));
    return list;
  }
  function remember(v: object, made: unknown): unknown {
    known.set(v, made);
    return made;
  }
  function dict(v: PyDict, depth: number): unknown {
    if (v.ordered || !hasFields(v)) {
      const map = new Map<unknown, unknown>();
      known.set(v, map);
      for (const [key, each] of v.entries) map.set(plain(key, depth + 1), plain(each, depth + 1));
      return map;
    }
    const object: Record<string, unknown> = {};
    known.set(v, object);
    for (const [key, each] of v.entries)
      // Defined, so that "__proto__" is a key like any other.
      Object.defineProperty(object, String(key), {
        value: plain(each, depth + 1),
        writable: true,
        enumerable: true,
        configurable: true,
      });
    return object;
  }
}

function hasFields({ entries }: PyDict): boolean {
  return entries.every(([key]) => typeof key === "string") || entries.every(([key]) => Number.isSafeInteger(key));
}

function madeValue(v: PyMade, fault: FileFault): unknown {
  const { value } = v;
  return value instanceof TorchStorage ? wholeStorage(value, fault) : value;
}
function wholeStorage(storage: TorchStorage, fault: FileFault): Tensor {
  return storage.tensor(storage.dtype, 0, [Math.floor(storage.length / itemSize(storage.dtype))], [1], fault);
}
