/** What LBFGS remembers between steps, under PyTorch's names in camelCase. */
import { cat } from "../ops/index.js";
import { isTensor } from "../tensor/handle.js";
import { outsideScopes } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import type { ParameterState } from "./state.js";
import { stepCount } from "./adopt-state.js";
import { shown, type Refuse } from "./saved-state.js";

/** Vectors are flat over all parameters. */
export interface History {
  /** Iterations so far. */
  nIter: number;
  /** Evaluations of the loss so far. */
  funcEvals: number;
  /** The last direction, and how far it was followed. */
  d: Tensor | null;
  t: number;
  /** Changes of the gradient and of the parameters, and 1 / their product; the oldest first. */
  oldDirs: Tensor[];
  oldStps: Tensor[];
  ro: number[];
  /** The first guess of the inverse Hessian is this times the identity. */
  hDiag: number;
  prevFlatGrad: Tensor | null;
  prevLoss: number;
}

export function emptyHistory(): History {
  return {
    nIter: 0,
    funcEvals: 0,
    d: null,
    t: 1,
    oldDirs: [],
    oldStps: [],
    ro: [],
    hDiag: 1,
    prevFlatGrad: null,
    prevLoss: NaN,
  };
}
export function stateOfHistory(h: History): ParameterState {
  const { funcEvals, nIter, d, t, oldDirs, oldStps, ro, hDiag, prevFlatGrad, prevLoss } = h;
  return nIter === 0
    ? { funcEvals, nIter }
    : { funcEvals, nIter, d, t, oldDirs, oldStps, ro, hDiag, prevFlatGrad, prevLoss };
}
/** Of a state that {@link stateOfHistory} or {@link readHistory} returned; lists are copies. */
export function historyOf(s: ParameterState): History {
  const list = (name: string): readonly (Tensor | number)[] =>
    Array.isArray(s[name]) ? (s[name] as readonly (Tensor | number)[]) : [];
  const number = (name: string, otherwise: number): number => (typeof s[name] === "number" ? s[name] : otherwise);
  const one = (name: string): Tensor | null => (isTensor(s[name]) ? s[name] : null);
  return {
    nIter: number("nIter", 0),
    funcEvals: number("funcEvals", 0),
    d: one("d"),
    t: number("t", 1),
    oldDirs: list("oldDirs").filter(isTensor),
    oldStps: list("oldStps").filter(isTensor),
    ro: list("ro").filter((v) => typeof v === "number"),
    hDiag: number("hDiag", 1),
    prevFlatGrad: one("prevFlatGrad"),
    prevLoss: number("prevLoss", NaN),
  };
}

/** A history of parameters by themselves: vectors cut into theirs, members of lists under names of their own. */
export function splitHistory(state: ParameterState, numels: readonly number[]): ParameterState[] {
  const total = numels.reduce((sum, n) => sum + n, 0);
  let offset = 0;
  return numels.map((n) => {
    const start = offset;
    offset += n;
    // What is of another size is left to be refused.
    const part = (t: Tensor): Tensor => (t.numel() === total ? t.detach().reshape([-1]).narrow(0, start, n) : t);
    const own: ParameterState = {};
    for (const [name, value] of Object.entries(state))
      if (isTensor(value)) own[name] = part(value);
      else if (Array.isArray(value) && value.some(isTensor))
        (value as readonly (Tensor | number)[]).forEach((v, i) => {
          own[`${name}.${i}`] = isTensor(v) ? part(v) : v;
        });
      else own[name] = value;
    return own;
  });
}
/** The history of parameters of which each has its part. */
export function joinHistory(states: readonly ParameterState[]): ParameterState {
  const [first = {}] = states;
  const joined: ParameterState = {};
  const lists = new Map<string, Tensor[]>();
  if (first["ro"] !== undefined)
    for (const name of ["oldDirs", "oldStps"]) if (first[name] === undefined) lists.set(name, []);
  for (const [name, value] of Object.entries(first)) {
    if (!isTensor(value)) {
      joined[name] = value;
      continue;
    }
    const parts = states.flatMap((state) => (isTensor(state[name]) ? [state[name].detach().reshape([-1])] : []));
    const whole = cat(parts);
    const [list = "", i] = name.split(".");
    if (i === undefined) joined[name] = whole;
    else lists.get(list)?.splice(Number(i), 0, whole);
  }
  for (const [name, list] of lists) joined[name] = list;
  return joined;
}

