/** Who started this process beside which others: read from its environment variables. Loads no libtorch. */
import { atMost, checkArguments, kinds } from "../options.js";
import type { ClusterEnvironment } from "./environment/cluster-environment.js";
import { mpiEnvironment } from "./environment/mpi.js";
import { slurmEnvironment } from "./environment/slurm.js";
import { torchEnvironment } from "./environment/torch.js";
import type { Variables } from "./environment/variables.js";

export type { ClusterEnvironment };

/**
 * The place of this process among those that its launcher has started.
 *
 * The first of these that is there counts: RANK and WORLD_SIZE (`nbit run`, `new Trainer({ devices: 2 })`, torchrun,
 * Kubernetes' PyTorchJob, or set by hand), Open MPI's, MPICH's and Intel MPI's variables, those of a task of Slurm's
 * `srun`. A batch script or a shell within an allocation, and a step or `mpirun` of one process, are no group.
 *
 * @param env - Variables to read. Default `process.env`.
 * @returns null: nobody started it with others.
 * @throws {ArgumentError} `ERR_CLUSTER_ENVIRONMENT`: variables that are half set or contradict each other.
 * `clusterEnvironment: expected RANK to be less than WORLD_SIZE. Received: RANK=2, WORLD_SIZE=2. …`
 * @example
 * clusterEnvironment({ RANK: "1", WORLD_SIZE: "2", MASTER_ADDR: "node1", MASTER_PORT: "29500" })?.rank; // 1
 */
export function clusterEnvironment(env: Variables = process.env): ClusterEnvironment | null {
  atMost("clusterEnvironment", arguments, 1);
  checkArguments(
    "clusterEnvironment",
    { env },
    {
      env: kinds.such<Variables>("variables by name, such as process.env", (v) => typeof v === "object" && v !== null),
    },
  );
  return torchEnvironment(env) ?? mpiEnvironment(env) ?? slurmEnvironment(env);
}
