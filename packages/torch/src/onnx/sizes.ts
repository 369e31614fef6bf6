/**
 * Numbers of a trace that change with a dynamic axis. The model is traced once as it is given, and once for each axis
 * with one element more; a number that differs is told apart as a formula of the axes' sizes.
 */

/** `factor` times the sizes of some axes, plus `add`. Axes are named by their position among the dynamic ones. */
export class Formula {
  constructor(
    readonly factor: number,
    readonly axes: readonly number[],
    readonly add: number,
  ) {}
  at(sizes: readonly number[]): number {
    return this.axes.reduce((n, axis) => n * (sizes[axis] ?? 0), this.factor) + this.add;
  }
  /** The axis whose size it is; null: it is another number. */
  get axis(): number | null {
    const [axis] = this.axes;
    return this.factor === 1 && this.add === 0 && this.axes.length === 1 && axis !== undefined ? axis : null;
  }
  get key(): string {
    return `${this.factor}*${this.axes.join("*")}+${this.add}`;
  }
}
/** A number of the graph: fixed, or known when it runs. */
export type Size = number | Formula;

/** Sizes of each dynamic axis: as given, and in each of the other traces. */
export interface AxisSizes {
  /** By axis. */
  readonly given: readonly number[];
  /** By trace after the first, by axis. */
  readonly varied: readonly (readonly number[])[];
}

/**
 * The formula of a number that was `values[0]` in the first trace, and the others in the traces after it.
 * @returns null where there is none of this form.
 */
export function formulaOf(values: readonly number[], { given, varied }: AxisSizes): Size | null {
  const [first = 0, ...others] = values;
  if (others.every((v) => v === first)) return first;
  // In which trace an axis alone has another size.
  const traceOf = (axis: number): number =>
    varied.findIndex((sizes) => sizes.every((s, a) => (s !== given[a]) === (a === axis)));
  const moved = given.flatMap((_, axis) => {
    const trace = traceOf(axis);
    return trace >= 0 && others[trace] !== first ? [axis] : [];
  });
  const candidates: Formula[] = [];
  const [only] = moved;
  if (moved.length === 1 && only !== undefined) {
    const trace = traceOf(only);
    const step = (varied[trace]?.[only] ?? 0) - (given[only] ?? 0);
    const factor = ((others[trace] ?? 0) - first) / step;
    candidates.push(new Formula(factor, moved, first - factor * (given[only] ?? 0)));
  }
  const product = moved.reduce((n, axis) => n * (given[axis] ?? 0), 1);
  if (moved.length > 0 && product !== 0) candidates.push(new Formula(first / product, moved, 0));
  const holds = (f: Formula): boolean =>
    Number.isInteger(f.factor) && Number.isInteger(f.add) && others.every((v, i) => v === f.at(varied[i] ?? []));
  return candidates.find(holds) ?? null;
}

export const sameSize = (a: Size, b: Size): boolean =>
  typeof a === "number" || typeof b === "number" ? a === b : a.key === b.key;
