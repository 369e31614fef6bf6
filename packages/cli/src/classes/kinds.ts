/** Which classes can be chosen by name for what: ours, and those of the user's files. */
import * as lightning from "@nbit/lightning";
import * as lowbit from "@nbit/lowbit";
import { optim } from "@nbit/torch";

export type AnyClass = new (...args: never[]) => object;
export type ClassKind = "model" | "data" | "optimizer" | "lrScheduler" | "callbacks" | "logger";

interface Row {
  /** After "expected". */
  readonly words: string;
  readonly accepts: (type: AnyClass) => boolean;
  /** Where ours are. */
  readonly ours: readonly object[];
}
const extending =
  (...bases: readonly (abstract new (...args: never) => object)[]) =>
  (type: AnyClass): boolean =>
    bases.some((base) => type === base || type.prototype instanceof base);

const ROWS: Readonly<Record<ClassKind, Row>> = {
  model: { words: "a LightningModule", accepts: extending(lightning.LightningModule), ours: [] },
  data: { words: "a LightningDataModule", accepts: extending(lightning.LightningDataModule), ours: [] },
  optimizer: { words: "an optimizer", accepts: extending(optim.Optimizer), ours: [optim, lowbit] },
  lrScheduler: {
    words: "a learning rate scheduler",
    accepts: extending(optim.LRScheduler, optim.ReduceLROnPlateau),
    ours: [optim.lrScheduler],
  },
  callbacks: { words: "a Callback", accepts: extending(lightning.Callback), ours: [lightning] },
  logger: { words: "a Logger", accepts: extending(lightning.Logger), ours: [lightning] },
};
/** Of which others are made. */
const BASES = new Set<unknown>([optim.Optimizer, optim.LRScheduler, lightning.Callback, lightning.Logger]);

export const wordsOf = (kind: ClassKind): string => ROWS[kind].words;

export function isClassOf(kind: ClassKind, value: unknown): value is AnyClass {
  return isClass(value) && ROWS[kind].accepts(value);
}
function isClass(value: unknown): value is AnyClass {
  return (
    typeof value === "function" &&
    typeof value.prototype === "object" &&
    /^class\b/.test(Function.prototype.toString.call(value))
  );
}

/** By name. */
export function ownClasses(kind: ClassKind): ReadonlyMap<string, AnyClass> {
  return new Map(
    ROWS[kind].ours.flatMap((space) =>
      Object.entries(space).flatMap(([name, value]: [string, unknown]) =>
        isClassOf(kind, value) && !BASES.has(value) ? [[name, value] as const] : [],
      ),
    ),
  );
}
