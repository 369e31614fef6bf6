/** Everything that the packages export and that can be called, found by walking them. */
import * as apex from "@nbit/apex";
import * as dashboard from "@nbit/dashboard";
import * as lightning from "@nbit/lightning";
import * as lowbit from "@nbit/lowbit";
import * as metrics from "@nbit/metrics";
import * as torch from "@nbit/torch";
import * as vision from "@nbit/vision";
import * as xla from "@nbit/xla";
import * as cli from "nbit";

export type Callable = (...args: never[]) => unknown;
export interface Export {
  /** `torch.nn.Linear`, `torch.TensorList.of` (static), `torch.nn.Module#train`. */
  readonly path: string;
  readonly kind: "function" | "class" | "static" | "method";
  readonly value: Callable;
  /** The class of statics and methods. */
  readonly owner: Callable | null;
}

const textOf = (value: unknown): string => Function.prototype.toString.call(value);
const isClass = (value: unknown): value is Callable => typeof value === "function" && /^class\b/.test(textOf(value));
/** Operators made from libtorch's schemas have one body each for functions and methods; they check by schema. */
const GENERATED = new Set([textOf(torch.relu), textOf(torch.Tensor.prototype.relu)]);

export interface Walk {
  readonly exports: readonly Export[];
  readonly operators: readonly Export[];
}

export function walk(): Walk {
  const exports: Export[] = [];
  const operators: Export[] = [];
  const seen = new Set<unknown>();
  const add = (one: Export): void => void (GENERATED.has(textOf(one.value)) ? operators : exports).push(one);
  const members = (path: string, type: Callable): void => {
    for (const [holder, mark, kind] of [
      [type, ".", "static"],
      [(type as { readonly prototype?: object }).prototype ?? {}, "#", "method"],
    ] as const)
      for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(holder)) as [
        string,
        { readonly value?: unknown },
      ][])
        if (typeof value === "function" && name !== "constructor")
          add({ path: path + mark + name, kind, value: value as Callable, owner: type });
  };
  const visit = (path: string, value: unknown): void => {
    if (seen.has(value)) return;
    if (isClass(value)) {
      seen.add(value);
      add({ path, kind: "class", value, owner: null });
      members(path, value);
    } else if (typeof value === "function") {
      seen.add(value);
      add({ path, kind: "function", value: value as Callable, owner: null });
    } else if (Object.prototype.toString.call(value) === "[object Module]") {
      for (const [name, inner] of Object.entries(value as object)) visit(`${path}.${name}`, inner);
    }
  };
  for (const [name, space] of Object.entries({ torch, lightning, apex, lowbit, metrics, vision, xla, dashboard, cli }))
    visit(name, space);
  return { exports, operators };
}
