/** State dicts of optimizers: read whole, and checked, before anything changes. */
import { noGrad } from "../autograd/modes.js";
import { NbitError } from "../errors.js";
import { plainText } from "../plain-text.js";
import { isTensor } from "../tensor/handle.js";
import { outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import type { ParamGroup, ParameterState, StateFields, StateValue } from "./state.js";
import { parts } from "./pairs.js";
import { is16Bit } from "./rounding.js";
import { parameterName } from "./parameter-names.js";
import { fromTorch } from "./torch-state.js";

/** One parameter's saved state, as it was given. */
export interface SavedParameter {
  /** Position over all groups, from 0. */
  readonly position: number;
  readonly group: number;
  readonly state: Readonly<Record<string, unknown>>;
}
export interface SavedState {
  /** By group. */
  readonly options: readonly Readonly<Record<string, unknown>>[];
  readonly parameters: readonly SavedParameter[];
}

/** @internal Makes the errors of one `loadStateDict`. */
export type Refuse = (expected: string, received: string, fix?: string) => never;
export function refusing(fn: string, called: (text: string) => string): Refuse {
  return (expected, received, fix = "") => {
    throw new NbitError(
      plainText(`${fn}: expected ${called(expected)}. Received: ${called(received)}.${fix === "" ? "" : ` ${fix}`}`),
      "OPTIMIZER_STATE",
    );
  };
}
/** @internal Puts the names of parameters, where they have one, beside their positions. */
export function withNames(parameters: readonly Tensor[]): (text: string) => string {
  return (text) =>
    text.replaceAll(/\bparameter (\d+)/g, (said, position: string) => {
      const p = parameters[Number(position)];
      const name = p === undefined ? null : parameterName(p);
      return name === null ? said : `${said} (${name})`;
    });
}

/** What a message says of any value of a state. */
export function shown(value: unknown): string {
  if (isTensor(value))
    return value.disposed ? "a disposed tensor" : `a ${value.dtype} tensor of shape [${value.shape.join(", ")}]`;
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null
    ? "an object"
    : typeof value === "string"
      ? JSON.stringify(value.slice(0, 40))
      : String(value);
}
function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isTensor(value);
}

/** @internal The form of a state dict: its groups, and to which parameter each state belongs. */
export function readStateDict(
  refuse: Refuse,
  given: unknown,
  groups: readonly ParamGroup[],
  algorithm: string | null,
): SavedState {
  if (!isRecord(given)) return refuse("a state dict, { state, paramGroups }", shown(given));
  const { state, paramGroups, algorithm: saved } = "param_groups" in given ? fromTorch(given) : given;
  const fix = "Build the optimizer with the same parameters first.";
  const sizes = groups.map((g) => g.params.length);
  if (!Array.isArray(paramGroups)) return refuse(`groups of ${sizes.join(", ")} parameters`, "no paramGroups", fix);
  if (saved !== undefined && algorithm !== null && saved !== algorithm)
    refuse(`the state of ${algorithm}`, `one of ${shown(saved)}`, "To load it all the same, leave its algorithm out.");
  const order: unknown[] = [];
  const lengths: number[] = [];
  const options = (paramGroups as readonly unknown[]).map((g, i) => {
    if (!isRecord(g)) return refuse(`paramGroups[${i}] to be an object`, shown(g));
    const { params, ...own } = g;
    if (!Array.isArray(params))
      return refuse(`paramGroups[${i}].params to be the positions of its parameters`, shown(params));
    order.push(...(params as unknown[]));
    lengths.push(params.length);
    return own;
  });
  if (String(lengths) !== String(sizes)) refuse(`groups of ${sizes.join(", ")} parameters`, lengths.join(", "), fix);
  if (!isRecord(state)) return refuse("state to be an object by position of the parameter", shown(state));
  const positions = new Map(order.map((saved, i) => [String(saved), i]));
  if (positions.size < order.length || order.some((saved) => typeof saved !== "number" && typeof saved !== "string"))
    refuse("every parameter once in paramGroups", `positions ${order.slice(0, 8).map(shown).join(", ")}`);
  const groupOf = lengths.flatMap((n, i) => new Array<number>(n).fill(i));
  const parameters = Object.entries(state).map(([key, value]): SavedParameter => {
    const position = positions.get(key);
    if (position === undefined) return refuse("state of parameters that paramGroups list", `state of ${shown(key)}`);
    if (!isRecord(value)) return refuse(`state of parameter ${position} to be an object`, shown(value));
    return { position, group: groupOf[position] as number, state: { ...value } };
  });
  return { options, parameters: parameters.sort((a, b) => a.position - b.position) };
}

