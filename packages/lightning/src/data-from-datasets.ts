/** Loaders over datasets that somebody has already: what `LightningDataModule.fromDatasets` makes. */
import { DataLoader, isTensor, kinds, type DataLoaderArguments } from "@nbit/torch";

type Source = DataLoaderArguments<unknown, unknown>["dataset"];
/** A dataset, or datasets in lists and objects, for a loader each. */
export type Datasets = Source | readonly Datasets[] | { readonly [name: string]: Datasets };

export interface FromDatasetsArguments {
  /** For `trainDataloader`, which shuffles it unless it is a stream. Null: there is none. */
  readonly trainDataset?: Datasets | null;
  readonly valDataset?: Datasets | null;
  readonly testDataset?: Datasets | null;
  readonly predictDataset?: Datasets | null;
  /** Elements in each batch. Default 1. */
  readonly batchSize?: number;
  /** Threads that load, for each loader. Default 0. */
  readonly numWorkers?: number;
  /** What else the constructor is given, beside `batchSize` and `numWorkers`. Default: nothing. */
  readonly datamoduleKwargs?: Readonly<Record<string, unknown>>;
}
const NAMES: readonly string[] = [
  "trainDataset",
  "valDataset",
  "testDataset",
  "predictDataset",
  "batchSize",
  "numWorkers",
  "datamoduleKwargs",
];

const { byDefault, isPlain, orNull, such, whole } = kinds;
const isDataset = (v: unknown): boolean =>
  typeof v === "object" &&
  v !== null &&
  !isTensor(v) &&
  (Array.isArray(v) || "get" in v || Symbol.iterator in v || Symbol.asyncIterator in v || "module" in v);
/** A list of datasets; a list of anything else is itself one. */
const isList = (v: unknown): v is readonly unknown[] => Array.isArray(v) && v.length > 0 && v.every(areSeveral);
const areSeveral = (v: unknown): boolean => (Array.isArray(v) ? isList(v) : isDataset(v) || isRecord(v));
const isRecord = (v: unknown): v is Readonly<Record<string, unknown>> =>
  isPlain(v) &&
  !isDataset(v) &&
  Object.keys(v).length > 0 &&
  // An object of arguments by name is none of datasets.
  Object.entries(v).every(([name, each]) => !NAMES.includes(name) && (isDataset(each) || isRecord(each)));

const datasets = byDefault(
  null,
  orNull(such<Datasets>("a dataset, or datasets in lists and objects", (v) => isDataset(v) || isRecord(v))),
);
export const FROM_DATASETS = {
  trainDataset: datasets,
  valDataset: datasets,
  testDataset: datasets,
  predictDataset: datasets,
  batchSize: byDefault(1, whole("[1, ∞)")),
  numWorkers: byDefault(0, whole("[0, 1024]")),
  datamoduleKwargs: byDefault({}, kinds.record),
};

/** A loader in the place of each dataset. */
export function loadersOver(
  of: Datasets,
  how: { readonly batchSize: number; readonly numWorkers: number; readonly shuffle: boolean },
): unknown {
  if (isList(of)) return of.map((each) => loadersOver(each as Datasets, how));
  if (isRecord(of))
    return Object.fromEntries(Object.entries(of).map(([name, each]) => [name, loadersOver(each as Datasets, how)]));
  const isStream = !Array.isArray(of) && !("get" in of) && !("module" in of);
  const { batchSize, numWorkers } = how;
  return new DataLoader<unknown, unknown>({
    dataset: of as Source,
    batchSize,
    numWorkers,
    shuffle: how.shuffle && !isStream,
    pinMemory: true,
  });
}
