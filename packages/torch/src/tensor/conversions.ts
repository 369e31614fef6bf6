/** `to` and its shorthands: written by hand because PyTorch's argument parser treats them apart. */
import { ArgumentError } from "../errors.js";
import { flag, oneOf, whole } from "../kinds.js";
import { deviceKind, dtypeKind } from "./kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { invoke } from "../ops/invoke.js";
import { Operator } from "../ops/operator.js";
import { device, isDevice, isDeviceName, type DeviceLike } from "./device.js";
import { dtypeMeant, isDType, type DType } from "./dtype.js";
import { isTensor } from "./handle.js";
import { Tensor } from "./tensor.js";

export interface ToOptions {
  readonly dtype?: DType | undefined;
  readonly device?: DeviceLike | undefined;
  /** Ask for a copy even when nothing would change. */
  readonly copy?: boolean | undefined;
  /** From pinned memory to a GPU: do not wait. */
  readonly nonBlocking?: boolean | undefined;
  readonly memoryFormat?: "contiguousFormat" | "preserveFormat" | "channelsLast" | "channelsLast3d" | undefined;
}

const NAMES: OptionNames<ToOptions> = {
  dtype: true,
  device: deviceKind,
  copy: flag,
  nonBlocking: flag,
  memoryFormat: oneOf("contiguousFormat", "preserveFormat", "channelsLast", "channelsLast3d"),
};

export interface Conversions {
  /**
   * The same values in another dtype, on another device, or both. The tensor itself when nothing changes (unless
   * `copy`).
   * @example x.to("bfloat16"); x.to("cuda:0"); x.to({ dtype: "float16", device: "cuda", nonBlocking: true }); x.to(other)
   */
  to(target: DType | DeviceLike | ToOptions | Tensor): Tensor;
  type(dtype: DType): Tensor;
  cpu(): Tensor;
  cuda(index?: number): Tensor;
  float(): Tensor;
  double(): Tensor;
  half(): Tensor;
  bfloat16(): Tensor;
  long(): Tensor;
  int(): Tensor;
  short(): Tensor;
  char(): Tensor;
  byte(): Tensor;
  bool(): Tensor;
}

const copy = new Operator("aten::_to_copy", "");

function to(self: Tensor, options: ToOptions): Tensor {
  const dtype = options.dtype ?? undefined;
  if (dtype !== undefined && !isDType(dtype))
    throw new ArgumentError("to", "a dtype, a device or options", dtype, dtypeMeant(dtype));
  const target = options.device === undefined ? undefined : device(options.device, "to");
  const here = self.device;
  const sameDevice = target === undefined || target === here || (target.type === here.type && target.index === null);
  const format = options.memoryFormat;
  if (options.copy !== true && format === undefined && sameDevice && (dtype === undefined || dtype === self.dtype))
    return self;
  return invoke(copy, [
    self,
    { dtype, device: sameDevice ? undefined : target, nonBlocking: options.nonBlocking ?? false, memoryFormat: format },
  ]) as Tensor;
}

const methods: Conversions & ThisType<Tensor> = {
  to(target) {
    atMost("to", arguments, 1);
    if (isTensor(target)) return to(this, { dtype: target.dtype, device: target.device });
    if (isDType(target)) return to(this, { dtype: target });
    // "half" is no device, but nearly a dtype.
    if (typeof target === "string" && !isDeviceName(target) && dtypeMeant(target) !== "")
      throw new ArgumentError("to", "a dtype, a device, options or a tensor", target, dtypeMeant(target));
    if (typeof target === "string" || isDevice(target)) return to(this, { device: target });
    if (typeof target !== "object" || target === null)
      throw new ArgumentError("to", "a dtype, a device, options or a tensor", target);
    checkOptions("to", target, NAMES);
    return to(this, target);
  },
  type(dtype) {
    atMost("type", arguments, 1);
    checkArguments("type", { dtype }, { dtype: dtypeKind });
    return to(this, { dtype });
  },
  cpu() {
    atMost("cpu", arguments, 0);
    return to(this, { device: "cpu" });
  },
  cuda(index) {
    atMost("cuda", arguments, 1);
    if (index !== undefined) checkArguments("cuda", { index }, { index: whole("[0, ∞)") });
    return to(this, { device: index === undefined ? "cuda" : `cuda:${index}` });
  },
  float() {
    atMost("float", arguments, 0);
    return to(this, { dtype: "float32" });
  },
  double() {
    atMost("double", arguments, 0);
    return to(this, { dtype: "float64" });
  },
  half() {
    atMost("half", arguments, 0);
    return to(this, { dtype: "float16" });
  },
  bfloat16() {
    atMost("bfloat16", arguments, 0);
    return to(this, { dtype: "bfloat16" });
  },
  long() {
    atMost("long", arguments, 0);
    return to(this, { dtype: "int64" });
  },
  int() {
    atMost("int", arguments, 0);
    return to(this, { dtype: "int32" });
  },
  short() {
    atMost("short", arguments, 0);
    return to(this, { dtype: "int16" });
  },
  char() {
    atMost("char", arguments, 0);
    return to(this, { dtype: "int8" });
  },
  byte() {
    atMost("byte", arguments, 0);
    return to(this, { dtype: "uint8" });
  },
  bool() {
    atMost("bool", arguments, 0);
    return to(this, { dtype: "bool" });
  },
};

/** @internal */
export function attachConversions(): void {
  for (const [name, value] of Object.entries(methods))
    Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
}
