import { program, scope, type Tensor, isTensor } from "@nbit/torch";
import type { CompiledStep, StepRun } from "@nbit/xla/step";
import type { StepResult } from "../types.js";
import { Outcome } from "./outcome.js";
import type { RecordingHost } from "./recording.js";
import { logAgain, RecordedLogs, type Again, type LoggedAgain } from "./recorded-logs.js";
import { ReplayedOutcome } from "./replayed-outcome.js";
import type { TrainStep } from "./train-step.js";
import { steps, type WindowRole } from "./window-role.js";

/** One batch of training in one role, while it runs on the host: the program, and what it logs and returns. */
export class BatchRecording {
  readonly role: WindowRole;
  readonly step: program.RecordedStep;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly #logs = new RecordedLogs();
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
    const logs = this.#logs;
    this.step.record(() => {
      this.#result = host.logTo(logs.sink, () => scope(() => run()));
      for (const [name, value] of Object.entries(this.#result)) if (isTensor(value)) logs.keep(`result.${name}`, value);
      const itsLoss = loss();
      if (itsLoss !== null) logs.keep("loss", itsLoss);
      const norm = train.outcome instanceof Outcome ? train.outcome.lend().norm : undefined;
      if (isTensor(norm)) logs.keep("norm", norm);
      return logs.tensors;
    });
  }

  /** What runs in its place from here on. The host's tensors go. */
  compiled(step: CompiledStep): CompiledBatch {
    const result = Object.entries(this.#result).map(([name, value]): [string, Again] => [
      name,
      isTensor(value) ? { result: `result.${name}` } : { value },
    ]);
    const made = new CompiledBatch(this.role, step, this.#logs.again(), result);
    this.dispose();
    return made;
  }

  dispose(): void {
    this.#logs.dispose();
    this.step.dispose();
  }
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
    logAgain(host, "trainingStep", this.#logs, results);
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
