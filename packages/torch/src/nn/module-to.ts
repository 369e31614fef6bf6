/** `Module.to`: parameters, gradients and buffers to another dtype, device or layout in memory. */
import { addToMessage, ArgumentError, OutOfMemoryError, verbatim } from "../errors.js";
import { flag, oneOf } from "../kinds.js";
import { emptyLike } from "../ops/index.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { isPlain } from "../realm.js";
import { Device, type DeviceLike } from "../tensor/device.js";
import { isComplex, isDType, isFloatingPoint, type DType } from "../tensor/dtype.js";
import { isTensor } from "../tensor/handle.js";
import { deviceKind, dtypeKind } from "../tensor/kinds.js";
import { keep } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { Parameter } from "./parameter.js";
import type { Tree } from "./tree.js";
import { convertUninitialized, isUninitialized } from "./uninitialized.js";

/** By PyTorch's names or in camelCase. */
export type ModuleMemoryFormat =
  | "contiguousFormat"
  | "preserveFormat"
  | "channelsLast"
  | "channelsLast3d"
  | "contiguous_format"
  | "preserve_format"
  | "channels_last"
  | "channels_last_3d";
const FORMATS = {
  contiguousFormat: "contiguousFormat",
  preserveFormat: "preserveFormat",
  channelsLast: "channelsLast",
  channelsLast3d: "channelsLast3d",
  contiguous_format: "contiguousFormat",
  preserve_format: "preserveFormat",
  channels_last: "channelsLast",
  channels_last_3d: "channelsLast3d",
} as const;

export interface ModuleToOptions {
  readonly dtype?: DType | undefined;
  readonly device?: DeviceLike | undefined;
  readonly nonBlocking?: boolean | undefined;
  /**
   * How what has 4 dimensions (with `channelsLast3d`: 5) lies in memory; the rest stays as it is. Default: as it lies
   * now.
   */
  readonly memoryFormat?: ModuleMemoryFormat | undefined;
}
const TO: OptionNames<ModuleToOptions> = {
  dtype: dtypeKind,
  device: deviceKind,
  nonBlocking: flag,
  memoryFormat: oneOf(...(Object.keys(FORMATS) as ModuleMemoryFormat[])),
};

type Rest = Omit<ModuleToOptions, "device" | "dtype">;
/** What `Module.to` takes, as PyTorch's does. */
export type ModuleTarget =
  | readonly [options: ModuleToOptions]
  | readonly [like: Tensor, nonBlocking?: boolean | Rest]
  | readonly [dtype: DType, nonBlocking?: boolean | Rest]
  | readonly [device: DeviceLike, options?: Omit<ModuleToOptions, "device">]
  | readonly [device: DeviceLike, dtype: DType, nonBlocking?: boolean | Rest];

export function moduleToOptions(given: readonly unknown[]): ModuleToOptions {
  const fn = "Module.to";
  atMost(fn, given, 3);
  const [target, ...rest] = given;
  const options: Record<string, unknown> = {};
  let names = ["nonBlocking"];
  if (isTensor(target)) Object.assign(options, { dtype: target.dtype, device: target.device });
  else if (isDType(target)) options["dtype"] = target;
  else if (typeof target === "string" || target instanceof Device) {
    checkArguments(fn, { target: target as DeviceLike }, { target: deviceKind });
    options["device"] = target;
    names = ["dtype", "nonBlocking"];
  } else if (rest.every((each) => each === undefined)) {
    checkOptions(fn, target as ModuleToOptions, TO);
    Object.assign(options, target);
  } else throw new ArgumentError(fn, "a dtype, a device, a tensor or options", target);
  rest.forEach((value, i) => {
    if (value === undefined) return;
    const byName = isPlain(value) && i === rest.length - 1;
    const more: object = byName ? value : { [names[i] ?? ""]: value };
    if (!byName && names[i] === undefined)
      throw new ArgumentError(
        fn,
        `at most ${names.length + 1} arguments`,
        verbatim(`${String(value)} as argument ${i + 2}`),
      );
    for (const [name, each] of Object.entries(more)) {
      if (each !== undefined && options[name] !== undefined)
        throw new ArgumentError(fn, `${name} once`, verbatim(`${name} by position and by name`));
      options[name] = each as unknown;
    }
  });
  const read: ModuleToOptions = options;
  checkOptions(fn, read, TO);
  if (read.dtype !== undefined && !isFloatingPoint(read.dtype) && !isComplex(read.dtype))
    throw new ArgumentError(fn, "dtype to be a floating point or complex dtype", read.dtype);
  return read;
}

