/** Casting of models, inputs and outputs. */
import { atMost, isFloatingPoint, nn, Tensor, type DType } from "@nbit/torch";
import { checkDepth, elementsOf } from "@nbit/torch/files";
import { isMap, isPlain } from "@nbit/torch/realm";

/** Every floating point tensor in arrays, plain objects and Maps, cast. */
export function castTensors(value: unknown, dtype: DType): unknown {
  atMost("castTensors", arguments, 2);
  return castInside(value, dtype, 0);
}
function castInside(value: unknown, dtype: DType, depth: number): unknown {
  if (value instanceof Tensor) return value.isFloatingPoint() ? value.to(dtype) : value;
  checkDepth("castTensors", depth);
  if (Array.isArray(value))
    return elementsOf(value as readonly unknown[], "castTensors", "every array").map((v) =>
      castInside(v, dtype, depth + 1),
    );
  if (isMap(value)) return new Map([...value].map(([k, v]) => [k, castInside(v, dtype, depth + 1)]));
  if (isPlain(value))
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, castInside(v, dtype, depth + 1)]));
  return value;
}

/** Whether a module is a BatchNorm with weights, which keeps float32 statistics in a float16 model. */
export function isAffineBatchNorm(module: nn.Module): boolean {
  atMost("isAffineBatchNorm", arguments, 1);
  return (
    (module instanceof nn.BatchNorm1d ||
      module instanceof nn.BatchNorm2d ||
      module instanceof nn.BatchNorm3d ||
      module instanceof nn.SyncBatchNorm) &&
    module.weight !== null
  );
}

/** Cast parameters and buffers, or these alone, in place: parameters keep their identity. */
export function castModel(
  model: nn.Module,
  dtype: DType,
  keepBatchnormFp32: boolean,
  what: "all" | "buffers" = "all",
): void {
  const kept = new Set<Tensor>();
  if (keepBatchnormFp32)
    for (const m of model.modules())
      if (isAffineBatchNorm(m)) for (const t of [...m.parameters(), ...m.buffers()]) kept.add(t);
  for (const t of what === "all" ? [...model.parameters(), ...model.buffers()] : model.buffers()) {
    if (!isFloatingPoint(t.dtype)) continue;
    const target = kept.has(t) ? "float32" : dtype;
    if (t.dtype === target) continue;
    const { grad } = t;
    const [cast, castGrad] = [t.detach().to(target), grad === null ? null : grad.to(target)];
    if (grad !== null) t.grad = null;
    t.setData(cast);
    if (grad !== null) t.grad = castGrad;
  }
}

type Forward = (...args: unknown[]) => unknown;

/** Replace a module's forward on the instance. Returns what puts it back. */
function wrapForward(model: nn.Module, wrap: (forward: Forward) => Forward): () => void {
  const own = Object.getOwnPropertyDescriptor(model, "forward");
  const original = model.forward;
  const bound: Forward = (...args) => (original as Forward).apply(model, args);
  Object.defineProperty(model, "forward", {
    value: wrap(bound),
    configurable: true,
    writable: true,
    enumerable: false,
  });
  return () => {
    if (own === undefined) Reflect.deleteProperty(model, "forward");
    else Object.defineProperty(model, "forward", own);
  };
}

/** What a model's forward casts. */
export interface ForwardCasts {
  /** Runs a forward under casts of its own (O1's lists); null: its inputs are cast to `dtype`. */
  readonly run: ((fn: () => unknown) => unknown) | null;
  /** Dtype of the inputs; null: as they are. */
  readonly dtype: DType | null;
  /** Dtype of the outputs; null: as they are. */
  readonly outputs: DType | null;
}

/** Have a model's forward cast. Returns what undoes it; null where there is nothing to cast. */
export function castForward(model: nn.Module, { run, dtype, outputs }: ForwardCasts): (() => void) | null {
  if (run === null && dtype === null && outputs === null) return null;
  const cast = (value: unknown, to: DType | null): unknown => (to === null ? value : castTensors(value, to));
  return wrapForward(model, (forward) => (...args) => {
    if (run !== null)
      return cast(
        run(() => forward(...args)),
        outputs,
      );
    return cast(forward(...(dtype === null ? args : args.map((a) => cast(a, dtype)))), outputs);
  });
}
