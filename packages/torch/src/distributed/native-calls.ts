/** Entries of the addon that call back, as promises; operators of the namespace `nbit_dist`. */
import { nativeError } from "../errors.js";
import { native } from "../native.js";
import { operators, type AtenOperator } from "../ops/aten.js";

type Done = (code: string | null, message: string | null) => void;

/** What `begin` begins, until it calls back. */
export function whenDone(begin: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    begin((code, message) => {
      if (code === null) resolve();
      else reject(nativeError(code, message ?? "", null));
    });
  });
}

/** Options for an entry that has many, as it reads them. */
export function optionLines(options: Readonly<Record<string, string | number | boolean>>): string {
  return Object.entries(options)
    .map(([name, value]) => `${name}=${String(value).replaceAll("\n", " ")}\n`)
    .join("");
}

type DistOperator = (...args: Parameters<AtenOperator>) => ReturnType<AtenOperator>;
const known = new Map<string, AtenOperator>();
/** An operator of ours for several processes. */
export function distOperator(name: string): DistOperator {
  let operator = known.get(name);
  if (operator === undefined) {
    operator = operators("nbit_dist")[name];
    if (operator === undefined) throw nativeError("ERR_DIST_BACKEND", `this addon has no operator ${name}`, null);
    known.set(name, operator);
  }
  return recorder === null ? operator : recorded(name, operator, recorder);
}

type Recorder = (name: string, args: readonly unknown[]) => void;
let recorder: Recorder | null = null;
/** Tell `record` of every operator that is called while `fn` runs. */
export function recordCalls<T>(fn: () => T, record: Recorder): T {
  const before = recorder;
  recorder = record;
  try {
    return fn();
  } finally {
    recorder = before;
  }
}
const recorded =
  (name: string, operator: DistOperator, record: Recorder): DistOperator =>
  (...args) => {
    record(name, args);
    return operator(...args);
  };

export const waitNow = (id: number): void => native.distWait(id);
export const waitLater = (id: number): Promise<void> => whenDone((done) => native.distWhenDone(id, done));
