/** One random call of one operator, and what must hold of it. */
import fc from "fast-check";
import { isTensor, memory, scope, type Tensor } from "@nbit/torch";
import { camel } from "../helpers/camel.js";
import type { Target } from "./surface.js";
import { materialize } from "./materialize.js";
import { show, valueFor, type Value } from "./values.js";

export interface Call {
  readonly positional: readonly Value[];
  readonly named: readonly (readonly [string, Value])[];
}

export function showCall(name: string, call: Call): string {
  return `${name}(${[...call.positional.map(show), ...call.named.map(([n, v]) => `${n}: ${show(v)}`)].join(", ")})`;
}

/** Arguments by the schema of one overload: as many positional ones as come, the rest by name. */
export function callOf(target: Target): fc.Arbitrary<Call> {
  return fc.constantFrom(...target.overloads).chain((overload) => {
    const positional = overload.args.filter((a) => a.kwarg !== true);
    const keyword = overload.args.filter((a) => a.kwarg === true && a.kind !== "?");
    const required = positional.filter((a) => a.default === undefined).length;
    return fc.integer({ min: Math.max(0, required - 1), max: positional.length }).chain((n) =>
      fc.record({
        positional: fc.tuple(...positional.slice(0, n).map(valueFor)),
        named: fc
          .tuple(
            ...keyword.map((a) =>
              fc.option(
                valueFor(a).map((v) => [camel(a.name), v] as const),
                { freq: a.default === undefined ? 20 : 2, nil: null },
              ),
            ),
          )
          .map((list) => list.filter((e) => e !== null)),
      }),
    );
  });
}

function tensorsIn(result: unknown): Tensor[] {
  if (isTensor(result)) return [result];
  return Array.isArray(result) ? result.flatMap(tensorsIn) : [];
}

/** Null when `attempt` gave a value or an error with a code, and left no tensor; else what was wrong. */
export function verdict(attempt: () => unknown, leavesTensors = false): string | null {
  const before = memory().unreleased;
  let wrong: string | null = null;
  scope(() => {
    try {
      attempt();
    } catch (error) {
      if (
        error instanceof TypeError &&
        /private member|Receiver must be an instance|proxy that has been revoked/.test(error.message)
      )
        return null; // the language's own guard of a class or of a proxy
      if (!(error instanceof Error)) wrong = `threw ${typeof error}`;
      else if (!("code" in error) || typeof error.code !== "string")
        wrong = `threw ${error.name} without a code: ${error.message.slice(0, 200)}\n${(error.stack ?? "").split("\n").slice(1, 5).join("\n")}`;
      else if (error.message.includes("Exception raised from"))
        wrong = `the message carries a C++ backtrace: ${error.message.slice(0, 200)}`;
    }
    // What is thrown away inside must not live on either.
    return null;
  });
  const left = memory().unreleased - before;
  return wrong ?? (left === 0 || leavesTensors ? null : `${left} tensors left behind`);
}

/** Call, then read what came back and go backward through it. */
export function attempt(target: Target, call: Call): () => unknown {
  return () => {
    const args = call.positional.map(materialize);
    if (call.named.length > 0) args.push(Object.fromEntries(call.named.map(([n, v]) => [n, materialize(v)])));
    const result = target.call(args);
    for (const t of tensorsIn(result).slice(0, 3)) {
      void t.shape;
      t.stride();
      if (t.numel() <= 4096) {
        t.toString();
        if (t.device.type === "cpu" && t.layout === "strided") t.toBytes();
      }
      if (t.requiresGrad && t.isFloatingPoint() && t.numel() <= 4096) t.sum().backward();
    }
    return result;
  };
}
