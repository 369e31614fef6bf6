/** How 16-bit parameters take a step: computed in float32, and brought back without losing what 16 bits cannot hold. */
import { ArgumentError } from "../errors.js";
import { Generator } from "../ops/generator.js";
import { randint, where } from "../ops/index.js";
import { defaultGenerator } from "../random.js";
import { isTensor } from "../tensor/handle.js";
import type { DType } from "../tensor/dtype.js";
import { outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameterOfMaster, setMaster } from "./master-weights.js";
import { COUNTERS, type ParamGroup, type ParameterState } from "./state.js";

/**
 * `nearest`: the parameter's own arithmetic; an update below half the spacing of numbers near a weight is lost.
 * `kahan`: what a step could not add is kept (state `compensation`, in the parameter's dtype) and added in the next.
 * `stochastic`: up or down with the probability that makes the expected value exact, moments too.
 */
export type Rounding = "nearest" | "kahan" | "stochastic";

export interface RoundingOptions {
  /** For float16 and bfloat16 parameters; others are stepped as ever. Default "nearest". */
  readonly rounding?: Rounding;
  /**
   * Of the stochastic rounding's own random stream, which disturbs no other. Default: made from the seed of
   * `manualSeed`.
   */
  readonly roundingSeed?: number;
}

const ROUNDINGS: readonly unknown[] = [undefined, "nearest", "kahan", "stochastic"];

/** @internal */
export function checkRounding(fn: string, group: ParamGroup): void {
  const { rounding, roundingSeed } = group as ParamGroup & { rounding?: unknown; roundingSeed?: unknown };
  if (!ROUNDINGS.includes(rounding))
    throw new ArgumentError(fn, 'rounding to be "nearest", "kahan" or "stochastic"', rounding);
  if (roundingSeed !== undefined && !(Number.isSafeInteger(roundingSeed) && (roundingSeed as number) >= 0))
    throw new ArgumentError(fn, "roundingSeed to be a whole number ≥ 0", roundingSeed);
}

/** @internal Whether a group steps its 16-bit parameters in float32. */
export function usesFloat32Update(group: ParamGroup): group is ParamGroup & { rounding: "kahan" | "stochastic" } {
  return group["rounding"] === "kahan" || group["rounding"] === "stochastic";
}
/** @internal */
export function is16Bit(dtype: DType): boolean {
  return dtype === "bfloat16" || dtype === "float16";
}

/** Elements that are widened at once: temporaries stay small beside the model. */
const CHUNK = 1 << 22;

/**
 * @internal Step 16-bit parameters in float32 and round back. `step` is the optimizer's own arithmetic: it is given
 * float32 parameters and gradients, with their state under the float32 parameters in `states`.
 */
export function stepInFloat32(
  group: ParamGroup,
  index: number,
  params: readonly Tensor[],
  grads: readonly Tensor[],
  states: Map<Tensor, ParameterState>,
  step: (wide: readonly Tensor[], grads: readonly Tensor[]) => void,
): void {
  const bits = group["rounding"] === "stochastic" ? noise(group, index) : null;
  for (let from = 0; from < params.length;) {
    let to = from;
    for (let size = 0; to < params.length && (to === from || size + (params[to] as Tensor).numel() <= CHUNK); to++)
      size += (params[to] as Tensor).numel();
    const chunk = params.slice(from, to);
    const gradients = grads.slice(from, to);
    from = to;
    scope(() => {
      const wide = chunk.map((p) => {
        const state = states.get(p) ?? {};
        const widened = p.detach().to({ dtype: "float32", copy: true });
        const { compensation } = state;
        setMaster(widened, parameterOfMaster(p));
        if (bits === null && isTensor(compensation)) widened.add_(compensation);
        const own = Object.entries(state).filter(([name]) => name !== "compensation");
        if (own.length > 0)
          states.set(
            widened,
            Object.fromEntries(
              own.map(([name, value]) => [name, isTensor(value) && is16Bit(value.dtype) ? value.to("float32") : value]),
            ),
          );
        return widened;
      });
      try {
        step(
          wide,
          gradients.map((g) => g.to("float32")),
        );
        chunk.forEach((p, i) => narrow(p, wide[i] as Tensor, states, bits));
      } finally {
        for (const w of wide) states.delete(w);
      }
    });
  }
}

