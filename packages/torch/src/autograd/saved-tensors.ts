/** What becomes of tensors that operators save for backward. */
import { ArgumentError } from "../errors.js";
import { callable, flag } from "../kinds.js";
import { argBuffer, native } from "../native.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { isPromise, refusePromise } from "../synchronous.js";
import { isTensor, liveHandle, wrap } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";

/** @internal Run `fn` in the region that `native` has just begun. */
export function untilSavedTensorsEnd<T>(name: string, fn: () => T): T {
  try {
    const result = fn();
    if (isPromise(result))
      refusePromise(
        result,
        `${name}: expected a synchronous function. Received: a function that returns a promise: what its code saves after an await would be saved as ever. Use ${name} inside the asynchronous function.`,
        "ERR_ASYNC_MODE",
      );
    return result;
  } finally {
    native.savedTensorsEnd();
  }
}

/**
 * Run `fn`; every tensor that one of its operators saves for backward goes through `pack` at once, and what that
 * returned through `unpack` when backward needs the tensor.
 *
 * Both run without recording, in a scope. A tensor that `pack` returns lives as long as the graph; anything else is kept
 * as it is, and tensors in it must be `keep`t. `unpack` must return a tensor of the shape, dtype and device that `pack`
 * was given, with equal values, or gradients are wrong. Do not change what `pack` is given in place. Regions nest; the
 * innermost one counts.
 *
 * @throws {ArgumentError} `savedTensorsHooks: expected unpack to return a tensor. Received: undefined.`
 * @example
 * // Half of the memory, for less exact gradients.
 * const loss = savedTensorsHooks((t) => t.to("bfloat16"), (t) => (t as Tensor).to("float32"), () => model.forward(x).sum());
 * @see PyTorch's torch.autograd.graph.saved_tensors_hooks
 */
export function savedTensorsHooks<P, T>(pack: (tensor: Tensor) => P, unpack: (packed: P) => Tensor, fn: () => T): T {
  const name = "savedTensorsHooks";
  atMost(name, arguments, 3);
  checkArguments(name, { pack, unpack, fn }, { pack: callable, unpack: callable, fn: callable });
  native.savedTensorsHooks(packing(pack), unpacking(unpack));
  return untilSavedTensorsEnd(name, fn);
}

/** What the addon keeps of a value that is no tensor. */
interface Packed<P> {
  readonly value: P;
}

function packing<P>(pack: (tensor: Tensor) => P): () => Packed<P> | undefined {
  return () => {
    const handle = argBuffer[1] as number;
    argBuffer[0] = 0; // read
    let left = 0;
    const value = scope(() => {
      const packed: P | Promise<unknown> = pack(wrap(handle));
      if (isPromise(packed)) refuse(packed, "pack");
      left = leave(packed);
      return left === 0 ? packed : undefined;
    });
    argBuffer[0] = left;
    return left === 0 ? { value: value as P } : undefined;
  };
}
function unpacking<P>(unpack: (packed: P) => Tensor): (packed?: object) => void {
  return (packed) => {
    const handle = argBuffer[1] as number;
    argBuffer[0] = 0;
    let left = 0;
    scope(() => {
      const value = handle === 0 ? (packed as Packed<P>).value : (wrap(handle) as P);
      const result: unknown = unpack(value);
      if (isPromise(result)) refuse(result, "unpack");
      if (!isTensor(result)) throw new ArgumentError("savedTensorsHooks", "unpack to return a tensor", result);
      left = leave(result);
    });
    argBuffer[0] = left;
  };
}
/** A handle of a tensor for the addon, which is no scope's; 0 for anything else. */
function leave(value: unknown): number {
  return isTensor(value) ? native.alias(liveHandle(value, "savedTensorsHooks")) : 0;
}
function refuse(promise: PromiseLike<unknown>, which: string): never {
  return refusePromise(
    promise,
    `savedTensorsHooks: expected ${which} to end when it returns. Received: a promise, for which nothing waits.`,
    "ERR_ASYNC_HOOK",
  );
}

export interface SaveOnCpuOptions {
  /** Page-locked memory: copies run beside computation, and nothing waits for them. Default true. */
  readonly pinMemory?: boolean;
}
const SAVE_ON_CPU: OptionNames<SaveOnCpuOptions> = { pinMemory: flag };

/**
 * Run `fn`; tensors that its operators save for backward are kept in the memory of the CPU, and come back when backward
 * needs them. For a GPU that is too small: it costs two copies over the bus for each of them.
 *
 * Parameters stay where they are, and so does what takes less than 1 KiB or is on the CPU. With `pinMemory` the copies
 * wait for nothing.
 *
 * @example saveOnCpu(() => model.forward(x).sum()).backward();
 * @see PyTorch's torch.autograd.graph.save_on_cpu
 */
export function saveOnCpu<T>(fn: () => T, options: SaveOnCpuOptions = {}): T {
  atMost("saveOnCpu", arguments, 2);
  checkArguments("saveOnCpu", { fn }, { fn: callable });
  checkOptions("saveOnCpu", options, SAVE_ON_CPU);
  native.savedTensorsOnCpu(options.pinMemory ?? true);
  return untilSavedTensorsEnd("saveOnCpu", fn);
}
