import { spawnSync } from "node:child_process";
import { plainText } from "@nbit/torch";
import { warn } from "../warnings.js";
import { slurmJob } from "./slurm-job.js";

const MOST_MS = 30_000;

/** Have Slurm queue this job again; started again, it goes on from its newest checkpoint. Says what became of it. */
export function requeueJob(): void {
  const job = slurmJob();
  if (job === null) return;
  const { status, error, stderr } = spawnSync("scontrol", ["requeue", job.id], { encoding: "utf8", timeout: MOST_MS });
  if (status === 0) {
    console.error(`SIGUSR1: job ${job.id} of Slurm is queued again.`);
    return;
  }
  const why = error?.message ?? (stderr.trim() === "" ? `status ${status}` : stderr.trim());
  warn(
    "WARN_SLURM_REQUEUE",
    plainText(
      `SIGUSR1: expected scontrol to queue job ${job.id} again. Received: ${why}. Submit it again, with #SBATCH --requeue.`,
    ),
  );
}
