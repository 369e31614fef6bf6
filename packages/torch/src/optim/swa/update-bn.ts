/** Statistics of batch norms for weights that were averaged. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import { instanceOf, orNull, such } from "../../kinds.js";
import { BatchNorm } from "../../nn/batch-norm.js";
import { Module } from "../../nn/module.js";
import { signature, type Call } from "../../signature.js";
import type { DeviceLike } from "../../tensor/device.js";
import { isTensor } from "../../tensor/handle.js";
import { deviceKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import { byDefault } from "../../kinds.js";

type Loader = Iterable<unknown> | AsyncIterable<unknown>;
export interface UpdateBnArguments<L extends Loader = Loader> {
  /** Batches: inputs of the model, or arrays that begin with one. */
  readonly loader: L;
  readonly model: Module;
  /** Where the inputs go. Default null: they stay. */
  readonly device?: DeviceLike | null;
}
const isLoader = (v: unknown): v is Loader =>
  typeof v === "object" && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v);
const read = signature("updateBn", {
  loader: such<Loader>("batches, as an array or another iterable", isLoader),
  model: instanceOf<Module>("a module", Module),
  device: byDefault(null, orNull(deviceKind)),
});

/**
 * Have the batch norms of a model see all of a data set once, from nothing: their statistics are then those of the
 * weights that the model has now. Its mode stays what it was.
 * @returns A promise where the loader is read asynchronously, as a `DataLoader` is.
 */
export function updateBn<L extends Loader>(
  ...given: Call<
    UpdateBnArguments<L>,
    ["loader", "model", "device"],
    [loader: L, model: Module, device?: DeviceLike | null]
  >
): L extends AsyncIterable<unknown> ? Promise<void> : void;
export function updateBn(...given: readonly unknown[]): Promise<void> | void {
  const { loader, model, device } = read(given);
  const norms = Array.from(model.modules()).filter((m) => m instanceof BatchNorm);
  const end = begin(model, norms);
  const see = (batch: unknown): void => {
    const input: unknown = Array.isArray(batch) ? (batch as readonly unknown[])[0] : batch;
    if (!isTensor(input))
      throw new ArgumentError("updateBn", "batches to be tensors, or arrays that begin with one", batch);
    scope(() => noGrad(() => void callOf(model)(device === null ? input : input.to({ device }))));
  };
  if (norms.length === 0) return Symbol.asyncIterator in loader ? Promise.resolve() : undefined;
  if (Symbol.asyncIterator in loader) return all(loader, see).finally(end);
  try {
    for (const batch of loader) see(batch);
  } finally {
    end();
  }
}
async function all(loader: AsyncIterable<unknown>, see: (batch: unknown) => void): Promise<void> {
  for await (const batch of loader) see(batch);
}
const callOf =
  (model: Module): ((input: unknown) => unknown) =>
  (input) =>
    Reflect.apply(model.call as (...args: unknown[]) => unknown, model, [input]);

/** Forget the statistics, and count all batches alike. @returns What brings back how they were. */
function begin(model: Module, norms: readonly BatchNorm[]): () => void {
  const momenta = norms.map((norm) => norm.momentum);
  const { training } = model;
  noGrad(() => {
    for (const { runningMean, runningVar, numBatchesTracked } of norms) {
      runningMean?.zero_();
      runningVar?.fill_(1);
      numBatchesTracked?.zero_();
    }
  });
  const set = (norm: BatchNorm, momentum: number | null): void => void Object.assign(norm, { momentum });
  if (norms.length > 0) model.train();
  for (const norm of norms) set(norm, null);
  return () => {
    norms.forEach((norm, i) => set(norm, momenta[i] ?? null));
    model.train(training);
  };
}