const isNumber = (value: unknown): value is number => typeof value === "number";

/** What a saved option should have been, beside a default of its kind; null where it is that. */
function expectedOption(name: string, value: unknown, normal: unknown): string | null {
  const unless = (holds: boolean, expected: string): string | null => (holds ? null : expected);
  if (name === "__proto__") return "left out";
  if (name === "lr" || name === "initialLr")
    return unless(isNumber(value) && value >= 0 && value < Infinity, "a finite number ≥ 0");
  if (name === "roundingStep")
    return unless(Number.isSafeInteger(value) && (value as number) >= 0, "a whole number ≥ 0");
  if (isNumber(normal)) return unless(isNumber(value) && !Number.isNaN(value), "a number");
  if (typeof normal === "boolean" || typeof normal === "string")
    return unless(typeof value === typeof normal, `a ${typeof normal}`);
  if (Array.isArray(normal))
    return unless(
      Array.isArray(value) && value.length === normal.length && value.every(isNumber),
      `${normal.length} numbers`,
    );
  return null;
}

/**
 * @internal A group with saved options in place of its own; those are checked by kind here, by range in the optimizer's
 * `validate`.
 */
export function withOptions(
  refuse: Refuse,
  group: ParamGroup,
  index: number,
  options: Readonly<Record<string, unknown>>,
  defaults: Readonly<Record<string, unknown>>,
): ParamGroup {
  for (const [name, value] of Object.entries(options)) {
    const wrong = (expected: string): never => refuse(`${name} of group ${index} to be ${expected}`, shown(value));
    const expected = expectedOption(name, value, defaults[name]);
    if (expected !== null) wrong(expected);
  }
  return Object.assign(Object.create(null) as object, group, options, { params: group.params }) as ParamGroup;
}

/**
 * @internal One state that is a tensor like its parameter: same shape; real where that is real, complex where that is
 * complex.
 */
export function likeParameter(refuse: Refuse, name: string, position: number, value: unknown, p: Tensor): Tensor {
  const what = `${name} of parameter ${position}`;
  if (!isTensor(value) || value.disposed) return refuse(`${what} to be a tensor`, shown(value));
  if (value.layout !== "strided") refuse(`${what} to be a dense tensor`, `a ${value.layout} one`);
  if (String(value.shape) !== String(p.shape))
    refuse(`${what} to have the parameter's shape [${p.shape.join(", ")}]`, `shape [${value.shape.join(", ")}]`);
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
      `${fn}: NaN or infinity in ${names.slice(0, 3).join(", ")}${more}. The run that saved them diverged, or its squares overflowed in 16 bits: parameters become NaN, or stay as they are. Go on from an earlier checkpoint, or leave their state out.`,
    ),
    { type: "NbitWarning", code: "WARN_OPTIMIZER_STATE" },
  );
}

/** @internal A count of steps, from a number or a tensor of one element. */
export function stepCount(refuse: Refuse, position: number, value: unknown): number {
  const what = `step of parameter ${position}`;
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
  if (!Number.isSafeInteger(count) || (count as number) < 0)
    refuse(`${what} to be a whole number ≥ 0`, isTensor(value) ? String(count) : shown(value));
  return count as number;
}

/** What kind of state a name stands for; undefined: for none of this optimizer. */
function kindOf(name: string, fields: StateFields | null): StateFields[string] | "any" | undefined {
  if (name === "compensation") return "like?";
  if (fields === null) return "any";
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

/**
 * @internal State of one parameter, copied. `fields`: what the optimizer keeps; null: anything plain. `makeStep`: the
 * form of its step counters.
 */
export function copyState(
  refuse: Refuse,
  saved: SavedParameter,
  p: Tensor,
  fields: StateFields | null,
  makeStep: (count: number) => StateValue,
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
          else if (kind === "step") made[name] = makeStep(stepCount(refuse, position, value));
          else if (kind === "any") made[name] = anything(refuse, name, position, value, p);
          else if (!kind.endsWith("?") || value !== null) {
            const copy = likeParameter(refuse, name, position, value, p);
            if (name === "compensation" && !is16Bit(p.dtype)) copy.dispose();
            else made[name] = copy;
            if (kind.startsWith("squares")) requireNonNegative(refuse, name, position, copy);
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
