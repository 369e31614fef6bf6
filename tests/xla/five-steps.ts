/** Five steps by XLA beside five by libtorch: losses, and how far off the update is. */
import { autocast, getCpuKernels, manualSeed, optim, setCpuKernels, type nn, type Tensor } from "@nbit/torch";
import type { LowerOptions } from "@nbit/xla";
import { DeviceStep, recorded } from "./harness.js";

export interface Task<Net extends nn.Module = nn.Module> {
  readonly net: () => Net;
  readonly batch: () => readonly Tensor[];
  /** Of one batch, in the precision of the training. */
  readonly loss: (net: Net, batch: readonly Tensor[]) => Tensor;
  /** The rate is a number of JavaScript's: that of the recording at each step. Default false. */
  readonly constantRate?: boolean;
  /** How far its losses may be off in bfloat16. Default 1e-3. */
  readonly bfloat16Loss?: number;
  /** Default: AdamW. */
  readonly optimizer?: (parameters: readonly Tensor[]) => optim.Optimizer;
  /** Between backward and the step. */
  readonly clip?: (parameters: readonly Tensor[]) => unknown;
  /** Batches that one step adds up. Default 1. */
  readonly accumulate?: number;
}
/** A task as {@link fiveSteps} takes it: its network and its loss know each other. */
export const taskOf = <Net extends nn.Module>(task: Task<Net>): Task => ({
  ...task,
  loss: (net, batch) => task.loss(net as Net, batch),
});
export type Precision = "32" | "bf16" | "bf16-true";
export interface Training {
  readonly precision?: Precision;
  readonly optimizer?: (parameters: readonly Tensor[]) => optim.Optimizer;
  /** The rate is a number of JavaScript's, so that of the recording at each step. Default false: a tensor, which changes. */
  readonly constantRate?: boolean;
  /** Between backward and the step. */
  readonly clip?: (parameters: readonly Tensor[]) => unknown;
  /** Batches that one step adds up. */
  readonly accumulate?: number;
  readonly options?: LowerOptions;
}
export interface Outcome {
  /** Of each step, by XLA and by libtorch. */
  readonly losses: readonly (readonly [number, number])[];
  /** ‖got - eager‖ / ‖eager - start‖ over parameters and buffers. */
  readonly update: number;
  /** The squares in it, by name. */
  readonly parts: ReadonlyMap<string, { readonly off: number; readonly moved: number }>;
  readonly step: DeviceStep;
  readonly kinds: readonly string[];
}

const RATES = [5e-4, 1e-3, 1.5e-3, 1e-3, 5e-4];
const adamw = (p: readonly Tensor[]): optim.Optimizer =>
  new optim.AdamW(p, { fused: true, betas: [0.9, 0.95], weightDecay: 0.1 });

export async function fiveSteps(task: Task, training: Training = {}): Promise<Outcome> {
  const kernels = getCpuKernels();
  setCpuKernels("libtorch");
  try {
    return await compared(task, training);
  } finally {
    setCpuKernels(kernels);
  }
}

async function compared(task: Task, t: Training): Promise<Outcome> {
  manualSeed(1);
  const precision = t.precision ?? "32";
  const net = task.net();
  if (precision === "bf16-true") net.to("bfloat16");
  const fit = (x: Tensor): Tensor => (precision === "bf16-true" && x.isFloatingPoint() ? x.to("bfloat16") : x);
  const parameters = [...net.parameters()];
  const optimizer = (t.optimizer ?? task.optimizer ?? adamw)(parameters);
  optimizer.keepRatesOn("cpu");
  const accumulate = t.accumulate ?? task.accumulate ?? 1;
  const draw = (): readonly Tensor[] =>
    Array.from({ length: accumulate }, () => task.batch()).flatMap((b) => b.map(fit));
  const now = draw();
  const width = now.length / accumulate;
  const lossOf = (i: number): Tensor => {
    const forward = (): Tensor => task.loss(net, now.slice(width * i, width * (i + 1)));
    return precision === "bf16" ? autocast({ deviceType: "cpu", dtype: "bfloat16" }, forward) : forward();
  };
  const step = (): Record<string, Tensor> => {
    optimizer.zeroGrad();
    let total: Tensor | null = null;
    for (let i = 0; i < accumulate; i++) {
      const loss = lossOf(i).div(accumulate);
      loss.backward();
      total = total === null ? loss.detach() : total.add(loss.detach());
    }
    (t.clip ?? task.clip)?.(parameters);
    optimizer.step();
    return { loss: total as Tensor };
  };
  step(); // makes the optimizer's state
  const record = recorded(step, parameters);
  const device = await DeviceStep.of(record, t.options);
  const batches = RATES.map(draw);
  const states = device.lowered.arguments.filter(({ kind }) => kind === "state");
  const start = states.map((a) => device.hostOf(a).clone());
  const put = (k: number): void => {
    now.forEach((x, i) => void x.copy_(batches[k]?.[i] as Tensor));
    if (t.constantRate ?? task.constantRate ?? false) return;
    for (const group of optimizer.paramGroups) group.lr = RATES[k] as number;
    optimizer.refreshRates();
  };
  const eager = RATES.map((_, k) => (put(k), (step()["loss"] as Tensor).item()));
  const ends = states.map((a) => device.hostOf(a).clone());
  states.forEach((a, i) => void device.hostOf(a).copy_(start[i] as Tensor));
  const mine: number[] = [];
  for (let k = 0; k < RATES.length; k++) {
    put(k);
    await device.run();
    mine.push(((await device.results())["loss"] as Tensor).item());
  }
  const named = new Map(
    [...net.namedParameters(), ...net.namedBuffers()].map(([name, p]) => [record.indexOf(p), name] as const),
  );
  const parts = new Map<string, { off: number; moved: number }>();
  for (const [i, { argument, value }] of (await device.state()).entries()) {
    const name = named.get(argument.value);
    if (name === undefined || !value.isFloatingPoint()) continue;
    const squares = (x: Tensor): number => x.to("float64").square().sum().item();
    const end = (ends[i] as Tensor).to("float64");
    parts.set(name, {
      off: squares(value.to("float64").sub(end)),
      moved: squares(end.sub((start[i] as Tensor).to("float64"))),
    });
  }
  const sum = (of: "off" | "moved"): number => [...parts.values()].reduce((all, part) => all + part[of], 0);
  const kinds = device.lowered.operators.kinds;
  record.dispose();
  return {
    losses: mine.map((v, k) => [v, eager[k] as number]),
    update: Math.sqrt(sum("off") / sum("moved")),
    parts,
    step: device,
    kinds,
  };
}
