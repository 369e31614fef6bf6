/** Buffers: tensors that belong to a module's state and are not learned. */
import { COPY, type Copies } from "../deep-copy.js";
import { byDefault, flag } from "../kinds.js";
import { native } from "../native.js";
import { signature, type Call } from "../signature.js";
import { handleOrZero, mint } from "../tensor/handle.js";
import { tensorKind } from "../tensor/kinds.js";
import { Tensor } from "../tensor/tensor.js";

export interface BufferArguments {
  readonly data: Tensor;
  /** Whether the state dict has it. By name alone. Default true. */
  readonly persistent?: boolean;
}
export type BufferCall = Call<BufferArguments, ["data"], [data: Tensor]>;
const read = signature("Buffer", { data: tensorKind, persistent: byDefault(true, flag) }, 1);

/**
 * A tensor that belongs to a module's buffers by being one of its fields: `this.mean = new nn.Buffer(zeros([3]))` is
 * `registerBuffer("mean", zeros([3]))`. Lives outside every scope; shares the memory of the tensor that it was made from.
 * A plain tensor that takes its place later is the buffer then.
 */
export class Buffer extends Tensor {
  readonly persistent: boolean;
  constructor(...given: BufferCall) {
    const { data, persistent } = read(given);
    const detached = data.detach();
    const handle = native.alias(handleOrZero(detached));
    detached.dispose();
    mint(handle);
    super();
    native.attachFinalizer(this, handle);
    if (data.requiresGrad) native.setRequiresGrad(handle, true);
    this.persistent = persistent;
  }
  // Not a member, so that for TypeScript a buffer is little more than a tensor.
  static {
    const value = function (this: Buffer, copies: Copies): Buffer {
      const data = this.detach().clone();
      const copy = new Buffer(data, { persistent: this.persistent });
      data.dispose();
      copies.set(this, copy);
      return copy;
    };
    Object.defineProperty(Buffer.prototype, COPY, { value, configurable: true, writable: true });
  }
}
