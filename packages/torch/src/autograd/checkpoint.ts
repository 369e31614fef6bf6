/** Activation checkpointing: a forward keeps its arguments alone, and runs again when backward needs the rest. */
import { ArgumentError, NbitError, TensorDisposedError } from "../errors.js";
import { captureForwardRegions } from "../forward-regions.js";
import { callable, isPlain, whole } from "../kinds.js";
import { checkDepth } from "../limits.js";
import { argBuffer, native, writeLists } from "../native.js";
import { atMost, checkArguments } from "../options.js";
import { iterated } from "../read-once.js";
import { isError, isMap } from "../realm.js";
import { handlesOf, isTensor, wrap } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { enableGrad } from "./modes.js";
import { recomputing } from "./recomputing.js";
import { untilSavedTensorsEnd } from "./saved-tensors.js";

/** How the addon ends a second run that has made all that is needed (src/autograd/saved_tensors.cc). */
const COMPLETE = "CHECKPOINT_COMPLETE";

/**
 * Run `fn(...args)` without keeping what its operators save for backward: backward runs it once more instead. Memory for
 * activations shrinks to the arguments and the result, for the time of one more forward; gradients are the same to the
 * last bit.
 *
 * The second run draws the same random numbers, in the same autocast regions and with the same default dtype; it ends
 * as soon as all is there. Statistics of batch normalisation are taken in the first run alone. Checkpoints nest, and
 * parts of a graph, several backwards of it (`retainGraph`) and gradients of gradients work as without them. `fn` must
 * compute the same both times: it depends on its arguments, on parameters and on random numbers, and on nothing that
 * changes. Tensors that it makes are freed when it returns, but for those that it returns. Other tensors than parameters
 * and buffers are given as arguments, also in arrays, plain objects and Maps: a tensor that `fn` merely knows may be
 * gone when backward runs. Where nothing is recorded, `fn` just runs.
 *
 * @returns What `fn` returns.
 * @throws {NbitError} `ERR_CHECKPOINT_MISMATCH` in backward, when the second run saves other tensors than the first;
 * `ERR_CHECKPOINT_TENSOR` when it needs a tensor that is gone; `SCOPE_ASYNC` when `fn` returns a promise.
 * @example
 * const y = checkpoint((x: Tensor) => block.forward(x), x);
 * @see PyTorch's torch.utils.checkpoint.checkpoint with use_reentrant=False. Chen et al., 2016, arXiv:1604.06174.
 */
export function checkpoint<A extends readonly unknown[], R>(fn: (...args: A) => R, ...args: A): R {
  checkArguments("checkpoint", { fn }, { fn: callable });
  if (!native.isGradEnabled()) return fn(...args);
  const tensors: Tensor[] = [];
  const again = args.map((arg) => templateOf(arg, tensors, 0));
  const handles = handlesOf("checkpoint", "arguments", tensors);
  const within = captureForwardRegions();
  writeLists(handles);
  native.checkpointBegin(() => {
    const given = argBuffer.slice(2, 2 + (argBuffer[1] as number));
    argBuffer[0] = 0; // all is read
    scope(() => {
      const made = Array.from(given, (handle) => wrap(handle));
      try {
        recomputing(() =>
          within(() => enableGrad(() => void fn(...(again.map((make) => make(made)) as unknown as A)))),
        );
      } catch (error) {
        if (!isComplete(error)) throw explained(error);
      }
    });
  });
  return untilSavedTensorsEnd("checkpoint", () => scope(() => fn(...args)));
}

/** What checkpoints did. */
export interface CheckpointCounts {
  readonly calls: number;
  /** Bytes of activations that were not kept, and of arguments that were. */
  readonly dropped: number;
  readonly kept: number;
}