type Noise = (like: Tensor) => Tensor;

/** Round a stepped parameter and its state back. */
function narrow(p: Tensor, wide: Tensor, states: Map<Tensor, ParameterState>, bits: Noise | null): void {
  const stepped = states.get(wide) ?? {};
  const state: ParameterState = states.get(p) ?? {};
  const store = (name: string, value: Tensor): void => {
    const kept = state[name];
    if (isTensor(kept)) kept.copy_(value);
    else state[name] = outsideScopes(() => value.detach().clone());
  };
  for (const [name, value] of Object.entries(stepped)) {
    if (!isTensor(value) || COUNTERS.has(name) || value === state[name]) state[name] = value;
    else {
      store(name, value.dtype === "float32" ? round(value, p.dtype, bits) : value);
      value.dispose();
    }
  }
  const rounded = round(wide, p.dtype, bits);
  if (bits === null) store("compensation", wide.sub(rounded).to(p.dtype));
  p.detach().copy_(rounded);
  if (Object.keys(state).length > 0) states.set(p, state);
}

function round(value: Tensor, dtype: DType, bits: Noise | null): Tensor {
  if (bits === null) return value.to(dtype);
  return roundStochastically(value, dtype, bits(value));
}

/**
 * @internal Float32 to 16 bits, up or down with probabilities that make the expected value exact.
 * @param bits - int32 of the same shape, uniform in [0, 65536).
 */
export function roundStochastically(value: Tensor, dtype: DType, bits: Tensor): Tensor {
  // float32's magnitude as an integer: random bits are added below the last one that stays, and cut off.
  const dropped = dtype === "bfloat16" ? 16 : 13;
  const added = dropped === 16 ? bits : bits.bitwiseRightShift(16 - dropped);
  const cut = value
    .detach()
    .view("int32")
    .add(added)
    .bitwiseAnd(-(2 ** dropped))
    .view("float32");
  let rounded = where(value.isfinite(), cut, value);
  if (dtype === "float16") {
    // Below 2^-14 float16's numbers are 2^-24 apart, whatever their exponent.
    const even = value
      .mul(2 ** 24)
      .add(bits.to("float32").div(65536))
      .floor()
      .mul(2 ** -24);
    rounded = where(value.abs().lt(2 ** -14), even, rounded);
  }
  return rounded.to(dtype);
}

/**
 * The random bits of one step of one group: from a seed, the group's position and how many steps it has made, so that a
 * resumed run draws the same.
 */
function noise(group: ParamGroup, index: number): Noise {
  group["roundingSeed"] ??= Number(BigInt.asUintN(48, defaultGenerator.initialSeed()));
  const step = (typeof group["roundingStep"] === "number" ? group["roundingStep"] : 0) + 1;
  group["roundingStep"] = step;
  let generator: Generator | null = null;
  return (like) => {
    generator ??= new Generator(like.device).manualSeed(mix(group["roundingSeed"] as number, index, step));
    return randint(0, 65536, [...like.shape], { dtype: "int32", device: like.device, generator });
  };
}

/** Three numbers into one seed (splitmix64's finalizer over their sum with odd multiples). */
function mix(seed: number, index: number, step: number): bigint {
  const u64 = (v: bigint): bigint => BigInt.asUintN(64, v);
  let z = u64(
    BigInt(seed) * 0x9e3779b97f4a7c15n + BigInt(index) * 0xd1342543de82ef95n + BigInt(step) * 0xda942042e4dd58b5n,
  );
  z = u64((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = u64((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}
