/** What modules and data modules have in common: where data comes from, and how it gets to where it is used. */
import type { Device } from "@nbit/torch";
import type { Batch, HookResult, TrainerFn } from "./types.js";

/** The methods that give loaders. */
export type LoaderHook = "trainDataloader" | "valDataloader" | "testDataloader" | "predictDataloader";
/** The methods on a batch's way, in their order. */
export type TransferHook = "onBeforeBatchTransfer" | "transferBatchToDevice" | "onAfterBatchTransfer";

/** Who brings a hook on a batch's way; null: nobody has one of their own. */
export interface Transferring {
  transferring(hook: TransferHook): DataHooks | null;
}

/** Hooks of whoever brings the data. */
export interface DataHooks {
  /** True (default): `prepareData` once on every machine. False: once, on the first. */
  readonly prepareDataPerNode: boolean;
  prepareData(): HookResult;
  setup(stage: TrainerFn): HookResult;
  teardown(stage: TrainerFn): HookResult;
  trainDataloader(): unknown;
  valDataloader(): unknown;
  testDataloader(): unknown;
  predictDataloader(): unknown;
  onBeforeBatchTransfer(batch: Batch, dataloaderIdx: number): Batch;
  transferBatchToDevice(batch: Batch, device: Device, dataloaderIdx: number): Batch;
  onAfterBatchTransfer(batch: Batch, dataloaderIdx: number): Batch;
}
