import { ArgumentError, Tensor } from "@nbit/torch";

/** @throws {ArgumentError} for arguments of an update that are no tensors. */
export function checkTensors(fn: string, given: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(given))
    if (!(value instanceof Tensor)) throw new ArgumentError(fn, `${name} to be a tensor`, value);
}

/** @throws {ArgumentError} where two tensors that belong together have different shapes. */
export function checkSameShape(fn: string, preds: Tensor, target: Tensor): void {
  checkTensors(fn, { preds, target });
  if (preds.shape.length !== target.shape.length || preds.shape.some((n, i) => n !== target.shape[i]))
    throw new ArgumentError(fn, `target of the shape of preds, [${preds.shape.join(", ")}]`, target);
}
