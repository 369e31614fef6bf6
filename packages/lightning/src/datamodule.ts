import { atMost, checkArguments, DataLoader, kinds, signature, verbatim, type Device } from "@nbit/torch";
import type { Call } from "@nbit/torch";
import { openCheckpointInPart } from "./checkpoint/file.js";
import type { Checkpoint, DatamoduleState } from "./checkpoint/format.js";
import { stateOfDatamodule } from "./checkpoint/datamodule-state.js";
import { readLightningFile } from "./checkpoint/lightning-file.js";
import { eachLeaf, onDevice } from "./collections.js";
import { FROM_DATASETS, loadersOver, type FromDatasetsArguments } from "./data-from-datasets.js";
import type { DataHooks, LoaderHook } from "./data-hooks.js";
import { MisconfigurationError } from "./errors.js";
import {
  buildFromHyperparameters,
  isBuiltFromHyperparameters,
  RecordedHyperparameters,
  type HyperparameterOptions,
} from "./hyperparameters.js";
import type { TrainerView } from "./trainer-view.js";
import type { Batch, HookResult, TrainerFn } from "./types.js";

/** Connects a data module to the Trainer that runs it. For the Trainer only. */
export let attachTrainer: (datamodule: LightningDataModule, trainer: TrainerView | null) => void;
/** For the Trainer only. */
export let recordedIn: (datamodule: LightningDataModule) => RecordedHyperparameters;

const readFromDatasets = signature("LightningDataModule.fromDatasets", FROM_DATASETS, 6);
type FromDatasetsCall = Call<
  FromDatasetsArguments,
  ["trainDataset", "valDataset", "testDataset", "predictDataset", "batchSize", "numWorkers"],
  [
    trainDataset?: FromDatasetsArguments["trainDataset"],
    valDataset?: FromDatasetsArguments["valDataset"],
    testDataset?: FromDatasetsArguments["testDataset"],
    predictDataset?: FromDatasetsArguments["predictDataset"],
    batchSize?: number,
    numWorkers?: number,
  ]
>;

const LOADERS: readonly (readonly [string, LoaderHook])[] = [
  ["Train dataloader", "trainDataloader"],
  ["Validation dataloader", "valDataloader"],
  ["Test dataloader", "testDataloader"],
  ["Predict dataloader", "predictDataloader"],
];

/**
 * Data and all that is done to it, apart from any model: download, split, loaders, the way to the device.
 *
 * Override what you need. The Trainer calls, in this order: `prepareData` (in one process of each machine),
 * `setup(stage)` (in all, before that of callbacks and module), the loaders, for each batch `onBeforeBatchTransfer`,
 * `transferBatchToDevice` and `onAfterBatchTransfer`, and `teardown(stage)`. Do not keep state in `prepareData`: the
 * other processes do not run it.
 *
 * @example
 * class Digits extends LightningDataModule {
 *   train: Dataset<[Tensor, Tensor]> | null = null;
 *   override async prepareData() { await download("digits.bin"); }
 *   override setup() { this.train = new TensorDataset(...readDigits("digits.bin")); }
 *   override trainDataloader() { return new DataLoader(this.train, { batchSize: 64, shuffle: true }); }
 * }
 * await trainer.fit(model, { datamodule: new Digits() });
 */
export class LightningDataModule implements DataHooks {
  /** What it is called, in your own words. */
  name: string | null = null;
  /** True: `prepareData` once on every machine. False: once, on the first, for file systems that all share. */
  prepareDataPerNode = true;

  #trainer: TrainerView | null = null;
  readonly #hparams = new RecordedHyperparameters();

  constructor() {
    if (!isBuiltFromHyperparameters()) atMost(new.target.name || "LightningDataModule", arguments, 0);
  }

  static {
    attachTrainer = (datamodule, trainer) => {
      datamodule.#trainer = trainer;
    };
    recordedIn = (datamodule) => datamodule.#hparams;
  }

  /** The Trainer that runs it, or has run it last; null: none has. */
  get trainer(): TrainerView | null {
    return this.#trainer;
  }

  /** Download, unpack, tokenize: what is done once for a machine, by one process, while the others wait. */
  prepareData(): HookResult {}
  /** Read and split, in every process. */
  setup(_stage: TrainerFn): HookResult {}
  /** The run is over. Not called where it failed: see `onException`. */
  teardown(_stage: TrainerFn): HookResult {}
  /** Any error that ends a run, an interrupt (Ctrl-C) included. */
  onException(_error: unknown): HookResult {}

  /** A loader, or several in a list, an object or a CombinedLoader. */
  trainDataloader(): unknown {
    return null;
  }
  valDataloader(): unknown {
    return null;
  }
  testDataloader(): unknown {
    return null;
  }
  predictDataloader(): unknown {
    return null;
  }

  /** Change a batch before it goes to the device. */
  onBeforeBatchTransfer(batch: Batch, _dataloaderIdx: number): Batch {
    return batch;
  }
  /** Move a batch to the device. Default: every tensor in arrays, objects and Maps. */
  transferBatchToDevice(batch: Batch, device: Device, _dataloaderIdx: number): Batch {
    return onDevice(batch, device);
  }
  /** Change a batch on the device (augmentation, for example). */
  onAfterBatchTransfer(batch: Batch, _dataloaderIdx: number): Batch {
    return batch;
  }