/**
 * Convert the own tensors of each module in place. A real dtype casts what is in real floating point, a complex one what
 * is complex too; the rest keeps its dtype.
 */
export function convertModules<M extends object>(tree: Tree<M>, modules: Iterable<M>, options: ModuleToOptions): void {
  const { dtype, device, nonBlocking } = options;
  const complex = dtype !== undefined && isComplex(dtype);
  const format = options.memoryFormat === undefined ? undefined : FORMATS[options.memoryFormat];
  const convert = (t: Tensor): Tensor => {
    const casts = dtype !== undefined && (isFloatingPoint(t.dtype) || (complex && isComplex(t.dtype)));
    const lies = format !== undefined && (format === "channelsLast3d" ? t.ndim === 5 : t.ndim === 4);
    return t
      .detach()
      .to({
        device,
        nonBlocking,
        ...(casts ? { dtype } : {}),
        ...(lies && !isLaid(t, format) ? { memoryFormat: format } : {}),
      });
  };
  exchange("Module.to", tree, modules, convert);
}
type Format = (typeof FORMATS)[ModuleMemoryFormat];
function isLaid(t: Tensor, format: Format): boolean {
  if (format === "preserveFormat") return true;
  return (format === "contiguousFormat" ? t : t.movedim(1, -1)).isContiguous();
}

/** Memory of the same shapes and dtypes on a device, with whatever values stand in it. */
export function emptyModules<M extends object>(tree: Tree<M>, modules: Iterable<M>, device: DeviceLike): void {
  exchange("Module.toEmpty", tree, modules, (t) => emptyLike(t.detach(), { device }));
}

function exchange<M extends object>(
  fn: string,
  tree: Tree<M>,
  modules: Iterable<M>,
  convert: (t: Tensor) => Tensor,
): void {
  let done = 0;
  // From "meta" to a device with memory, another tensor has to take a parameter's place.
  const successors = new Map<Tensor, Tensor>();
  try {
    for (const module of modules)
      for (const { kind, name, value } of tree.fields(fn, module, "")) {
        if (kind !== "parameter" && kind !== "buffer") continue;
        if (isUninitialized(value)) {
          convertUninitialized(value, convert);
          done++;
          continue;
        }
        const known = successors.get(value);
        const next = known ?? convert(value);
        if (known !== undefined || (next.device.type === "meta") !== (value.device.type === "meta")) {
          const successor = known ?? successorOf(value, next);
          successors.set(value, successor);
          Reflect.set(module, name, successor);
        } else if (kind === "parameter") convertParameter(value, next, convert);
        else if (changes(value, next)) value.setData(next);
        done++;
      }
  } catch (error) {
    if (error instanceof OutOfMemoryError && done > 0)
      addToMessage(
        error,
        `${fn} was interrupted: ${done} parameters and buffers are converted, the others are not. ` +
          "Call it again when there is room.",
      );
    throw error;
  }
}
function successorOf(before: Tensor, next: Tensor): Tensor {
  return before instanceof Parameter ? new Parameter(next, { requiresGrad: before.requiresGrad }) : keep(next);
}
function changes(before: Tensor, next: Tensor): boolean {
  return (
    next.dtype !== before.dtype || next.device !== before.device || String(next.stride()) !== String(before.stride())
  );
}

/** With its gradient, which has to be of the same dtype and device at all times. */
function convertParameter(p: Tensor, next: Tensor, convert: (t: Tensor) => Tensor): void {
  const { grad } = p;
  const nextGrad = grad === null ? null : convert(grad);
  if (grad !== null) p.grad = null;
  p.setData(next);
  if (grad !== null) p.grad = nextGrad;
}
