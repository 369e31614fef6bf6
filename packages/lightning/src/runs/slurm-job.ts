/** The batch job of Slurm that this process is part of. */

export interface SlurmJob {
  /** As `scontrol` names it: of an array, one element. */
  readonly id: string;
  /** How often it was queued again. */
  readonly restartCount: number;
}

/** Null: there is none, or it is a shell, which nobody starts again. */
export function slurmJob(env: Readonly<Record<string, string | undefined>> = process.env): SlurmJob | null {
  const { SLURM_JOB_ID: job, SLURM_ARRAY_JOB_ID: array, SLURM_ARRAY_TASK_ID: element, SLURM_JOB_NAME: name } = env;
  if (name === "interactive" || name === "bash") return null;
  const id = array !== undefined && element !== undefined ? `${array}_${element}` : job;
  if (id === undefined || !/^\d+(_\d+)?$/.test(id)) return null;
  const restarts = Number(env["SLURM_RESTART_COUNT"] ?? 0);
  return { id, restartCount: Number.isSafeInteger(restarts) ? restarts : 0 };
}