  /** What a checkpoint should carry of it: plain values and tensors. Default: nothing. */
  stateDict(): Record<string, unknown> {
    return {};
  }
  /** After `setup`, with what {@link stateDict} gave to the checkpoint that a run goes on from. */
  loadStateDict(_state: Record<string, unknown>): void {}

  /** What {@link saveHyperparameters} recorded; frozen. */
  get hparams(): Readonly<Record<string, unknown>> {
    return this.#hparams.values;
  }
  /** The same as it was recorded last, whatever was removed since. */
  get hparamsInitial(): Readonly<Record<string, unknown>> {
    return this.#hparams.initial;
  }
  /**
   * Record the values that built this data module: they are saved in checkpoints, given to loggers, and passed to the
   * constructor by `loadFromCheckpoint`. Plain values only.
   */
  saveHyperparameters(params: object, options: HyperparameterOptions = {}): void {
    atMost("saveHyperparameters", arguments, 2);
    this.#hparams.save(params, options);
  }
  /** Forget recorded values, of a base class for example. */
  removeIgnoredHparams(ignoreList: readonly string[]): void {
    atMost("removeIgnoredHparams", arguments, 1);
    this.#hparams.remove(ignoreList);
  }

  /**
   * A data module over datasets that are there already. Training shuffles, streams excepted. Called on a subclass, that
   * is built, with `{ batchSize, numWorkers, ...datamoduleKwargs }`.
   *
   * @example
   * const data = LightningDataModule.fromDatasets(train, val, { batchSize: 32 });
   */
  static fromDatasets<T extends LightningDataModule>(this: new (hparams: never) => T, ...given: FromDatasetsCall): T {
    const read = readFromDatasets(given);
    const { batchSize, numWorkers, datamoduleKwargs } = read;
    const hparams: object = { batchSize, numWorkers, ...datamoduleKwargs };
    const made = buildFromHyperparameters(() => new this(hparams as never));
    const bring = (hook: LoaderHook, of: typeof read.trainDataset): void => {
      if (of === null) return;
      const shuffle = hook === "trainDataloader";
      Object.defineProperty(made, hook, {
        configurable: true,
        writable: true,
        value: () => loadersOver(of, { batchSize, numWorkers, shuffle }),
      });
    };
    bring("trainDataloader", read.trainDataset);
    bring("valDataloader", read.valDataset);
    bring("testDataloader", read.testDataset);
    bring("predictDataloader", read.predictDataset);
    return made;
  }

  /**
   * A data module built from a checkpoint's hyperparameters (`overrides` win), with its state. A `.ckpt` of Lightning's
   * own is read too: its hyperparameters, with names in camelCase.
   *
   * @throws {MisconfigurationError} `ERR_CHECKPOINT_DATAMODULE` where no data module took part in the run that saved it.
   */
  static loadFromCheckpoint<T extends LightningDataModule, H>(
    this: new (hparams: H) => T,
    checkpointPath: string,
    overrides: Partial<H> = {},
  ): T {
    atMost("loadFromCheckpoint", arguments, 2);
    checkArguments("loadFromCheckpoint", { overrides: overrides as object }, { overrides: kinds.record });
    const saved = savedDatamodule(checkpointPath, this.name);
    if (saved === null)
      throw new MisconfigurationError(
        "loadFromCheckpoint",
        "a checkpoint of a run with a data module",
        verbatim(`${checkpointPath}, which holds nothing of one`),
        "Pass datamodule to fit, or build the data module itself.",
        "ERR_CHECKPOINT_DATAMODULE",
      );
    const hparams: Record<string, unknown> = { ...saved.hyperparameters, ...overrides };
    const made = buildFromHyperparameters(() => new this(hparams as H));
    if (Object.keys(saved.state).length > 0) made.loadStateDict(saved.state);
    return made;
  }

  /** The datasets that are there now, one line for each kind of loader, with their lengths. */
  toString(): string {
    atMost("LightningDataModule.toString", arguments, 0);
    return LOADERS.map(([title, hook]) => `{${title}: ${this.#sizes(hook)}}`).join("\n");
  }
  #sizes(hook: LoaderHook): string {
    const sizes: string[] = [];
    try {
      eachLeaf(this[hook](), (loader) => sizes.push(loader instanceof DataLoader ? sizeOf(loader.dataset) : "None"));
    } catch {
      return "None"; // not set up yet
    }
    if (sizes.length === 1) return sizes[0] === "None" ? "None" : `size=${sizes[0]}`;
    return sizes.map((size, i) => (size === "None" ? size : `${i + 1}. size=${size}`)).join(" ; ");
  }
}

function sizeOf(dataset: object): string {
  const length: unknown = Reflect.get(dataset, "length");
  return typeof length === "number" ? String(length) : "NA";
}

/** Of the class of that name; null: no data module took part in the run. */
function savedDatamodule(path: string, className: string): Omit<DatamoduleState, "name"> | null {
  const checkpoint = readLightningFile(path) ?? withoutTensors(path);
  const { datamodule } = checkpoint;
  const state = stateOfDatamodule(checkpoint, className);
  if (datamodule === undefined) return null;
  const { name, hyperparameters } = datamodule;
  const nothing = name === "" && Object.keys({ ...hyperparameters, ...state }).length === 0;
  return nothing ? null : { hyperparameters, state };
}
function withoutTensors(path: string): Checkpoint {
  const { checkpoint, stored } = openCheckpointInPart(path);
  stored.close();
  return checkpoint;
}
