import { noGrad, optim, outsideScopes, program, scope } from "@nbit/torch";
import type { DType, Tensor } from "@nbit/torch";
import { warn, warnOfThisRank } from "../warnings.js";

/** The smallest eps whose place in float16 is not 0: half the smallest number rounds to 0. */
const FLOAT16_LEAST = 2 ** -25;

function widens(group: object): boolean {
  const rounding: unknown = Reflect.get(group, "rounding");
  return rounding === "kahan" || rounding === "stochastic";
}

/**
 * A warning where an optimizer's eps is 0 in its parameters' float16: a gradient of 0 then divides 0 by 0. Asked for
 * once, when optimizers exist.
 *
 * Optimizers with `rounding` and low-bit ones compute in float32, and masters are float32: none is concerned.
 */
export function vanishingEps(
  optimizers: readonly optim.Optimizer[],
): { readonly code: string; readonly message: string }[] {
  for (const optimizer of optimizers) {
    if (optimizer.stepsInFloat32) continue;
    for (const group of optimizer.paramGroups) {
      const { eps } = group;
      if (typeof eps !== "number" || eps === 0 || eps > FLOAT16_LEAST || widens(group)) continue;
      if (!group.params.some((p) => p.dtype === "float16")) continue;
      const name = optimizer.constructor.name;
      const message = `${name}: its eps of ${eps} is 0 in float16, so that weights without a gradient become NaN. Use new ${name}(params, { eps: 1e-4 }), precision "bf16-true", or precision 16, whose weights are float32.`;
      return [{ code: "WARN_EPS_VANISHES", message }];
    }
  }
  return [];
}

/**
 * Steps at which it is looked whether weights move, and how many steps later the answer is read: by then no device has
 * to be waited for.
 */
const FIRST_LOOK = 2;
const NEXT_LOOK = 10;
const READ_AFTER = 16;
/** What is looked at: the beginnings of the largest parameters. */
const PARAMETERS = 8;
const ELEMENTS = 4096;

interface Sample {
  readonly now: Tensor;
  readonly before: Tensor;
  readonly grad: Tensor;
}

/**
 * Warns once when most 16-bit weights do not change in a step although their gradients are not 0: updates are below the
 * spacing of numbers.
 *
 * Looks at steps 2, 20, 200, …, at no more than 32,768 weights; on CUDA the answer is read some steps later, without
 * waiting.
 */
export class UpdateWatch {
  #step = 0;
  #nextLook = FIRST_LOOK;
  #pending: {
    readonly counts: Tensor;
    readonly at: number;
    readonly name: string;
    readonly dtype: DType;
    /** Of this process's shares of weights: others have others. */
    readonly sharded: boolean;
  } | null = null;
  #warned = false;

  /** Run one step of an optimizer, and look at what it changes when that is due. */
  around<T>(optimizer: optim.Optimizer, step: () => T): T {
    if (this.#warned || program.isRecording()) return step();
    this.#step++;
    if (this.#pending !== null && this.#step >= this.#pending.at + READ_AFTER) this.#read();
    if (this.#step !== this.#nextLook) return step();
    this.#nextLook *= NEXT_LOOK;
    const samples = scope(() => sample(optimizer));
    if (samples.length === 0) return step();
    const result = step();
    this.#look(optimizer, samples);
    return result;
  }

  /** Read what waits for it, and look no more. Waits for the device. */
  finish(): void {
    this.#read();
    this.#nextLook = Infinity;
  }

  #look(optimizer: optim.Optimizer, samples: readonly Sample[]): void {
    this.#pending?.counts.dispose();
    const [first] = samples;
    if (first === undefined) return;
    const counts = outsideScopes(() =>
      noGrad(() =>
        scope(() =>
          samples
            .map(({ now, before, grad }) => {
              const moved = grad.ne(0);
              return moved
                .sum()
                .mul(-1)
                .add(
                  moved
                    .logicalAnd(now.reshape([-1]).narrow(0, 0, before.numel()).eq(before))
                    .sum()
                    .mul(2),
                ); // > 0: most stayed
            })
            .reduce((a, b) => a.add(b)),
        ),
      ),
    );
    const { dtype } = first.now;
    for (const s of samples) for (const t of [s.now, s.before, s.grad]) t.dispose();
    this.#pending = {
      counts,
      at: this.#step,
      name: optimizer.constructor.name,
      dtype,
      sharded: stepsShards(optimizer),
    };
    if (counts.device.type === "cpu") this.#read();
  }

  #read(): void {
    const pending = this.#pending;
    if (pending === null) return;
    this.#pending = null;
    const most = pending.counts.item() > 0;
    pending.counts.dispose();
    if (!most) return;
    this.#warned = true;
    const { name, dtype } = pending;
    const say = pending.sharded ? warnOfThisRank : warn;
    say(
      "WARN_UPDATES_VANISH",
      `${name}: at step ${pending.at} most ${dtype} weights did not change although their gradients are not 0: updates are below the spacing of ${dtype}'s numbers, and training stalls. Use new ${name}(params, { rounding: "kahan" }) or "stochastic", a larger learning rate, or precision ${dtype === "bfloat16" ? '"bf16"' : "16"}, whose weights are float32.`,
    );
  }
}

function stepsShards({ paramGroups }: optim.Optimizer): boolean {
  const [first] = paramGroups.flatMap(({ params }) => params);
  return first !== undefined && optim.shardOf(optim.parameterOfMaster(first)) !== null;
}

/** Views of the largest 16-bit parameters that are rounded to nearest, with what they and their gradients hold now. */
function sample(optimizer: optim.Optimizer): Sample[] {
  const candidates: { readonly p: Tensor; readonly grad: Tensor }[] = [];
  for (const group of optimizer.paramGroups) {
    if (widens(group)) continue;
    for (const p of group.params) {
      if (p.dtype !== "bfloat16" && p.dtype !== "float16") continue;
      const { grad } = p;
      if (grad?.layout === "strided" && p.numel() > 0) candidates.push({ p, grad });
    }
  }
  candidates.sort((a, b) => b.p.numel() - a.p.numel());
  return candidates.slice(0, PARAMETERS).map(({ p, grad }) => {
    const head = (t: Tensor): Tensor => t.detach().reshape([-1]).narrow(0, 0, Math.min(ELEMENTS, p.numel()));
    return { now: p.detach(), before: head(p).clone(), grad: head(grad).clone() };
  });
}
