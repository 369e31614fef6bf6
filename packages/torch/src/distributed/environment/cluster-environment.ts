/** This process among those that train together. */
export interface ClusterEnvironment {
  /** Who started it. `"environment"`: RANK and WORLD_SIZE alone, as Kubernetes or a person set them. */
  readonly launcher: "nbit" | "torchrun" | "environment" | "openmpi" | "mpich" | "slurm";
  /** Its place among all, from 0. */
  readonly rank: number;
  readonly worldSize: number;
  /** Its place among those of its machine: which GPU is its own. */
  readonly localRank: number;
  readonly localWorldSize: number;
  /** The machine's place among all. */
  readonly nodeRank: number;
  readonly numNodes: number;
  /** Where the store is by which the processes find each other. */
  readonly masterAddr: string;
  /** 0: nobody else comes, any free port will do. */
  readonly masterPort: number;
  /** A socket that listens there already, given by the launcher to rank 0; else null. */
  readonly storeFd: number | null;
  /** Whether this process opens the store, and the others connect to it. Not where the launcher itself has opened it. */
  readonly hostsStore: boolean;
  /** How often all processes were started again. */
  readonly restartCount: number;
  /** The launch, the same after every restart; null: nobody says. torchrun's is what its user calls it, "none" by default. */
  readonly runId: string | null;
}
