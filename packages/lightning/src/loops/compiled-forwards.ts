import { program, type Tensor } from "@nbit/torch";
import { awaken, isDeferred, keepCount } from "@nbit/torch/deferred";
import { XlaError } from "@nbit/xla";
import { CompiledStep, type StepRun } from "@nbit/xla/step";
import { eachTensor, mapTensors } from "../collections.js";
import type { LightningModule } from "../module.js";
import type { Batch } from "../types.js";
import type { WarnOnce } from "../warnings.js";
import { modesOf } from "./compilable.js";
import type { DeviceMemory } from "./device-memory.js";
import { Flights } from "./flights.js";
import { HostState } from "./host-state.js";
import { fieldsOf, whatChanged, type Fields } from "./module-fields.js";
import { waitFor, type MaybePending } from "./pending.js";
import { logAgain, RecordedLogs, type LoggedAgain } from "./recorded-logs.js";
import type { RecordingHost } from "./recording.js";

export type ForwardStep = "validationStep" | "testStep" | "predictStep";

/** Programs that are kept: of so many shapes. */
const MOST = 8;
/** What stands in the way of a program and is no fault of the step's: it runs on the host. */
const HOST_CODES = new Set(["XLA_NO_LOWERING", "XLA_LOWERING", "XLA_STATE", "XLA_SHARDING"]);

export interface CompiledForwardsParts {
  readonly module: LightningModule;
  readonly host: RecordingHost;
  readonly warnings: WarnOnce;
  readonly memory: DeviceMemory;
  /** Devices that one program runs on, each with a part of the batch. */
  readonly partitions: number;
  readonly float32MatmulPrecision: "highest" | "high" | "medium";
}

/** One step on batches of one shape. */
interface Forward {
  readonly step: CompiledStep;
  readonly logs: readonly LoggedAgain[];
  /** What the step returned; tensors in it stand for results of the program. */
  readonly output: unknown;
  readonly names: ReadonlyMap<Tensor, string>;
}
/** A shape, or a step, that no program can be made of. */
const ON_HOST = null;

/**
 * Steps that do not train as compiled programs of a device: parameters stay where training left them. A step runs once
 * on the host to be recorded, is undone, and is not called again for batches of that shape: tensors that it logs or
 * returns are computed anew. What a program cannot do, such as reading a value into JavaScript or adding to a list, runs
 * on the host as ever, with a warning that says why.
 */
export class CompiledForwards {
  /** Batches that ran on the device. */
  replayed = 0;
  #batches = 0;
  readonly #parts: CompiledForwardsParts;
  /** By signature, the latest used last. */
  readonly #programs = new Map<string, Forward | typeof ON_HOST>();
  readonly #flights = new Flights();

  constructor(parts: CompiledForwardsParts) {
    this.#parts = parts;
  }

