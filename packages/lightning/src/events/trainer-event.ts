import type { RunningStage, TrainerFn } from "../types.js";

/** Where a run stands: epochs completed, and optimizer steps attempted. */
interface Place {
  readonly epoch: number;
  readonly globalStep: number;
}

/** What happens in a run, in the order in which it happens. Plain values: what they say stays as it was. */
export type TrainerEvent =
  | { readonly type: "start"; readonly fn: TrainerFn }
  /** Stages do not nest: that of training ends where validation starts, and starts again after it. */
  | ({ readonly type: "stageStart" | "stageEnd"; readonly stage: RunningStage } & Place)
  /** `metrics`: the newest value of everything logged so far, as `trainer.callbackMetrics`. */
  | ({
      readonly type: "batchEnd";
      readonly stage: RunningStage;
      readonly batchIdx: number;
      readonly dataloaderIdx: number;
      readonly metrics: Readonly<Record<string, number>>;
    } & Place)
  /** Optimizers skipped `count` steps since the last event of this kind, since gradients were not finite. */
  | ({ readonly type: "skippedStep"; readonly count: number; readonly lossScale: number | null } & Place)
  /** Of training; `epoch` is the one that ended. */
  | ({ readonly type: "epochEnd"; readonly metrics: Readonly<Record<string, number>> } & Place)
  /** `metrics`: per loader. The sanity check has none, and no such event. */
  | ({
      readonly type: "validationEnd" | "testEnd";
      readonly metrics: readonly Readonly<Record<string, number>>[];
    } & Place)
  /** It is there, also where a thread writes it; epoch and step are those that it is of. */
  | ({ readonly type: "checkpointSaved"; readonly path: string } & Place)
  /** The first step of a run that kept Node's event loop waiting for more than 100 ms. */
  | ({ readonly type: "longStep"; readonly milliseconds: number } & Place)
  /** A warning of nbit's, of whichever run of this process. */
  | { readonly type: "warning"; readonly code: string; readonly message: string }
  /** So many events are left out from here on, since nobody read them in time. */
  | { readonly type: "dropped"; readonly count: number }
  /** The last one. `error`: what the call rejects with. */
  | { readonly type: "end"; readonly fn: TrainerFn; readonly status: "finished" }
  | { readonly type: "end"; readonly fn: TrainerFn; readonly status: "interrupted"; readonly error: unknown };