/** @internal What checkpoints do while `fn` runs. */
export function countCheckpoints(fn: () => void): CheckpointCounts {
  atMost("countCheckpoints", arguments, 1);
  native.checkpointsCounted(true);
  try {
    fn();
  } finally {
    native.checkpointsCounted(false);
  }
  const [calls = 0, dropped = 0, kept = 0] = argBuffer.subarray(0, 3);
  return { calls, dropped, kept };
}

function isComplete(error: unknown): boolean {
  return isError(error) && "code" in error && error.code === COMPLETE;
}
function explained(error: unknown): unknown {
  if (!(error instanceof TensorDisposedError)) return error;
  return new NbitError(
    `checkpoint: expected fn to use tensors that are there when backward runs it again. Received: ${error.message} Pass tensors to checkpoint as arguments: it keeps those.`,
    "ERR_CHECKPOINT_TENSOR",
    { cause: error },
  );
}

/** A value without its tensors, which go into a list: makes the value again from others in their place. */
type Template = (tensors: readonly Tensor[]) => unknown;

function templateOf(value: unknown, tensors: Tensor[], depth: number): Template {
  checkDepth("checkpoint", depth);
  if (isTensor(value)) {
    const at = tensors.push(value) - 1;
    return (made) => made[at];
  }
  const before = tensors.length;
  let template: Template | null = null;
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => templateOf(item, tensors, depth + 1));
    template = (made) => items.map((item) => item(made));
  } else if (isMap(value)) {
    const items = [...value].map(([key, item]) => [key, templateOf(item, tensors, depth + 1)] as const);
    template = (made) => new Map(items.map(([key, item]) => [key, item(made)]));
  } else if (isPlain(value)) {
    const items = Object.entries(value).map(([key, item]) => [key, templateOf(item, tensors, depth + 1)] as const);
    template = (made) => Object.fromEntries(items.map(([key, item]) => [key, item(made)]));
  }
  // Without tensors it stays itself.
  return template === null || tensors.length === before ? () => value : template;
}

/** A layer, or a function of one tensor. */
export type CheckpointPart = { forward(x: Tensor): Tensor } | ((x: Tensor) => Tensor);

const through = (part: CheckpointPart, x: Tensor): Tensor => (typeof part === "function" ? part(x) : part.forward(x));

/**
 * Run parts one after the other in `segments` segments of about equally many; each but the last, which backward needs
 * first, is a {@link checkpoint}. With √n segments of n parts memory grows with √n.
 *
 * @param functions - A Sequential, or an array of layers and functions of one tensor.
 * @param segments - How many, ≥ 1, and at most as many as there are parts.
 * @throws {ArgumentError} `checkpointSequential: expected segments to be at most the number of functions (4). Received: 5.`
 * @example const y = checkpointSequential(model, 2, x);
 * @see PyTorch's torch.utils.checkpoint.checkpoint_sequential
 */
export function checkpointSequential(functions: Iterable<CheckpointPart>, segments: number, input: Tensor): Tensor {
  const fn = "checkpointSequential";
  atMost(fn, arguments, 3);
  checkArguments(fn, { segments }, { segments: whole("[1, ∞)") });
  if (!isTensor(input)) throw new ArgumentError(fn, "input to be a tensor", input);
  const parts = iterated(fn, "functions", functions) as CheckpointPart[];
  for (const part of parts)
    if (typeof part !== "function" && typeof (part as Partial<{ forward: unknown }> | null)?.forward !== "function")
      throw new ArgumentError(fn, "functions to be layers, or functions of one tensor", part);
  if (segments > parts.length)
    throw new ArgumentError(fn, `segments to be at most the number of functions (${parts.length})`, segments);
  const size = Math.floor(parts.length / segments);
  let x = input;
  for (let i = 0; i < segments - 1; i++) {
    const segment = parts.slice(i * size, (i + 1) * size);
    x = checkpoint((h: Tensor) => segment.reduce((y, part) => through(part, y), h), x);
  }
  return parts.slice((segments - 1) * size).reduce((y, part) => through(part, y), x);
}