  /**
   * One batch.
   * @param call - The step on the host, with gradients off.
   */
  run(step: ForwardStep, batch: Batch, loaderIdx: number, call: () => unknown): MaybePending<unknown> {
    this.#batches++;
    const inputs: Record<string, Tensor> = {};
    eachTensor(batch, (t) => {
      inputs[`batch.${Object.keys(inputs).length}`] = t;
    });
    const shapes = Object.values(inputs).map((t) => `${t.dtype}[${t.shape.join()}]`);
    const signature = [step, loaderIdx, modesOf(this.#parts.module), ...shapes].join("|");
    const known = this.#programs.get(signature);
    if (known === ON_HOST) return call();
    if (known?.step.isWhereItWas === true) {
      this.#programs.delete(signature);
      this.#programs.set(signature, known);
      return this.#replay(step, known, inputs);
    }
    known?.step.dispose();
    this.#programs.delete(signature);
    return this.#record(step, signature, inputs, call);
  }

  #record(
    step: ForwardStep,
    signature: string,
    inputs: Readonly<Record<string, Tensor>>,
    call: () => unknown,
  ): MaybePending<unknown> {
    const { module, host, memory, partitions, float32MatmulPrecision } = this.#parts;
    const recorded = new program.RecordedStep({ inputs, lines: true });
    const logs = new RecordedLogs();
    const names = new Map<Tensor, string>();
    const undo = new HostState([...module.buffers(), ...Object.values(inputs)]);
    const before = tracesOf(module);
    let output: unknown;
    const end = (): void => {
      logs.dispose();
      recorded.dispose();
    };
    /** It has run on the host, and that counts. */
    const stay = (reason: string): unknown => {
      undo.forget();
      this.#programs.set(signature, ON_HOST);
      this.#warn(step, reason);
      logs.logHere(host, step);
      end();
      return output;
    };
    try {
      recorded.record(() => {
        output = host.logTo(logs.sink, call);
        eachTensor(output, (t) => {
          if (names.has(t)) return;
          const name = `output.${names.size}`;
          names.set(t, name);
          logs.keep(name, t);
        });
        return logs.tensors;
      });
    } catch (error) {
      undo.forget();
      end();
      throw error;
    }
    const effect = recorded.refusal ?? effectOf(before, tracesOf(module));
    if (effect !== null) return stay(effect);
    const compiling = CompiledStep.compile(recorded, memory.residents, memory.random, {
      known: [...module.parameters(), ...module.buffers()],
      partitions,
      float32MatmulPrecision,
    }).catch((error: unknown) => {
      if (error instanceof XlaError && HOST_CODES.has(error.code)) return error;
      throw error;
    });
    return waitFor(compiling, (compiled) => {
      if (compiled instanceof XlaError) return stay(compiled.message);
      undo.restore();
      const { results } = recorded.program;
      for (const [t, name] of names) if (results[name] === undefined) names.delete(t);
      const forward: Forward = { step: compiled, logs: logs.again(), output, names };
      end();
      this.#programs.set(signature, forward);
      this.#forgetOldest();
      return this.#replay(step, forward, inputs);
    });
  }

  #forgetOldest(): void {
    if (this.#programs.size <= MOST) return;
    for (const [signature, program] of this.#programs) {
      if (program === ON_HOST) continue;
      program.step.dispose();
      this.#programs.delete(signature);
      return;
    }
  }
  #warn(step: ForwardStep, reason: string): void {
    this.#parts.warnings.warn(
      "WARN_XLA_ON_HOST",
      `${step} runs on the host, not on ${this.#parts.memory.device.name}: ${reason.replace(/[.\s]+$/, "")}. Nothing to do if that is fast enough.`,
    );
  }

  #replay(
    step: ForwardStep,
    { step: compiled, logs, output, names }: Forward,
    inputs: Readonly<Record<string, Tensor>>,
  ): MaybePending<unknown> {
    const run: StepRun = compiled.run(inputs);
    this.replayed++;
    const made: Tensor[] = [];
    const again = mapTensors(output, (t) => {
      const value = run.results[names.get(t) ?? ""];
      if (value === undefined) return t;
      const tensor = value.tensor();
      made.push(tensor);
      return tensor;
    });
    const numbers = logAgain(this.#parts.host, step, logs, run.results);
    const look = (): void => {
      numbers[0]?.value();
      // Somebody gathers them: they do not stay on the device until all are there.
      if (step === "predictStep") for (const t of made) if (isDeferred(t)) awaken(t);
    };
    this.#flights.push({ done: run.done, look: numbers.length + made.length === 0 ? null : look });
    return this.#flights.landTo(1, () => again);
  }

  /** No more batches come: everything that was returned is here. Waits for the device. */
  settle(): void {
    this.#flights.settle();
  }

  /** For `explain`: a phrase. Null: nothing has run yet. */
  describe(): string | null {
    if (this.#batches === 0) return null;
    return `${this.replayed} of ${this.#batches} batches of validation on ${this.#parts.memory.device.name}`;
  }

  /** The run is over. */
  end(): void {
    this.#flights.forget();
    for (const program of this.#programs.values()) program?.step.dispose();
    this.#programs.clear();
  }
}

/** What a step may leave behind that a program would not. */
interface Traces {
  readonly kept: number;
  readonly fields: Fields;
  readonly versions: number;
}
function tracesOf(module: LightningModule): Traces {
  let versions = 0;
  for (const p of module.parameters()) versions += p.version;
  return { kept: keepCount(), fields: fieldsOf(module), versions };
}
/** In words; null: nothing. */
function effectOf(before: Traces, after: Traces): string | null {
  if (after.kept !== before.kept) return "it keeps a tensor beyond the batch";
  if (after.versions !== before.versions) return "it writes a parameter";
  const changed = whatChanged(before.fields, after.fields);
  return changed === null ? null : `it changes the module's ${changed}`;
}
