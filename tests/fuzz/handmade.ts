/**
 * What is not an operator: creation, indexing, reading, autograd, lists, generators, scopes. Described like operators,
 * so that the same fuzz runs them.
 */
import * as torch from "@nbit/torch";
import { receiver, type ArgumentSchema, type Target } from "./surface.js";

const arg = (kind: string, more: Partial<ArgumentSchema> = {}): ArgumentSchema => ({ name: "value", kind, ...more });
const T = arg("t");
const ANY = arg("?", { optional: true });

type Loose = (...args: readonly unknown[]) => unknown;

function entry(name: string, args: readonly ArgumentSchema[], call: (args: readonly unknown[]) => unknown): Target {
  return { name, overloads: [{ overload: "", args }], call };
}

/** A method of the class itself, with whatever arguments come. */
function method(name: string, ...args: readonly ArgumentSchema[]): Target {
  return entry(`Tensor#${name}`, [T, ...args], ([self, ...rest]) => {
    const fn: unknown = Reflect.get(receiver(self), name);
    return Reflect.apply(fn as Loose, self, rest);
  });
}
function free(name: string, ...args: readonly ArgumentSchema[]): Target {
  const fn: unknown = Reflect.get(torch, name);
  if (typeof fn !== "function") throw new Error(`@nbit/torch has no ${name}`);
  return entry(name, args, (list) => Reflect.apply(fn as Loose, undefined, [...list]));
}

export function handmade(): Target[] {
  const integers = arg("i", { list: true });
  const many = arg("t", { list: true });
  return [
    free("tensor", arg("s", { list: true })),
    free("tensor", ANY),
    free("tensorFromBytes", ANY, arg("d"), integers),
    free("manualSeed", arg("s")),
    free("setRngState", T),
    free("setCacheLimit", ANY),
    entry("setDefaultDtype", [arg("d")], ([dtype]) => {
      try {
        torch.setDefaultDtype(dtype as torch.DType);
      } finally {
        torch.setDefaultDtype("float32");
      }
    }),
    entry("setNumThreads", [ANY], ([n]) => {
      try {
        torch.setNumThreads(n as number);
      } finally {
        torch.setNumThreads(1);
      }
    }),
    free("device", arg("D")),
    free("grad", many, many),
    free("backward", many, many),
    entry("keep", [ANY], ([value]) => torch.keep(value as torch.Tensor).dispose()),
    method("at", integers),
    method("at", arg("S")),
    method("at", ANY),
    method("at", T),
    method("at", arg("i"), arg("i"), arg("b")),
    method("setAt", integers, arg("s")),
    method("setAt", many, T),
    method("setAt", ANY, ANY),
    method("item"),
    method("itemBigInt"),
    method("tolist"),
    method("toTypedArray"),
    method("size", arg("i")),
    method("to", arg("d")),
    method("to", arg("D")),
    method("to", ANY),
    method("copyFromBytes", ANY),
    method("registerHook", ANY),
    method("registerPostAccumulateGradHook", ANY),
    method("retainGrad"),
    method("requiresGrad_", arg("b")),
    method("setData", T),
    method("dispose"),
    method("dataPtr"),
    method("toString"),
    method("isContiguous"),
    entry("Tensor#grad=", [T, ANY], ([self, value]) => Reflect.set(receiver(self), "grad", value)),
    entry("Tensor#backward", [T, arg("t", { optional: true })], ([self, gradient]) =>
      receiver(self).backward({ gradient: gradient as torch.Tensor }),
    ),
    entry("TensorList.of", [many], ([list]) => torch.TensorList.of(list as torch.Tensor[]).toArray()),
    entry("TensorList.gradsOf", [many], ([list]) => {
      const owned = torch.TensorList.gradsOf(torch.TensorList.of(list as torch.Tensor[]));
      owned.dispose();
    }),
    entry("Generator.manualSeed", [ANY], ([seed]) => new torch.Generator().manualSeed(seed as number)),
    entry("Generator.setState", [T], ([state]) => new torch.Generator().setState(state as torch.Tensor)),
    entry("Generator", [arg("D")], ([device]) => new torch.Generator(device as string)),
  ];
}
