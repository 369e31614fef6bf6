/** The operators under test: every one that users reach by name, with the schemas that libtorch itself reports. */
import * as torch from "@nbit/torch";
import { native } from "@nbit/native";
import { Tensor } from "@nbit/torch";
import { camel } from "../helpers/camel.js";

export interface ArgumentSchema {
  readonly name: string;
  readonly kind: string;
  readonly list?: boolean;
  readonly optional?: boolean;
  readonly size?: number;
  readonly kwarg?: boolean;
  readonly default?: unknown;
}
export interface Overload {
  readonly overload: string;
  readonly args: readonly ArgumentSchema[];
}
export interface Target {
  /** `conv2d`, `linalg.svd`, `Tensor.add_`, `aten._softmax`. */
  readonly name: string;
  readonly overloads: readonly Overload[];
  readonly call: (args: readonly unknown[]) => unknown;
  /** What it makes (a module with its parameters) lives until the garbage collector finds it. */
  readonly leavesTensors?: boolean;
}

type Callable = (...args: readonly unknown[]) => unknown;
const isCallable = (value: unknown): value is Callable => typeof value === "function";

function overloadsOf(name: string): readonly Overload[] {
  const all = JSON.parse(native.schemas(`aten::${name}`)) as readonly Overload[];
  return all.filter(
    (o) => !/dimname|(^|_)names/i.test(o.overload) && !o.args.some((a) => a.kind === "?" && a.default === undefined),
  );
}

/** What comes before the dot is a tensor, though it may be a disposed one. */
export function receiver(self: unknown): Tensor {
  if (!torch.isTensor(self)) throw new torch.ArgumentError("method", "a tensor before the dot", self);
  return self;
}

/** Functions and methods; or, with `hidden`, what only `aten` reaches. */
export function surface(hidden: boolean): Target[] {
  const targets: Target[] = [];
  for (const name of torch.operatorNames("aten")) {
    const overloads = overloadsOf(name);
    if (overloads.length === 0 || name === "from_file") continue; // it makes files
    const namespace = /^(linalg|fft|special)_(.+)$/.exec(name);
    const holder: object = namespace === null ? torch : (Reflect.get(torch, namespace[1] ?? "") as object);
    const short = camel(namespace?.[2] ?? name);
    const fn: unknown = Reflect.get(holder, short);
    // Not through the prototype itself: getters there want an instance.
    const method: unknown = Object.getOwnPropertyDescriptor(Tensor.prototype, camel(name))?.value;
    const raw: unknown = torch.aten[name];
    if (hidden) {
      if (!isCallable(fn) && !isCallable(method) && isCallable(raw))
        targets.push({ name: `aten.${name}`, overloads, call: (args) => raw(...args) });
      continue;
    }
    if (isCallable(fn))
      targets.push({
        name: namespace === null ? short : `${namespace[1] ?? ""}.${short}`,
        overloads,
        call: (args) => fn(...args),
      });
    else if (isCallable(method))
      targets.push({
        name: `Tensor.${camel(name)}`,
        overloads,
        call: ([self, ...rest]) => method.apply(receiver(self), rest),
      });
  }
  return targets;
}
