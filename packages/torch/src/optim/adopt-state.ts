/** The state of one parameter, made from a saved one: checked as values, copied to where the parameter is. */
import { noGrad } from "../autograd/modes.js";
import { plainText } from "../plain-text.js";
import { isTensor } from "../tensor/handle.js";
import { outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { parts } from "./pairs.js";
import { is16Bit } from "./rounding.js";
import { shown, type Refuse, type SavedParameter } from "./saved-state.js";
import type { ParameterState, StateFields, StateValue } from "./state.js";

/**
 * @internal One state that is a tensor like its parameter: same shape; real where that is real, complex where that is
 * complex.
 */
export function likeParameter(
  refuse: Refuse,
  name: string,
  position: number,
  value: unknown,
  p: Tensor,
  shape: readonly number[] = p.shape,
): Tensor {
  const what = `${name} of parameter ${position}`;
  if (!isTensor(value) || value.disposed) return refuse(`${what} to be a tensor`, shown(value));
  if (value.layout !== "strided") refuse(`${what} to be a dense tensor`, `a ${value.layout} one`);
  if (String(value.shape) !== String(shape))
    refuse(
      `${what} to have ${String(shape) === String(p.shape) ? "the parameter's shape" : "shape"} [${shape.join(", ")}]`,
      `shape [${value.shape.join(", ")}]`,
    );
  if (value.isComplex() !== p.isComplex() || value.isFloatingPoint() !== p.isFloatingPoint())
    refuse(
      `${what} to be ${p.isComplex() ? "complex" : "in floating point"}, as the parameter in ${p.dtype}`,
      value.dtype,
    );
  return value.detach().to({ device: p.device, dtype: p.dtype, copy: true });
}

/** @internal Sums and averages of squares; NaN is not negative. Reads the tensor: waits for its device. */
export function requireNonNegative(refuse: Refuse, name: string, position: number, value: Tensor): void {
  const negative = scope(() => noGrad(() => parts(value).lt(0).any().item()));
  if (negative)
    refuse(
      `${name} of parameter ${position} to be an average of squares, nowhere below zero`,
      "one with negative values",
      "The state is damaged, or of another optimizer.",
    );
}

/** @internal Names of what in a state holds NaN or infinity. Reads its tensors. */
export function namesOfNonFinite(state: ParameterState): string[] {
  const finite = (t: Tensor): boolean =>
    scope(() => noGrad(() => Boolean((t.dtype.startsWith("float8") ? t.to("float32") : t).isfinite().all().item())));
  return Object.entries(state).flatMap(([name, value]) =>
    [value].flat().every((v) => !isTensor(v) || !(v.isFloatingPoint() || v.isComplex()) || finite(v)) ? [] : [name],
  );
}
/** @internal */
export function warnOfNonFinite(fn: string, names: readonly string[]): void {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  process.emitWarning(
    plainText(
      `${fn}: NaN or infinity in ${names.slice(0, 3).join(", ")}${more}. ` +
        "The run that saved them diverged, or its squares overflowed in 16 bits: parameters become NaN, or stay as they are. " +
        "Go on from an earlier checkpoint, or leave their state out.",
    ),
    { type: "NbitWarning", code: "WARN_OPTIMIZER_STATE" },
  );
}

/** @internal A count of steps, from a number or a tensor of one element. */
export function stepCount(refuse: Refuse, position: number, value: unknown): number {
  const what = `step of parameter ${position}`;
  const count = oneNumber(refuse, what, value, "a whole number ≥ 0");
  if (!Number.isSafeInteger(count) || count < 0)
    refuse(`${what} to be a whole number ≥ 0`, isTensor(value) ? String(count) : shown(value));
  return count;
}
/** A number, or what a tensor of one element holds. */
function oneNumber(refuse: Refuse, what: string, value: unknown, kind = "a number"): number {
  let count: unknown = value;
  if (isTensor(value)) {
    if (
      value.disposed ||
      value.layout !== "strided" ||
      value.numel() !== 1 ||
      value.isComplex() ||
      value.dtype === "bool"
    )
      refuse(`${what} to be one real number`, shown(value));
    const item: unknown = value.item();
    count = typeof item === "bigint" ? Number(item) : item;
  }
  return typeof count === "number" ? count : refuse(`${what} to be ${kind}`, shown(value));
}

/** What kind of state a name stands for; undefined: for none of this optimizer. */
function kindOf(name: string, fields: StateFields | null): StateFields[string] | "any" | undefined {
  if (name === "compensation") return "like?";
  if (fields === null) return "any";
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

/**
 * @internal State of one parameter, copied. `fields`: what the optimizer keeps; null: anything plain. `makeNumber`: the
 * form of its counters.
 */
export function copyState(
  refuse: Refuse,
  saved: SavedParameter,
  p: Tensor,
  fields: StateFields | null,
  makeNumber: (value: number, name: string) => StateValue,
): ParameterState {
  const { position, state } = saved;
  const made: ParameterState = {};
  return noGrad(() =>
    outsideScopes(() => {
      try {
        for (const [name, kind] of Object.entries(fields ?? {}))
          if (!kind.endsWith("?") && state[name] === undefined)
            refuse(
              `${name} in the state of parameter ${position}`,
              `keys ${Object.keys(state).join(", ")}`,
              "Is it the state of another optimizer?",
            );
        for (const [name, value] of Object.entries(state)) {
          if (name === "__proto__") refuse(`state of parameter ${position} by name`, name);
          const kind = kindOf(name, fields);
          if (kind === undefined)
            refuse(
              `${Object.keys(fields ?? {}).join(", ") || "no state"} for parameter ${position}`,
              name,
              "Is it the state of another optimizer?",
            );
          else if (kind === "step") made[name] = makeNumber(stepCount(refuse, position, value), name);
          else if (kind === "number")
            made[name] = makeNumber(oneNumber(refuse, `${name} of parameter ${position}`, value), name);
          else if (kind === "any") made[name] = anything(refuse, name, position, value, p);
          else if (!kind.endsWith("?") || value !== null) {
            const copy = likeParameter(refuse, name, position, value, p, shapeOf(kind, p));
            if (name === "compensation" && !is16Bit(p.dtype)) copy.dispose();
            else made[name] = copy;
            if (!kind.startsWith("like")) requireNonNegative(refuse, name, position, copy);
          }
        }
        return made;
      } catch (error) {
        disposeState(made);
        throw error;
      }
    }),
  );
}

/** The shape of a state beside a parameter: of one number for each row, or each column, where it is such. */
function shapeOf(kind: StateFields[string], { shape }: Tensor): readonly number[] {
  const across = kind === "rows?" ? 1 : kind === "columns?" ? 2 : 0;
  return across === 0 ? shape : shape.map((n, i) => (i === shape.length - across ? 1 : n));
}

function anything(refuse: Refuse, name: string, position: number, value: unknown, p: Tensor): StateValue {
  if (value === null || typeof value === "number") return value;
  if (Array.isArray(value)) return value.map((v) => anything(refuse, name, position, v, p)) as StateValue;
  if (!isTensor(value) || value.disposed)
    return refuse(`${name} of parameter ${position} to be a tensor or a number`, shown(value));
  if (name === "step") return value.detach().clone();
  return value
    .detach()
    .to({
      device: p.device,
      dtype: value.isFloatingPoint() && p.isFloatingPoint() ? p.dtype : value.dtype,
      copy: true,
    });
}

/** @internal Frees the tensors of a state that nothing will use, but for those that others have too. */
export function disposeState(state: ParameterState, shared: readonly string[] = []): void {
  for (const [name, value] of Object.entries(state))
    if (!shared.includes(name)) for (const v of [value].flat()) if (isTensor(v)) v.dispose();
}
