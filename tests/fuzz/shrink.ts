/** Calls with a little less in them, the most promising first. */
import type { Call } from "./calls.js";
import type { Value } from "./values.js";

function* smallerValue(value: Value): Generator<Value> {
  switch (value.kind) {
    case "tensor":
      if (value.flavor !== "plain") yield { ...value, flavor: "plain" };
      if (value.dtype !== "float32") yield { ...value, dtype: "float32" };
      if (value.shape.length > 0) yield { ...value, shape: value.shape.slice(1) };
      if (value.shape.some((n) => n > 1)) yield { ...value, shape: value.shape.map((n) => Math.min(n, 1)) };
      return;
    case "list":
      for (let i = 0; i < value.items.length; i++) yield { kind: "list", items: value.items.filter((_, j) => j !== i) };
      for (const [i, item] of value.items.entries())
        for (const less of smallerValue(item))
          yield { kind: "list", items: value.items.map((v, j) => (j === i ? less : v)) };
      return;
    case "plain":
      if (typeof value.value === "number" && value.value !== 0) yield { kind: "plain", value: 0 };
      return;
    case "odd":
      yield { kind: "plain", value: null };
  }
}

export function* smaller(call: Call): Generator<Call> {
  for (let i = 0; i < call.named.length; i++) yield { ...call, named: call.named.filter((_, j) => j !== i) };
  if (call.positional.length > 0) yield { ...call, positional: call.positional.slice(0, -1) };
  for (const [i, value] of call.positional.entries())
    for (const less of smallerValue(value))
      yield { ...call, positional: call.positional.map((v, j) => (j === i ? less : v)) };
  for (const [i, [name, value]] of call.named.entries())
    for (const less of smallerValue(value))
      yield { ...call, named: call.named.map((v, j) => (j === i ? ([name, less] as const) : v)) };
}
