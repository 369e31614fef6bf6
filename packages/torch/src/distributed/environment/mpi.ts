/** The variables of `mpirun`: Open MPI's, and those of MPICH and Intel MPI. No MPI library is used. */
import type { ClusterEnvironment } from "./cluster-environment.js";
import { checkPlace, MOST_PORT, requiredWhole, requireMaster, textOf, wholeOf, type Variables } from "./variables.js";

/** How an implementation names what all of them say. */
interface Names {
  readonly launcher: "openmpi" | "mpich";
  readonly rank: string;
  readonly size: string;
  readonly localRank: string;
  readonly localSize: string;
  /** How it hands a variable to all processes. */
  readonly fix: string;
}
const IMPLEMENTATIONS: readonly Names[] = [
  {
    launcher: "openmpi",
    rank: "OMPI_COMM_WORLD_RANK",
    size: "OMPI_COMM_WORLD_SIZE",
    localRank: "OMPI_COMM_WORLD_LOCAL_RANK",
    localSize: "OMPI_COMM_WORLD_LOCAL_SIZE",
    fix: "mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500 …",
  },
  {
    launcher: "mpich",
    rank: "PMI_RANK",
    size: "PMI_SIZE",
    localRank: "MPI_LOCALRANKID",
    localSize: "MPI_LOCALNRANKS",
    fix: "mpirun -genv MASTER_ADDR HOST -genv MASTER_PORT 29500 …",
  },
];

/** A process of `mpirun` with several; null without, and for a single one. */
export function mpiEnvironment(env: Variables): ClusterEnvironment | null {
  // Slurm sets PMI_RANK for its own tasks as well, and says where they are by variables of its own.
  const names = IMPLEMENTATIONS.find(
    ({ launcher, rank, size, localRank }) =>
      (textOf(env, rank) !== null || textOf(env, size) !== null) &&
      (launcher === "openmpi" || textOf(env, localRank) !== null || textOf(env, "SLURM_PROCID") === null),
  );
  if (names === undefined) return null;
  const worldSize = requiredWhole(env, names.size, [names.rank], 1);
  if (worldSize === 1) return null;
  const rank = requiredWhole(env, names.rank, [names.size]);
  checkPlace(env, [names.rank, names.size], rank, worldSize);
  const localRank = requiredWhole(env, names.localRank, [names.rank]);
  const localWorldSize = requiredWhole(env, names.localSize, [names.localRank], 1);
  checkPlace(env, [names.localRank, names.localSize], localRank, localWorldSize);
  checkPlace(env, [names.localSize, names.size], localWorldSize - 1, worldSize);
  const together = localWorldSize === worldSize;
  return {
    launcher: names.launcher,
    rank,
    worldSize,
    localRank,
    localWorldSize,
    // Where ranks fill one machine after the other, as they do unless told otherwise.
    nodeRank: together ? 0 : Math.floor((rank - localRank) / localWorldSize),
    numNodes: Math.ceil(worldSize / localWorldSize),
    ...(together
      ? {
          masterAddr: textOf(env, "MASTER_ADDR") ?? "127.0.0.1",
          masterPort: wholeOf(env, "MASTER_PORT", 1, MOST_PORT) ?? portOf(env),
        }
      : requireMaster(env, `Give them to all processes: ${names.fix}`)),
    storeFd: null,
    hostsStore: rank === 0,
    restartCount: 0,
    runId: null,
  };
}

/** On one machine: by the name of the run where it has one, so that two runs do not meet; else PyTorch's customary one. */
function portOf(env: Variables): number {
  const run = textOf(env, "PMIX_NAMESPACE") ?? textOf(env, "OMPI_MCA_ess_base_jobid");
  if (run === null) return 29500;
  let hash = 0;
  for (const letter of run) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return 15000 + (hash % 10000);
}
