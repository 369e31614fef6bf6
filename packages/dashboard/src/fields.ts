import { describe } from "@nbit/torch/files";
import { RunLogError } from "./errors.js";
import type { Metrics } from "./records.js";

/** The fields of one record, checked as they are read. */
export class Fields {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #where: string;

  private constructor(values: ReadonlyMap<string, unknown>, where: string) {
    this.#values = values;
    this.#where = where;
  }

  /** @param where - Names the line in messages: `runs/run.jsonl:12`. */
  static parse(line: string, where: string): Fields {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new RunLogError(`${where}: expected a line of JSON. Received: ${shown(line)}.`, { cause });
    }
    if (!isObject(value)) throw new RunLogError(`${where}: expected a JSON object. Received: ${shown(line)}.`);
    return new Fields(new Map(Object.entries(value)), where);
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  text(key: string, otherwise?: string): string {
    const value = this.#values.get(key);
    if (typeof value === "string") return value;
    if (value === undefined && otherwise !== undefined) return otherwise;
    throw this.#wrong(key, "a string", value);
  }

  number(key: string, otherwise?: number): number {
    const value = toNumber(this.#values.get(key));
    if (value !== null) return value;
    if (this.#values.get(key) === undefined && otherwise !== undefined) return otherwise;
    throw this.#wrong(key, "a number", this.#values.get(key));
  }

  /** How many, or the how manieth. */
  whole(key: string, otherwise?: number): number {
    const value = this.number(key, otherwise);
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#wrong(key, "a whole number ≥ 0", value);
  }

  numbers(key: string): number[] {
    const value = this.#values.get(key) ?? [];
    const numbers = Array.isArray(value) ? value.map(toNumber) : [null];
    if (numbers.every((item) => item !== null)) return numbers;
    throw this.#wrong(key, "a list of numbers", value);
  }

  /** Of any kind. */
  values(key: string): Readonly<Record<string, unknown>> {
    const value = this.#values.get(key) ?? {};
    if (!isObject(value)) throw this.#wrong(key, "an object", value);
    return Object.fromEntries(Object.entries(value));
  }

  texts(key: string): string[] {
    const value = this.#values.get(key) ?? [];
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
    throw this.#wrong(key, "a list of strings", value);
  }

  metrics(key: string): Metrics {
    const value = this.#values.get(key) ?? {};
    if (!isObject(value)) throw this.#wrong(key, "an object of numbers", value);
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => {
        const number = toNumber(item);
        if (number === null) throw this.#wrong(`${key}.${name}`, "a number", item);
        return [name, number];
      }),
    );
  }

  inner(key: string): Fields {
    const value = this.#values.get(key) ?? {};
    if (!isObject(value)) throw this.#wrong(key, "an object", value);
    return new Fields(new Map(Object.entries(value)), this.#where);
  }

  #wrong(key: string, expected: string, received: unknown): RunLogError {
    return new RunLogError(
      `${this.#where}: expected ${key} to be ${expected}. Received: ${received === undefined ? "nothing" : describe(received)}.`,
    );
  }
}

/** Numbers that JSON cannot write come as their names. */
function toNumber(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  return null;
}

function shown(line: string): string {
  return describe(line.slice(0, 60));
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
