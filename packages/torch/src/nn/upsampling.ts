/** Signals, images and volumes in other sizes. */
import { byDefault, flag, orNull } from "../kinds.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { interpolate, UPSAMPLE, type InterpolationMode, type UpsampleOptions } from "./functional/interpolation.js";
import { Module } from "./module.js";
import { float, tuple } from "./repr.js";
import type { Size } from "./sizes.js";

export interface UpsampleArguments extends UpsampleOptions {
  /** Scale by the ratio of whole sizes, rather than by `scaleFactor` itself. Default null: false. */
  readonly recomputeScaleFactor?: boolean | null;
}
export type UpsampleCall = Call<
  UpsampleArguments,
  ["size", "scaleFactor", "mode", "alignCorners", "recomputeScaleFactor"],
  [
    size?: Size | null,
    scaleFactor?: Size | null,
    mode?: InterpolationMode,
    alignCorners?: boolean | null,
    recomputeScaleFactor?: boolean | null,
  ]
>;
export type UpsamplingCall = Call<
  Pick<UpsampleOptions, "size" | "scaleFactor">,
  ["size", "scaleFactor"],
  [size?: Size | null, scaleFactor?: Size | null]
>;
const read = signature("Upsample", { ...UPSAMPLE, recomputeScaleFactor: byDefault(null, orNull(flag)) });
const readSize = signature("Upsampling", { size: UPSAMPLE.size, scaleFactor: UPSAMPLE.scaleFactor });

abstract class AnyUpsample extends Module {
  readonly size: Size | null;
  readonly scaleFactor: Size | null;
  readonly mode: InterpolationMode;
  readonly alignCorners: boolean | null;
  readonly recomputeScaleFactor: boolean | null;
  constructor(a: ReturnType<typeof read>) {
    super();
    this.size = a.size;
    this.scaleFactor = a.scaleFactor;
    this.mode = a.mode;
    this.alignCorners = a.alignCorners;
    this.recomputeScaleFactor = a.recomputeScaleFactor;
  }
  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const { size, scaleFactor, mode, alignCorners, recomputeScaleFactor } = this;
    return interpolate(x, size, scaleFactor, mode, alignCorners, recomputeScaleFactor);
  }
  override extraRepr(): string {
    const print = (value: Size | null, one: (each: number) => string): string =>
      value === null ? "None" : typeof value === "number" ? one(value) : tuple(value.map(one));
    const which =
      this.scaleFactor === null ? `size=${print(this.size, String)}` : `scale_factor=${print(this.scaleFactor, float)}`;
    return `${which}, mode='${this.mode}'`;
  }
}
/**
 * `[N, C, …]` with one to three spatial dimensions in another size.
 * @see {@link nn.functional.interpolate}
 * @example new nn.Upsample({ scaleFactor: 2, mode: "bilinear", alignCorners: true })
 */
export class Upsample extends AnyUpsample {
  constructor(...given: UpsampleCall) {
    super(read(given, new.target.name));
  }
}
const PLAIN = { alignCorners: null, recomputeScaleFactor: null };
/** `[N, C, H, W]` in another size, each pixel the nearest one of the input. */
export class UpsamplingNearest2d extends AnyUpsample {
  constructor(...given: UpsamplingCall) {
    super({ ...readSize(given, new.target.name), ...PLAIN, mode: "nearest" });
  }
}
/** `[N, C, H, W]` in another size, linear between pixels, corner pixels kept. */
export class UpsamplingBilinear2d extends AnyUpsample {
  constructor(...given: UpsamplingCall) {
    super({ ...readSize(given, new.target.name), ...PLAIN, mode: "bilinear", alignCorners: true });
  }
}
