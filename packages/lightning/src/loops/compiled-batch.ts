import { outsideScopes, program, scope, Tensor } from "@nbit/torch";
import type { CompiledStep, DeviceValue, StepRun } from "@nbit/xla/step";
import type { LogSink } from "../logging/log-sink.js";
import { PendingNumber } from "../logging/pending-number.js";
import type { StepResult } from "../types.js";
import { Outcome } from "./outcome.js";
import type { RecordingHost } from "./recording.js";
import { ReplayedOutcome } from "./replayed-outcome.js";
import type { TrainStep } from "./train-step.js";
import { steps, type WindowRole } from "./window-role.js";

type LogCall = Parameters<LogSink>;

/** A value of the recorded step that a compiled one computes again: a tensor's name among the results, or as it was. */
type Again = { readonly result: string } | { readonly value: unknown };

/** One batch of training in one role, while it runs on the host: the program, and what it logs and returns. */
export class BatchRecording {
  readonly role: WindowRole;
  readonly step: program.RecordedStep;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly #logs: LogCall[] = [];
  readonly #tensors: Record<string, Tensor> = {};
  #result: StepResult = {};

  constructor(role: WindowRole, inputs: Readonly<Record<string, Tensor>>) {
    this.role = role;
    this.inputs = inputs;
    this.step = new program.RecordedStep({ inputs, lines: true });
  }

  /**
   * Run and record a batch on the host. What it logs waits for the device.
   * @param loss - Of the batch, when it has run.
   */
  run(train: TrainStep, host: RecordingHost, run: () => StepResult, loss: () => Tensor | null): void {
    const sink: LogSink = (name, value, options) => {
      this.#logs.push([name, value instanceof Tensor ? this.#keep(`log.${this.#logs.length}`, value) : value, options]);
    };
    this.step.record(() => {
      this.#result = host.logTo(sink, () => scope(() => run()));
      for (const [name, value] of Object.entries(this.#result))
        if (value instanceof Tensor) this.#keep(`result.${name}`, value);
      const itsLoss = loss();
      if (itsLoss !== null) this.#keep("loss", itsLoss);
      const norm = train.outcome instanceof Outcome ? train.outcome.lend().norm : undefined;
      if (norm instanceof Tensor) this.#keep("norm", norm);
      return this.#tensors;
    });
  }
  #keep(name: string, tensor: Tensor): Tensor {
    return (this.#tensors[name] = outsideScopes(() => tensor.detach()));
  }

  /** What runs in its place from here on. The host's tensors go. */
  compiled(step: CompiledStep): CompiledBatch {
    const names = new Map(Object.entries(this.#tensors).map(([name, t]) => [t, name]));
    const again = (value: unknown): Again => {
      const name = value instanceof Tensor ? names.get(value) : undefined;
      return name === undefined ? { value } : { result: name };
    };
    const logs = this.#logs.map(([name, value, options]) => ({ name, value: again(value), options }));
    const result = Object.entries(this.#result).map(([name, value]): [string, Again] => [
      name,
      value instanceof Tensor ? { result: `result.${name}` } : { value },
    ]);
    const made = new CompiledBatch(this.role, step, logs, result);
    this.dispose();
    return made;
  }

  dispose(): void {
    for (const t of Object.values(this.#tensors)) t.dispose();
    this.step.dispose();
  }
}

interface LoggedAgain {
  readonly name: string;
  readonly value: Again;
  readonly options: LogCall[2];
}

/** A batch in one role, as a program of a device. */
export class CompiledBatch {
  readonly role: WindowRole;
  readonly step: CompiledStep;
  readonly #logs: readonly LoggedAgain[];
  readonly #result: readonly (readonly [string, Again])[];

  constructor(
    role: WindowRole,
    step: CompiledStep,
    logs: readonly LoggedAgain[],
    result: readonly (readonly [string, Again])[],
  ) {
    this.role = role;
    this.step = step;
    this.#logs = logs;
    this.#result = result;
  }

  /** Start it on the tensors of another batch. */
  start(inputs: Readonly<Record<string, Tensor>>): StepRun {
    return this.step.run(inputs);
  }

  /** Log again what the step logged: numbers that are read one step late. */
  log(host: RecordingHost, { results }: StepRun): void {
    host.within("trainingStep", () => {
      for (const { name, value, options } of this.#logs) {
        if (!("result" in value)) host.log(name, value.value as LogCall[1], options);
        else host.log(name, numberOf(results[value.result]), options);
      }
    });
  }

  /** What the step returns: tensors that get their values when somebody uses them. */
  result({ results }: StepRun): StepResult {
    const made: StepResult = {};
    for (const [name, value] of this.#result)
      made[name] = "result" in value ? results[value.result]?.tensor() : value.value;
    return made;
  }

  outcome({ results }: StepRun): ReplayedOutcome {
    const norm = results["norm"];
    return new ReplayedOutcome(() => ({
      stepped: steps(this.role),
      skipped: false,
      lossScale: 1,
      ...(norm === undefined ? {} : { gradNorm: norm.number() }),
    }));
  }
}

export function numberOf(value: DeviceValue | undefined): PendingNumber {
  return new PendingNumber(value?.dtype ?? "float32", () => value?.number() ?? NaN);
}
