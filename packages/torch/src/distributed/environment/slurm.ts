/** The variables that Slurm sets in every task of `srun`. */
import type { ClusterEnvironment } from "./cluster-environment.js";
import { expandCounts, expandHostList } from "./host-list.js";
import {
  checkPlace,
  firstWholeOf,
  MOST_PORT,
  requiredWhole,
  textOf,
  wholeOf,
  wrongVariables,
  type Variables,
} from "./variables.js";

/**
 * A task of a step of several. Null for a batch script, a shell within an allocation and a step of one task: the job
 * may have room for more, but nobody has started them.
 */
export function slurmEnvironment(env: Variables): ClusterEnvironment | null {
  if (textOf(env, "SLURM_STEP_ID") === null && textOf(env, "SLURM_STEPID") === null) return null;
  // A shell by `salloc` keeps the job's SLURM_NTASKS; the number of the step is that of what runs.
  const count = textOf(env, "SLURM_STEP_NUM_TASKS") === null ? "SLURM_NTASKS" : "SLURM_STEP_NUM_TASKS";
  const worldSize = wholeOf(env, count, 1) ?? 1;
  if (worldSize === 1) return null;
  const rank = requiredWhole(env, "SLURM_PROCID", [count]);
  checkPlace(env, ["SLURM_PROCID", count], rank, worldSize);
  const localRank = requiredWhole(env, "SLURM_LOCALID", ["SLURM_PROCID"]);
  const numNodes = firstWholeOf(env, ["SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"], 1) ?? 1;
  const nodeRank = numNodes === 1 ? 0 : requiredWhole(env, "SLURM_NODEID", ["SLURM_PROCID"]);
  const localWorldSize = tasksOf(env, nodeRank, numNodes, worldSize);
  if (localRank >= localWorldSize || localWorldSize > worldSize || nodeRank >= numNodes)
    throw wrongVariables(
      env,
      "the task to be one of its machine and of its step",
      ["SLURM_PROCID", count, "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"],
      "Slurm sets them; a script must not change them.",
    );
  return {
    launcher: "slurm",
    rank,
    worldSize,
    localRank,
    localWorldSize,
    nodeRank,
    numNodes,
    masterAddr: textOf(env, "MASTER_ADDR") ?? (numNodes === 1 ? "127.0.0.1" : firstHost(env)),
    masterPort: wholeOf(env, "MASTER_PORT", 1, MOST_PORT) ?? portOf(env),
    storeFd: null,
    hostsStore: rank === 0,
    restartCount: wholeOf(env, "SLURM_RESTART_COUNT") ?? 0,
    runId: textOf(env, "SLURM_JOB_ID") ?? textOf(env, "SLURM_JOBID"),
  };
}

/** How many tasks run on a machine. */
function tasksOf(env: Variables, nodeRank: number, numNodes: number, worldSize: number): number {
  for (const name of ["SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"]) {
    const text = textOf(env, name);
    if (text === null) continue;
    const count = expandCounts(text)?.[nodeRank];
    if (count !== undefined && count > 0) return count;
    throw wrongVariables(env, `${name} to count the tasks of every machine`, [name, "SLURM_NODEID"], "Slurm sets it.");
  }
  return numNodes === 1 ? worldSize : requiredWhole(env, "SLURM_NTASKS_PER_NODE", ["SLURM_PROCID"], 1);
}

/** The machine of rank 0: the first of the step. */
function firstHost(env: Variables): string {
  const names = ["SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"];
  const name = names.find((candidate) => textOf(env, candidate) !== null);
  const first = name === undefined ? undefined : expandHostList(textOf(env, name) ?? "")?.[0];
  if (first !== undefined) return first;
  throw wrongVariables(
    env,
    "SLURM_STEP_NODELIST to list the machines, such as node[1-3,7]",
    name === undefined ? names : [name],
    "Set MASTER_ADDR to the machine of rank 0.",
  );
}

/**
 * The same port in all tasks without asking anybody: from 15000 on by the last four digits of the job, as Lightning
 * has it; steps that run side by side in one job get others.
 */
function portOf(env: Variables): number {
  const job = /(\d{1,4})$/.exec(textOf(env, "SLURM_JOB_ID") ?? textOf(env, "SLURM_JOBID") ?? "")?.[1];
  if (job === undefined)
    throw wrongVariables(env, "SLURM_JOB_ID, from which the port is made", ["SLURM_JOB_ID"], "Set MASTER_PORT.");
  const step = Number(/^\d{1,5}$/.exec(textOf(env, "SLURM_STEP_ID") ?? "")?.[0] ?? 0);
  return 15000 + ((Number(job) + 101 * step) % 10000);
}