/** Only pairs whose product is positive are kept. */
const nonNegative = (v: number): boolean => v >= 0 && v < Infinity;
const KEYS = new Set<string>(Object.keys(emptyHistory()));

/**
 * A saved history, checked and copied. Numbers may be tensors of one element, as PyTorch's are.
 * @param parts - The parameters, complex ones as their parts.
 */
export function readHistory(
  refuse: Refuse,
  saved: Readonly<Record<string, unknown>>,
  parts: readonly Tensor[],
  historySize: number,
): ParameterState {
  const [first] = parts as [Tensor];
  const n = parts.reduce((sum, p) => sum + p.numel(), 0);
  const dtype = parts.some((p) => p.dtype === "float64") ? "float64" : first.dtype;
  for (const name of Object.keys(saved))
    if (!KEYS.has(name))
      refuse(`${[...KEYS].join(", ")} in the state of LBFGS`, name, "Is it the state of another optimizer?");
  const number = (name: string, value: unknown, valid: (v: number) => boolean, expected: string): number => {
    const v: unknown =
      isTensor(value) && !value.disposed && value.numel() === 1 && !value.isComplex() ? value.item() : value;
    return typeof v === "number" && valid(v)
      ? v
      : refuse(`${name} to be ${expected}`, isTensor(value) && !isTensor(v) ? String(v) : shown(value));
  };
  const vector = (name: string, value: unknown): Tensor => {
    if (!isTensor(value) || value.disposed || value.layout !== "strided" || !value.isFloatingPoint())
      return refuse(`${name} to be a dense floating point tensor`, shown(value));
    if (value.dim() !== 1 || value.numel() !== n)
      refuse(
        `${name} to have shape [${n}], as the parameters (0 to ${parts.length - 1}) have elements`,
        `shape [${value.shape.join(", ")}]`,
      );
    return value.detach().to({ device: first.device, dtype, copy: true });
  };
  const list = (name: string): readonly unknown[] => {
    const value = saved[name];
    if (!Array.isArray(value)) return refuse(`${name} to be an array`, shown(value));
    return value as readonly unknown[];
  };
  const count = (name: string): number => {
    const value = saved[name];
    return typeof value === "number" || isTensor(value)
      ? stepCount(refuse, 0, value)
      : refuse(`${name} to be a whole number ≥ 0`, shown(value));
  };
  const tensors: Tensor[] = [];
  const kept = (name: string, value: unknown): Tensor => {
    const copy = vector(name, value);
    tensors.push(copy);
    return copy;
  };
  return outsideScopes(() => {
    try {
      const h = { ...emptyHistory(), funcEvals: count("funcEvals"), nIter: count("nIter") };
      if (h.nIter === 0) return stateOfHistory(h);
      h.t = number("t", saved["t"], Number.isFinite, "a finite number");
      h.hDiag = number("hDiag", saved["hDiag"], nonNegative, "a finite number ≥ 0");
      h.prevLoss = number("prevLoss", saved["prevLoss"], () => true, "a number");
      const [dirs, stps, ro] = [list("oldDirs"), list("oldStps"), list("ro")];
      if (dirs.length !== stps.length || dirs.length !== ro.length || dirs.length > historySize)
        refuse(
          `as many of oldDirs, oldStps and ro, and at most historySize (${historySize})`,
          `${dirs.length}, ${stps.length} and ${ro.length}`,
        );
      h.ro = ro.map((v, i) => number(`ro[${i}]`, v, nonNegative, "a finite number ≥ 0"));
      h.d = kept("d", saved["d"]);
      h.prevFlatGrad = kept("prevFlatGrad", saved["prevFlatGrad"]);
      h.oldDirs = dirs.map((v, i) => kept(`oldDirs[${i}]`, v));
      h.oldStps = stps.map((v, i) => kept(`oldStps[${i}]`, v));
      return stateOfHistory(h);
    } catch (error) {
      for (const t of tensors) t.dispose();
      throw error;
    }
  });
}
