/** The form of optimizers' state dicts: written, and read whole and checked before anything changes. */
import { NbitError } from "../errors.js";
import { plainText } from "../plain-text.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import type { OptimizerState, ParamGroup, ParameterState } from "./state.js";
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

/** @internal What {@link readStateDict} reads: state by position of the parameter over all groups. */
export function writeStateDict(
  groups: readonly ParamGroup[],
  states: ReadonlyMap<Tensor, ParameterState>,
  algorithm: string | null,
): OptimizerState {
  const all = groups.flatMap((g) => g.params);
  const position = new Map(all.map((p, i) => [p, i]));
  const state: Record<string, ParameterState> = {};
  all.forEach((p, i) => {
    const s = states.get(p);
    if (s !== undefined) state[String(i)] = { ...s };
  });
  return {
    ...(algorithm === null ? {} : { algorithm }),
    state,
    paramGroups: groups.map(({ params, ...options }) => ({
      ...options,
      params: params.map((p) => position.get(p) as number),
    })),
  };
}

const isNumber = (value: unknown): value is number => typeof value === "number";

/** What a saved option should have been, beside a default of its kind; null where it is that. */
function expectedOption(name: string, value: unknown, normal: unknown): string | null {
  const unless = (holds: boolean, expected: string): string | null => (holds ? null : expected);
  if (name === "__proto__") return "left out";
  if (name === "lr" || name === "initialLr")
    return unless(isNumber(value) && value >= -1e-9 && value < Infinity, "a finite number ≥ 0");
  if (name === "roundingStep")
    return unless(Number.isSafeInteger(value) && (value as number) >= 0, "a whole number ≥ 0");
  if (isNumber(normal)) return unless(isNumber(value) && !Number.isNaN(value), "a number");
  if (typeof normal === "boolean" || typeof normal === "string")
    return unless(typeof value === typeof normal, `a ${typeof normal}`);
  if (Array.isArray(normal))
    return unless(
      Array.isArray(value) &&
        value.length === normal.length &&
        value.every((each, i) => isNumber(each) || (each === null && normal[i] === null)),
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
