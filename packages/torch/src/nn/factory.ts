/** How parameters are made: where, and of which dtype. */
import { byDefault, orNull } from "../kinds.js";
import { empty } from "../ops/index.js";
import type { OptionNames } from "../options.js";
import type { DeviceLike } from "../tensor/device.js";
import type { DType } from "../tensor/dtype.js";
import { deviceKind, dtypeKind } from "../tensor/kinds.js";
import { Parameter } from "./parameter.js";

export interface FactoryOptions {
  /** Where parameters are made. Default null: the default device. */
  readonly device?: DeviceLike | null | undefined;
  /** Of the parameters. Default null: the default dtype, float32 unless set. */
  readonly dtype?: DType | null | undefined;
}
/** @internal */
export const FACTORY_NAMES: OptionNames<FactoryOptions> = { device: orNull(deviceKind), dtype: orNull(dtypeKind) };
/** @internal The same as rows of a signature. */
export const FACTORY = {
  device: byDefault(null, orNull(deviceKind)),
  dtype: byDefault(null, orNull(dtypeKind)),
} as const;

/** @internal A fresh parameter without values. */
export function emptyParameter(shape: readonly number[], options: FactoryOptions): Parameter {
  const data = empty([...shape], { dtype: options.dtype ?? null, device: options.device ?? null });
  const parameter = new Parameter(data);
  data.dispose();
  return parameter;
}
