/** Parameters and buffers whose shape is not known yet: the first input of a lazy layer tells. */
import { COPY, type Copies } from "../deep-copy.js";
import { ArgumentError, verbatim } from "../errors.js";
import { byDefault, flag, listOf, orNull, whole } from "../kinds.js";
import { empty } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { defer, undefer } from "../tensor/deferred.js";
import { deviceKind, dtypeKind } from "../tensor/kinds.js";
import type { DeviceLike } from "../tensor/device.js";
import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { Buffer } from "./buffer.js";
import { FACTORY, type FactoryOptions } from "./factory.js";
import { Parameter } from "./parameter.js";

export interface UninitializedOptions extends FactoryOptions {
  /** Default true of parameters, false of buffers. */
  readonly requiresGrad?: boolean;
}
export interface UninitializedBufferOptions extends UninitializedOptions {
  /** Whether the state dict has it. Default true. */
  readonly persistent?: boolean;
}
export interface MaterializeArguments {
  readonly shape: readonly number[];
  /** Default null: as it is. */
  readonly device?: DeviceLike | null;
  /** Default null: as it is. */
  readonly dtype?: DType | null;
}
type MaterializeCall = Call<
  MaterializeArguments,
  ["shape", "device", "dtype"],
  [shape: readonly number[], device?: DeviceLike | null, dtype?: DType | null]
>;
type Order = ["requiresGrad", "device", "dtype"];
type Positions = [requiresGrad?: boolean, device?: DeviceLike | null, dtype?: DType | null];
const readParameter = signature("UninitializedParameter", { requiresGrad: byDefault(true, flag), ...FACTORY });
const readBuffer = signature("UninitializedBuffer", {
  requiresGrad: byDefault(false, flag),
  ...FACTORY,
  persistent: byDefault(true, flag),
});
const readShape = signature("materialize", {
  shape: listOf(whole("[0, ∞)")),
  device: byDefault(null, orNull(deviceKind)),
  dtype: byDefault(null, orNull(dtypeKind)),
});

function refuse(type: string): never {
  throw new ArgumentError(
    type,
    "to have a shape before it is used",
    verbatim("one without"),
    "Call the module once, before an optimizer is made of its parameters; the first input tells the shape.",
  );
}
/** Nobody uses its values from here on. */
function putToSleep(t: Tensor, type: string): void {
  defer(t, () => refuse(type));
}
function materialize(t: Tensor, given: readonly unknown[], becomes: object): void {
  const { shape, device, dtype } = readShape(given, `${t.constructor.name}.materialize`);
  const data = empty([...shape], { device: device ?? t.device, dtype: dtype ?? t.dtype });
  undefer(t);
  Object.setPrototypeOf(t, becomes);
  t.setData(data);
  data.dispose();
}
function nothing(options: FactoryOptions): Tensor {
  return empty([0], { device: options.device ?? null, dtype: options.dtype ?? null });
}

/**
 * A parameter without a shape. Its dtype and device can be changed; whatever else it is used for is an error, until
 * {@link materialize} makes a {@link Parameter} of it: this object, so that who knows it keeps it.
 * @throws {ArgumentError} `UninitializedParameter: expected to have a shape before it is used. Received: one without. …`
 */
export class UninitializedParameter extends Parameter {
  constructor(...given: Call<UninitializedOptions, Order, Positions>) {
    const { requiresGrad, ...factory } = readParameter(given);
    const data = nothing(factory);
    super(data, { requiresGrad });
    data.dispose();
    putToSleep(this, "UninitializedParameter");
  }
  override get shape(): readonly number[] {
    return refuse("UninitializedParameter");
  }
  /** Memory of a shape, with whatever values stand in it. It is a Parameter from here on. */
  materialize(...given: MaterializeCall): void {
    materialize(this, given, Parameter.prototype);
  }
  override toString(): string {
    return "<UninitializedParameter>";
  }
  static {
    const value = function (this: UninitializedParameter, copies: Copies): UninitializedParameter {
      const { requiresGrad, device, dtype } = this;
      const copy = new UninitializedParameter({ requiresGrad, device, dtype });
      copies.set(this, copy);
      return copy;
    };
    Object.defineProperty(UninitializedParameter.prototype, COPY, { value, configurable: true, writable: true });
  }
}

/** A buffer without a shape, of which {@link materialize} makes a {@link Buffer}. See {@link UninitializedParameter}. */
export class UninitializedBuffer extends Buffer {
  constructor(
    ...given: Call<UninitializedBufferOptions, [...Order, "persistent"], [...rest: Positions, persistent?: boolean]>
  ) {
    const { requiresGrad, persistent, ...factory } = readBuffer(given);
    const data = nothing(factory);
    if (requiresGrad) data.requiresGrad_(true);
    super(data, { persistent });
    data.dispose();
    putToSleep(this, "UninitializedBuffer");
  }
  override get shape(): readonly number[] {
    return refuse("UninitializedBuffer");
  }
  /** Memory of a shape, with whatever values stand in it. It is a Buffer from here on. */
  materialize(...given: MaterializeCall): void {
    materialize(this, given, Buffer.prototype);
  }
  override toString(): string {
    return "<UninitializedBuffer>";
  }
  static {
    const value = function (this: UninitializedBuffer, copies: Copies): UninitializedBuffer {
      const { requiresGrad, device, dtype, persistent } = this;
      const copy = new UninitializedBuffer({ requiresGrad, device, dtype, persistent });
      copies.set(this, copy);
      return copy;
    };
    Object.defineProperty(UninitializedBuffer.prototype, COPY, { value, configurable: true, writable: true });
  }
}

export type Uninitialized = UninitializedParameter | UninitializedBuffer;
/** @internal */
export function isUninitialized(value: unknown): value is Uninitialized {
  return value instanceof UninitializedParameter || value instanceof UninitializedBuffer;
}
/** @internal Its device and dtype as `convert` would have them. */
export function convertUninitialized(t: Uninitialized, convert: (t: Tensor) => Tensor): void {
  const type = t.constructor.name;
  undefer(t);
  try {
    t.setData(convert(t));
  } finally {
    putToSleep(t, type);
  }
}
