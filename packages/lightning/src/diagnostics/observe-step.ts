import { amp, isFloatingPoint, scope, traceMark, traceOperators } from "@nbit/torch";
import type { Device, DType, nn, Tensor, TraceEvent } from "@nbit/torch";
import { eachTensor, mapTensors, pickGiven } from "../collections.js";
import type { LightningModule } from "../module.js";
import type { Precision } from "../precision/precision.js";
import { captureRng, disposeRng, restoreRng } from "../rng.js";
import type { Batch } from "../types.js";
import type { Strategy } from "../strategies/strategy.js";
import { mergeReports } from "./common-report.js";
import { addCall, callsOf } from "./attribution.js";
import type { Call, OperatorUse } from "./attribution.js";
import { ModuleWatch } from "./module-watch.js";
import { measureRange, mergeRanges } from "./number-range.js";
import type { NumberRange } from "./number-range.js";
import { dryRun } from "./dry-run.js";
import type { DryRunParts } from "./dry-run.js";
import { StepPrecision } from "./step-precision.js";

/** A dry run as a list of operators with their modules. */
export interface TracedStep {
  readonly calls: readonly Call[];
  readonly events: readonly TraceEvent[];
}

/** Make a dry run of a step and list what ran, in which module. `checkValues` reads every value of every operator. */
export function traceStep(
  parts: DryRunParts,
  options: {
    readonly checkValues?: boolean;
    readonly onLoss?: (loss: Tensor) => void;
    readonly onGradient?: (name: string, gradient: Tensor) => void;
    readonly onError?: (error: unknown) => void;
  } = {},
): TracedStep {
  const backward: [number, number][] = [];
  const step: [number, number] = [0, Infinity];
  const watch = new ModuleWatch(parts.module);
  try {
    const { events } = traceOperators(
      () => {
        try {
          dryRun(parts, {
            ...pickGiven(options, ["onLoss", "onGradient"]),
            beforeStep: () => void (step[0] = traceMark()),
            afterStep: () => void (step[1] = traceMark()),
            beforeBackward: () => void backward.push([traceMark(), Infinity]),
            afterBackward: () => {
              const last = backward.at(-1);
              if (last !== undefined) last[1] = traceMark();
            },
          });
        } catch (error) {
          if (options.onError === undefined) throw error;
          options.onError(error);
        }
      },
      { checkValues: options.checkValues ?? false },
    );
    return {
      calls: callsOf(events, watch.switches, backward).filter(({ index }) => index >= step[0] && index < step[1]),
      events,
    };
  } finally {
    watch.stop();
  }
}

/** libtorch's rules. Deriving them calls operators, of which some draw random numbers. */
export function policyTableOf(device: Device): ReadonlyMap<string, amp.AutocastRule> {
  const rng = captureRng(device);
  try {
    return amp.policyTable(device.type);
  } finally {
    restoreRng(rng, device);
    disposeRng(rng);
  }
}

interface Values {
  calls: number;
  activations: NumberRange | null;
  activationGradients: NumberRange | null;
  parameterGradients: NumberRange | null;
}

/** Of each parameter, by its first name, the modules whose own it is. */
function ownersOf(root: nn.Module): ReadonlyMap<string, readonly string[]> {
  const names = new Map<Tensor, string>([...root.namedParameters()].map(([name, parameter]) => [parameter, name]));
  const owners = new Map<string, string[]>([...names.values()].map((name) => [name, []]));
  for (const [path, child] of root.namedModules())
    for (const [, parameter] of child.namedParameters({ recurse: false }))
      owners.get(names.get(parameter) ?? "")?.push(path);
  return owners;
}

