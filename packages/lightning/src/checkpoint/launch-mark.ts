/** What a checkpoint says of the launch, and of the fit of its script, that wrote it. */
import { clusterEnvironment } from "@nbit/torch/distributed";
import { slurmJob } from "../runs/slurm-job.js";

/** Header key. */
export const LAUNCH = "nbit.launch";

let fits = 0;
const fitOf = new WeakMap<object, number>();

/** A fit begins: scripts that were started again call the same ones in the same order. */
export function countFit(trainer: object): void {
  fitOf.set(trainer, ++fits);
}

/** Equal in all starts of one launch, for the same fit; null: nobody launched this process. */
export function launchMark(trainer: object): string | null {
  const cluster = clusterEnvironment();
  if (cluster === null) {
    const job = slurmJob();
    return job === null ? null : `slurm ${job.id} ${fitOf.get(trainer) ?? 0}`;
  }
  if (cluster.runId === null) return null;
  // Many runs of torchrun have the same name, and each its own agent.
  const launch = cluster.launcher === "torchrun" ? `${cluster.runId}.${process.ppid}` : cluster.runId;
  return `${cluster.launcher} ${launch} ${fitOf.get(trainer) ?? 0}`;
}

/** How often this launch has been started again. */
export function restartCount(): number {
  return clusterEnvironment()?.restartCount ?? slurmJob()?.restartCount ?? 0;
}

/** For a checkpoint's header. */
export function launchMetadata(trainer: object): Readonly<Record<string, string>> {
  const mark = launchMark(trainer);
  return mark === null ? {} : { [LAUNCH]: mark };
}
