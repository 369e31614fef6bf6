/** Layers that put something around their input. */
import { ArgumentError } from "../errors.js";
import { either, listOf, whole } from "../kinds.js";
import { pad } from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { anyNumber } from "./functional/rows.js";
import { requireTensor } from "./inputs.js";
import { Module } from "./module.js";
import { float, tuple } from "./repr.js";
import { rankOf, repeated, type Size } from "./sizes.js";

export interface PadLayerArguments {
  /** For all sides, or before and behind the last dimension, then those of the one before it, …; negative numbers cut. */
  readonly padding: Size;
}
export interface ConstantPadArguments extends PadLayerArguments {
  readonly value: number;
}
export type PadCall = Call<PadLayerArguments, ["padding"], [padding: Size]>;
export type ConstantPadCall = Call<ConstantPadArguments, ["padding", "value"], [padding: Size, value: number]>;
const amount = whole();
const PADDING = { padding: either(amount, listOf(amount)) };
const readPad = signature("Pad", PADDING);
const readConstant = signature("ConstantPad", { ...PADDING, value: anyNumber });
type Rank = 1 | 2 | 3;

/** `around` is the mode by libtorch's name. */
abstract class Pad extends Module {
  readonly padding: readonly number[];
  constructor(...given: PadCall) {
    super();
    const fn = new.target.name;
    this.padding = repeated(fn, "padding", readPad(given, fn).padding, 2 * rankOf(new.target));
  }
  /** @internal */
  abstract get rank(): Rank;
  /** @internal */
  protected abstract get around(): string;
  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return pad(x, this.padding, this.around);
  }
  override extraRepr(): string {
    return tuple(this.padding);
  }
}
abstract class ReflectionPad extends Pad {
  protected override get around(): string {
    return "reflect";
  }
}
abstract class ReplicationPad extends Pad {
  protected override get around(): string {
    return "replicate";
  }
}
abstract class CircularPad extends Pad {
  protected override get around(): string {
    return "circular";
  }
  override forward(x: Tensor): Tensor {
    const { rank } = this;
    requireTensor(`${this.constructor.name}.forward`, x);
    if (x.ndim !== rank + 1 && x.ndim !== rank + 2)
      throw new ArgumentError(this.constructor.name, `an input of ${rank + 1} or ${rank + 2} dimensions`, x);
    return super.forward(x);
  }
}
abstract class ZeroPad extends Pad {
  protected override get around(): string {
    return "constant";
  }
}
abstract class ConstantPad extends Module {
  readonly padding: readonly number[];
  readonly value: number;
  constructor(...given: ConstantPadCall) {
    super();
    const fn = new.target.name;
    const { padding, value } = readConstant(given, fn);
    this.padding = repeated(fn, "padding", padding, 2 * rankOf(new.target));
    this.value = value;
  }
  /** @internal */
  abstract get rank(): Rank;
  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return pad(x, this.padding, "constant", this.value);
  }
  override extraRepr(): string {
    return `padding=${tuple(this.padding)}, value=${Number.isInteger(this.value) ? this.value : float(this.value)}`;
  }
}

/** `value` around the last dimension. */
export class ConstantPad1d extends ConstantPad {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
}
/** `value` around the last two dimensions. */
export class ConstantPad2d extends ConstantPad {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
}
/** `value` around the last three dimensions. */
export class ConstantPad3d extends ConstantPad {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
}
/** Zeros around the last dimension. */
export class ZeroPad1d extends ZeroPad {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
}
/** Zeros around the last two dimensions. */
export class ZeroPad2d extends ZeroPad {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
}
/** Zeros around the last three dimensions. */
export class ZeroPad3d extends ZeroPad {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
}
/** The input's own elements around it, as in a mirror that stands on the edge: `[N, C, L]` or `[C, L]`. */
export class ReflectionPad1d extends ReflectionPad {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
}
/** The input's own elements around it, as in a mirror that stands on the edge: `[N, C, H, W]` or `[C, H, W]`. */
export class ReflectionPad2d extends ReflectionPad {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
}
/** The input's own elements around it, as in a mirror that stands on the edge: `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class ReflectionPad3d extends ReflectionPad {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
}
/** The input's edge around it: `[N, C, L]` or `[C, L]`. */
export class ReplicationPad1d extends ReplicationPad {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
}
/** The input's edge around it: `[N, C, H, W]` or `[C, H, W]`. */
export class ReplicationPad2d extends ReplicationPad {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
}
/** The input's edge around it: `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class ReplicationPad3d extends ReplicationPad {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
}
/** The input's other side around it: `[N, C, L]` or `[C, L]`. */
export class CircularPad1d extends CircularPad {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
}
/** The input's other side around it: `[N, C, H, W]` or `[C, H, W]`. */
export class CircularPad2d extends CircularPad {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
}
/** The input's other side around it: `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class CircularPad3d extends CircularPad {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
}