/** Make a dry run of a step and measure the outputs of every module, their gradients, and those of parameters. */
function measureStep(parts: DryRunParts): Map<string, Values> {
  const { module } = parts;
  const found = new Map<string, Values>();
  const of = (name: string): Values => {
    let values = found.get(name);
    if (values === undefined) {
      values = { calls: 0, activations: null, activationGradients: null, parameterGradients: null };
      found.set(name, values);
    }
    return values;
  };
  const add = (known: NumberRange | null, tensor: Tensor): NumberRange =>
    known === null ? measureRange(tensor) : mergeRanges(known, measureRange(tensor));
  const owners = ownersOf(module);
  const watch = new ModuleWatch(module, {
    onOutput: (name, output) => {
      const values = of(name);
      values.calls++;
      eachTensor(output, (tensor) => {
        if (!tensor.isFloatingPoint()) return;
        values.activations = add(values.activations, tensor);
        if (!tensor.requiresGrad || tensor.isLeaf) return;
        tensor.registerHook((gradient) => {
          values.activationGradients = add(values.activationGradients, gradient);
        });
      });
    },
  });
  try {
    dryRun(parts, {
      onGradient: (name, gradient) => {
        if (!isFloatingPoint(gradient.dtype)) return;
        for (const owner of owners.get(name) ?? [])
          of(owner).parameterGradients = add(of(owner).parameterGradients, gradient);
      },
    });
  } finally {
    watch.stop();
  }
  return found;
}

/**
 * Make two dry runs of a step, one to measure values (which also warms caches up) and one to trace operators.
 *
 * Costs two steps and the measuring; waits for the device. Leaves weights, gradients, buffers and random state as they
 * were.
 */
export function observeStep(parts: DryRunParts, about: { readonly step: number }): StepPrecision {
  const { module, precision, device } = parts;
  const values = measureStep(parts);
  const { calls } = traceStep(parts);
  const table = policyTableOf(device);
  const uses = new Map<string, Map<string, OperatorUse>>();
  for (const call of calls) {
    let own = uses.get(call.module);
    if (own === undefined) uses.set(call.module, (own = new Map<string, OperatorUse>()));
    addCall(own, call, table);
  }
  const modules = [...module.namedModules()].map(([name, child]) => {
    const measured = values.get(name);
    return {
      name,
      type: child.constructor.name,
      calls: measured?.calls ?? 0,
      parameters: [...new Set<DType>([...child.namedParameters({ recurse: false })].map(([, p]) => p.dtype))],
      operators: [...(uses.get(name)?.values() ?? [])].sort((a, b) => b.seconds - a.seconds),
      activations: measured?.activations ?? null,
      activationGradients: measured?.activationGradients ?? null,
      parameterGradients: measured?.parameterGradients ?? null,
    };
  });
  return new StepPrecision({
    model: module.constructor.name,
    precision: precision.name,
    compute: precision.dtypes.compute,
    device: device.toString(),
    step: about.step,
    lossScale: precision.lossScale ?? 1,
    modules,
  });
}

/**
 * Dry runs of a step of a module in training on any batch, as the module's device and precision take it. With several
 * processes each on its own, as one report: every process calls it.
 */
export function observeBatch(
  module: LightningModule,
  precision: Precision,
  batch: Batch,
  strategy: Strategy,
): StepPrecision {
  return inTraining({ module, precision, batch, strategy }, (parts) => {
    const mine = observeStep(parts, { step: module.globalStep });
    const all = strategy.collectives?.allGatherObject(mine.toJSON());
    return all === undefined ? mine : mergeReports(all);
  });
}

/** What a dry run takes, with any batch as the module's device and precision take it, and the module in training. */
export function inTraining<T>(
  about: {
    readonly module: LightningModule;
    readonly precision: Precision;
    readonly batch: Batch;
    readonly strategy: Strategy;
  },
  fn: (parts: DryRunParts) => T,
): T {
  const { module, precision, batch, strategy } = about;
  const { context } = precision;
  const device = context === null ? module.device : context.accelerator.device(context.deviceIndex);
  const training = [...module.modules()].map((m): [nn.Module, boolean] => [m, m.training]);
  module.train();
  try {
    return scope(() => {
      const converted = precision.convertsInput ? precision.convertInput(batch) : batch;
      const moved = mapTensors(converted, (tensor) => tensor.to(device));
      return fn({ module, precision, device, batch: moved, batchIdx: 0, strategy });
    });
  } finally {
    for (const [m, was] of training) m.training = was;
  }
}
