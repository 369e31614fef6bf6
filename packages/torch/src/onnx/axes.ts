/** Axes of inputs whose sizes are free. */
import { ArgumentError } from "../errors.js";
import { isPlain } from "../kinds.js";
import type { Tensor } from "../tensor/index.js";

/** By names of inputs and outputs: axes whose sizes are free, with their names, or without. */
export type DynamicAxes = Readonly<Record<string, Readonly<Record<number, string>> | readonly number[]>>;

/** @internal Whether a value has that form. */
export function isAxes(v: unknown): boolean {
  const isAxis = (d: unknown): boolean => typeof d === "number" && Number.isSafeInteger(d) && d >= 0;
  return (
    isPlain(v) &&
    Object.values(v).every((axes: unknown) =>
      Array.isArray(axes)
        ? axes.every(isAxis)
        : isPlain(axes) &&
          Object.entries(axes).every(([d, n]) => isAxis(Number(d)) && typeof n === "string" && n !== ""),
    )
  );
}

export interface Axis {
  /** What the graph calls it. */
  readonly name: string;
  readonly size: number;
  readonly places: readonly { readonly input: number; readonly dim: number }[];
}

/** Axes of one name have one size. Without names, those of one place and size move together. */
export function dynamicAxesOf(inputs: readonly Tensor[], names: readonly string[], given: DynamicAxes): Axis[] {
  const axes = new Map<string, { name: string; size: number; places: { input: number; dim: number }[] }>();
  names.forEach((input, i) => {
    const own = Object.hasOwn(given, input) ? given[input] : undefined;
    if (own === undefined) return;
    const { shape } = inputs[i] as Tensor;
    const named: [number, string | null][] = Array.isArray(own)
      ? (own as readonly number[]).map((d) => [d, null])
      : Object.entries(own as Readonly<Record<number, string>>).map(([d, name]) => [Number(d), name]);
    for (const [dim, name] of named) {
      const size = shape[dim];
      if (size === undefined) throw new ArgumentError("onnx.export", `axes of ${input} below ${shape.length}`, dim);
      const key = name ?? `\0${dim} ${size}`;
      const axis = axes.get(key);
      if (axis === undefined)
        axes.set(key, { name: name ?? `${input}_dynamic_axes_${dim}`, size, places: [{ input: i, dim }] });
      else if (axis.size !== size)
        throw new ArgumentError("onnx.export", `one size for the axes named ${String(name)}`, [axis.size, size]);
      else axis.places.push({ input: i, dim });
    }
  });
  return [...axes.values()];
}
