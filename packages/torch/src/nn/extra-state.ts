/** What modules keep beside tensors of their own, as a tensor of a state dict. */
import { Buffer } from "node:buffer";
import { ArgumentError } from "../errors.js";
import { packState, unpackState } from "../io/state.js";
import { isTensor } from "../tensor/handle.js";
import { outsideScopes } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { tensor } from "../tensor/values.js";

/** The last part of its key. */
export const EXTRA_STATE = "_extra_state";

/** So that no bytes of a user's own are taken for it. */
const HEAD = Buffer.from("nbit.plain\n");

/** A tensor as it is; plain data as a text, its bytes in a tensor: every format of files holds that, exactly. */
export function extraStateTensor(type: string, given: unknown): Tensor {
  if (isTensor(given)) return given;
  const fn = `${type}.getExtraState`;
  const expected = "to return a tensor, or plain data such as { step: 3 }";
  if (given === undefined) throw new ArgumentError(fn, expected, given);
  const { json, tensors } = packed(fn, expected, given);
  if (Object.keys(tensors).length > 0)
    throw new ArgumentError(fn, `${expected}, without tensors in it`, given, "Register what are tensors as buffers.");
  return outsideScopes(() => tensor(new Uint8Array(Buffer.concat([HEAD, Buffer.from(json)]))));
}
function packed(fn: string, expected: string, given: unknown): ReturnType<typeof packState> {
  try {
    return packState(given);
  } catch (error) {
    if (error instanceof ArgumentError) throw new ArgumentError(fn, expected, given);
    throw error;
  }
}

/** Whether a tensor of a state dict holds plain data. */
export function isPlainExtraState(key: string, value: unknown): value is Tensor {
  if (!(key === EXTRA_STATE || key.endsWith(`.${EXTRA_STATE}`)) || !isTensor(value) || value.disposed) return false;
  if (value.dtype !== "uint8" || value.dim() !== 1 || value.numel() < HEAD.length || value.device.type === "meta")
    return false;
  return HEAD.equals(bytesOf(value.narrow(0, 0, HEAD.length)));
}

/** What {@link extraStateTensor} was given; what is none of its tensors, as files of PyTorch have it, as it is. */
export function extraStateOf(value: unknown): unknown {
  if (!isPlainExtraState(EXTRA_STATE, value)) return value;
  return unpackState({ json: bytesOf(value).subarray(HEAD.length).toString(), tensors: {} });
}
const bytesOf = (t: Tensor): Buffer => Buffer.from(t.toTypedArray() as Uint8Array);
