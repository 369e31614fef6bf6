/** What a recorded step logs and returns, to be logged and returned again by the programs that take its place. */
import { outsideScopes, Tensor } from "@nbit/torch";
import type { DeviceValue } from "@nbit/xla/step";
import type { LogSink } from "../logging/log-sink.js";
import { PendingNumber } from "../logging/pending-number.js";
import type { RecordingHost } from "./recording.js";

type LogCall = Parameters<LogSink>;

/** A value that a program computes again, by its name among the results; or as it was. */
export type Again = { readonly result: string } | { readonly value: unknown };

/** A call of `log` while a step was recorded. */
export interface LoggedAgain {
  readonly name: string;
  readonly value: Again;
  readonly options: LogCall[2];
}

/** Collects what a step logs while it is recorded. */
export class RecordedLogs {
  readonly #calls: LogCall[] = [];
  /** Results of the program so far, by name. */
  readonly tensors: Record<string, Tensor> = {};

  readonly sink: LogSink = (name, value, options) => {
    const kept = value instanceof Tensor ? this.keep(`log.${this.#calls.length}`, value) : value;
    this.#calls.push([name, kept, options]);
  };

  /** A tensor becomes a result of the program. Returns it as one that outlives the recording. */
  keep(name: string, tensor: Tensor): Tensor {
    return (this.tensors[name] = outsideScopes(() => tensor.detach()));
  }

  /** Log now what was collected: the step has run here, and nothing takes its place. */
  logHere(host: RecordingHost, hook: string): void {
    host.within(hook, () => {
      for (const [name, value, options] of this.#calls) host.log(name, value, options);
    });
  }

  again(): LoggedAgain[] {
    const names = new Map(Object.entries(this.tensors).map(([name, t]) => [t, name]));
    return this.#calls.map(([name, value, options]) => {
      const result = value instanceof Tensor ? names.get(value) : undefined;
      return { name, value: result === undefined ? { value } : { result }, options };
    });
  }

  dispose(): void {
    for (const t of Object.values(this.tensors)) t.dispose();
  }
}

/** Log again what a step logged: numbers that are read when the device has them. Returns these. */
export function logAgain(
  host: RecordingHost,
  hook: string,
  logs: readonly LoggedAgain[],
  results: Readonly<Record<string, DeviceValue>>,
): PendingNumber[] {
  const pending: PendingNumber[] = [];
  host.within(hook, () => {
    for (const { name, value, options } of logs) {
      if (!("result" in value)) {
        host.log(name, value.value as LogCall[1], options);
        continue;
      }
      const number = numberOf(results[value.result]);
      pending.push(number);
      host.log(name, number, options);
    }
  });
  return pending;
}

export function numberOf(value: DeviceValue | undefined): PendingNumber {
  return new PendingNumber(value?.dtype ?? "float32", () => value?.number() ?? NaN);
}
