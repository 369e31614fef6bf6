/** What lazy layers share: they become what they stand for when their first input tells their sizes. */
import { ArgumentError } from "../errors.js";
import { atMost } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import type { FactoryOptions } from "./factory.js";
import { noteClass } from "./global-hooks.js";
import { requireTensor } from "./inputs.js";
import type { Module } from "./module.js";
import { isUninitialized, UninitializedBuffer, UninitializedParameter } from "./uninitialized.js";

/** A layer whose parameters have no shapes yet. */
export interface LazyModule extends Module {
  /** Whether a parameter or a buffer has no shape yet. */
  hasUninitializedParams(): boolean;
  /** Shapes and initial values for an input, as the first `forward` gives them. */
  initializeParameters(x: Tensor): void;
}

/** @internal Own parameters and buffers of a module that have no shape yet, by the names of their fields. */
export function uninitializedOf(module: Module): string[] {
  return Object.keys(module).filter((name) => isUninitialized(Reflect.get(module, name)));
}

/**
 * @internal Give the parameters and buffers shapes and values, and make the layer an instance of the class that it
 * stands for.
 * Where a state dict has given all of them, nothing is drawn.
 *
 * @param shapes - Of what is not initialized, by the names of fields.
 */
export function becomes(
  module: Module & { resetParameters(): void },
  type: { readonly prototype: Module },
  shapes: Readonly<Record<string, readonly number[]>>,
): void {
  const fn = module.constructor.name;
  const missing = uninitializedOf(module);
  const known = Object.keys(shapes).filter((name) => (Reflect.get(module, name) ?? null) !== null);
  if (missing.length > 0 && missing.length < known.length)
    throw new ArgumentError(fn, `all of ${known.join(", ")} to be loaded, or none`, missing);
  for (const name of missing) {
    const lazy: unknown = Reflect.get(module, name);
    if (isUninitialized(lazy)) lazy.materialize(shapes[name] ?? []);
  }
  noteClass(type.prototype);
  Object.setPrototypeOf(module, type.prototype);
  if (missing.length > 0) module.resetParameters();
}

/** What a lazy class needs of the class that it becomes. */
interface Layer extends Module {
  resetParameters(): void;
}
interface LazySizes<M extends Layer> {
  /** The field that is 0 until the first input. */
  readonly size: keyof M & string;
  /** Sizes of the layer for an input; then {@link becomes}. */
  initialize(layer: M, x: Tensor): void;
}

/**
 * @internal Makes a class that extends a layer's a lazy one: its parameters and statistics have no shape, its first
 * forward gives them one, and from then on an instance is one of the plain class. The lazy class itself has its
 * constructor alone, and declares the two methods of {@link LazyModule}.
 */
export function lazily<M extends Layer>(
  type: { readonly name: string; readonly prototype: M & LazyModule },
  plain: { readonly prototype: M },
  { size, initialize }: LazySizes<M>,
): void {
  const { name } = type;
  const methods: ThisType<M & LazyModule> & Record<string, unknown> = {
    parameter: (_shape: unknown, { device, dtype }: FactoryOptions) => new UninitializedParameter({ device, dtype }),
    statistic: (_shape: unknown, { device, dtype }: FactoryOptions) => new UninitializedBuffer({ device, dtype }),
    hasUninitializedParams(): boolean {
      atMost(`${name}.hasUninitializedParams`, arguments, 0);
      return uninitializedOf(this).length > 0;
    },
    resetParameters(): void {
      atMost(`${name}.resetParameters`, arguments, 0);
      if (!this.hasUninitializedParams()) plain.prototype.resetParameters.call(this);
    },
    initializeParameters(x: Tensor): void {
      atMost(`${name}.initializeParameters`, arguments, 1);
      requireTensor(`${name}.initializeParameters`, x);
      initialize(this, x);
    },
    forward(x: Tensor, ...rest: readonly unknown[]): unknown {
      // Hooks that were registered before go on calling this one.
      if (this[size] === 0 && "initializeParameters" in this) this.initializeParameters(x);
      return Reflect.apply(plain.prototype.forward, this, [x, ...rest] as never[]);
    },
  };
  for (const [key, value] of Object.entries(methods))
    if (key !== "statistic" || key in plain.prototype)
      Object.defineProperty(type.prototype, key, { value, writable: true, configurable: true });
}
