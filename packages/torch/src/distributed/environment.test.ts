import assert from "node:assert/strict";
import { test } from "node:test";
import { clusterEnvironment, type ClusterEnvironment } from "./environment.js";
import { expandCounts, expandHostList } from "./environment/host-list.js";
import type { Variables } from "./environment/variables.js";

const TORCHRUN: Variables = {
  RANK: "5",
  WORLD_SIZE: "8",
  LOCAL_RANK: "1",
  LOCAL_WORLD_SIZE: "4",
  GROUP_RANK: "1",
  GROUP_WORLD_SIZE: "2",
  MASTER_ADDR: "head",
  MASTER_PORT: "29400",
  TORCHELASTIC_RUN_ID: "none",
  TORCHELASTIC_RESTART_COUNT: "3",
  TORCHELASTIC_USE_AGENT_STORE: "True",
};
const NBIT: Variables = {
  NBIT_LAUNCHER: "1",
  NBIT_STORE_FD: "3",
  NBIT_RUN_ID: "7b0e",
  RANK: "0",
  WORLD_SIZE: "2",
  LOCAL_RANK: "0",
  LOCAL_WORLD_SIZE: "2",
  GROUP_RANK: "0",
  MASTER_ADDR: "127.0.0.1",
  MASTER_PORT: "40000",
  TORCHELASTIC_RESTART_COUNT: "0",
};
/** As Slurm 22.05 sets them. */
const SLURM: Variables = {
  SLURM_JOB_ID: "123456",
  SLURM_JOB_NODELIST: "gpu[03-06]",
  SLURM_JOB_NUM_NODES: "4",
  SLURM_NTASKS: "3",
  SLURM_STEP_ID: "0",
  SLURM_STEP_NUM_TASKS: "3",
  SLURM_STEP_NUM_NODES: "2",
  SLURM_STEP_NODELIST: "gpu[04-05]",
  SLURM_STEP_TASKS_PER_NODE: "2,1",
  SLURM_TASKS_PER_NODE: "2,1",
  SLURM_PROCID: "2",
  SLURM_LOCALID: "0",
  SLURM_NODEID: "1",
};
/** What Slurm says in a batch script and in a shell: room for tasks, of which nobody has started any. */
const {
  SLURM_STEP_ID,
  SLURM_STEP_NUM_TASKS,
  SLURM_STEP_NUM_NODES,
  SLURM_STEP_NODELIST,
  SLURM_STEP_TASKS_PER_NODE,
  ...IN_JOB
} = SLURM;
const BATCH: Variables = { ...IN_JOB, SLURM_PROCID: "0", SLURM_LOCALID: "0", SLURM_NODEID: "0" };
const OPEN_MPI: Variables = {
  OMPI_COMM_WORLD_RANK: "1",
  OMPI_COMM_WORLD_SIZE: "2",
  OMPI_COMM_WORLD_LOCAL_RANK: "1",
  OMPI_COMM_WORLD_LOCAL_SIZE: "2",
  OMPI_COMM_WORLD_NODE_RANK: "1",
  PMIX_NAMESPACE: "1920663553",
};
const HYDRA: Variables = { PMI_RANK: "0", PMI_SIZE: "2", MPI_LOCALRANKID: "0", MPI_LOCALNRANKS: "2" };
const POD: Variables = { RANK: "1", WORLD_SIZE: "3", MASTER_ADDR: "job-master-0", MASTER_PORT: "23456" };

const place = (environment: ClusterEnvironment | null): string | null =>
  environment === null
    ? null
    : [
        environment.launcher,
        `${environment.rank}/${environment.worldSize}`,
        `${environment.localRank}/${environment.localWorldSize}`,
        `${environment.nodeRank}/${environment.numNodes}`,
        `${environment.masterAddr}:${environment.masterPort}`,
        `fd ${environment.storeFd}`,
        environment.hostsStore ? "hosts" : "connects",
        `restart ${environment.restartCount}`,
        `run ${environment.runId}`,
      ].join("  ");

const CASES: readonly (readonly [name: string, Variables, expected: string | null])[] = [
  ["nothing", {}, null],
  ["empty variables", { RANK: "", WORLD_SIZE: " " }, null],
  ["torchrun", TORCHRUN, "torchrun  5/8  1/4  1/2  head:29400  fd null  connects  restart 3  run none"],
  [
    "torchrun, rank 0, where the agent has the store",
    { ...TORCHRUN, RANK: "0", LOCAL_RANK: "0", GROUP_RANK: "0" },
    "torchrun  0/8  0/4  0/2  head:29400  fd null  connects  restart 3  run none",
  ],
  [
    "torchrun, rank 0, where it has not",
    { ...TORCHRUN, RANK: "0", LOCAL_RANK: "0", GROUP_RANK: "0", TORCHELASTIC_USE_AGENT_STORE: "False" },
    "torchrun  0/8  0/4  0/2  head:29400  fd null  hosts  restart 3  run none",
  ],
  [
    "torchrun with one process",
    {
      ...TORCHRUN,
      RANK: "0",
      WORLD_SIZE: "1",
      LOCAL_RANK: "0",
      LOCAL_WORLD_SIZE: "1",
      GROUP_RANK: "0",
      GROUP_WORLD_SIZE: "1",
    },
    "torchrun  0/1  0/1  0/1  head:29400  fd null  connects  restart 3  run none",
  ],
  ["our own, rank 0", NBIT, "nbit  0/2  0/2  0/1  127.0.0.1:40000  fd 3  hosts  restart 0  run 7b0e"],
  [
    "our own within a task of Slurm and a process of torchrun",
    { ...SLURM, ...TORCHRUN, GROUP_WORLD_SIZE: undefined, ...NBIT },
    "nbit  0/2  0/2  0/1  127.0.0.1:40000  fd 3  hosts  restart 0  run 7b0e",
  ],
  [
    "our own, rank 1, with rank 0's descriptor in the environment",
    { ...NBIT, RANK: "1", LOCAL_RANK: "1" },
    "nbit  1/2  1/2  0/1  127.0.0.1:40000  fd null  connects  restart 0  run 7b0e",
  ],
  [
    "a pod of Kubernetes",
    POD,
    "environment  1/3  0/1  1/3  job-master-0:23456  fd null  connects  restart 0  run null",
  ],
  [
    "a pod of Kubernetes that says nothing of processes",
    { ...POD, PET_NPROC_PER_NODE: "auto", PET_NODE_RANK: "1", PET_NNODES: "3" },
    "environment  1/3  0/1  1/3  job-master-0:23456  fd null  connects  restart 0  run null",
  ],
  [
    "one alone, by hand",
    { RANK: "0", WORLD_SIZE: "1" },
    "environment  0/1  0/1  0/1  127.0.0.1:0  fd null  hosts  restart 0  run null",
  ],
  [
    "machines with different numbers of processes",
    { ...POD, RANK: "2", LOCAL_RANK: "0", LOCAL_WORLD_SIZE: "1", GROUP_RANK: "1", GROUP_WORLD_SIZE: "2" },
    "environment  2/3  0/1  1/2  job-master-0:23456  fd null  connects  restart 0  run null",
  ],
  ["a task of srun", SLURM, "slurm  2/3  0/1  1/2  gpu04:18456  fd null  connects  restart 0  run 123456"],
  [
    "a task of srun on one machine",
    { ...SLURM, SLURM_STEP_NUM_NODES: "1", SLURM_STEP_TASKS_PER_NODE: "3", SLURM_LOCALID: "2", SLURM_NODEID: "0" },
    "slurm  2/3  2/3  0/1  127.0.0.1:18456  fd null  connects  restart 0  run 123456",
  ],
  [
    "another step of the job, requeued, with its own master",
    { ...SLURM, SLURM_STEP_ID: "2", SLURM_RESTART_COUNT: "1", MASTER_ADDR: "gpu04-ib" },
    "slurm  2/3  0/1  1/2  gpu04-ib:18658  fd null  connects  restart 1  run 123456",
  ],
  [
    "a task of an old srun",
    {
      ...BATCH,
      SLURM_STEPID: "0",
      SLURM_NTASKS: "8",
      SLURM_TASKS_PER_NODE: "2(x4)",
      SLURM_PROCID: "5",
      SLURM_LOCALID: "1",
      SLURM_NODEID: "2",
    },
    "slurm  5/8  1/2  2/4  gpu03:18456  fd null  connects  restart 0  run 123456",
  ],
  ["a batch script", BATCH, null],
  ["a shell in an allocation", { ...BATCH, SLURM_STEP_ID: "4294967290", SLURM_STEP_NUM_TASKS: "1" }, null],
  ["srun of one task", { ...SLURM, SLURM_STEP_NUM_TASKS: "1", SLURM_NTASKS: "1", SLURM_PROCID: "0" }, null],
  ["Open MPI", OPEN_MPI, "openmpi  1/2  1/2  0/1  127.0.0.1:19374  fd null  connects  restart 0  run null"],
  ["Open MPI of one process", { ...OPEN_MPI, OMPI_COMM_WORLD_SIZE: "1", OMPI_COMM_WORLD_RANK: "0" }, null],
  [
    "Open MPI on two machines, started by daemons of srun",
    {
      ...SLURM,
      ...OPEN_MPI,
      OMPI_COMM_WORLD_RANK: "3",
      OMPI_COMM_WORLD_SIZE: "4",
      MASTER_ADDR: "a",
      MASTER_PORT: "29500",
    },
    "openmpi  3/4  1/2  1/2  a:29500  fd null  connects  restart 0  run null",
  ],
  ["MPICH", HYDRA, "mpich  0/2  0/2  0/1  127.0.0.1:29500  fd null  hosts  restart 0  run null"],
  [
    "MPICH within Slurm",
    { ...SLURM, ...HYDRA },
    "mpich  0/2  0/2  0/1  127.0.0.1:29500  fd null  hosts  restart 0  run null",
  ],
  [
    "a task of srun --mpi=pmi2",
    { ...SLURM, PMI_RANK: "2", PMI_SIZE: "3" },
    "slurm  2/3  0/1  1/2  gpu04:18456  fd null  connects  restart 0  run 123456",
  ],
];
for (const [name, env, expected] of CASES)
  test(`${name}: ${expected ?? "no group"}`, () => {
    assert.equal(place(clusterEnvironment(env)), expected);
  });

const WRONG: readonly (readonly [name: string, Variables, message: RegExp])[] = [
  [
    "RANK alone",
    { RANK: "0" },
    /expected WORLD_SIZE beside RANK\. Received: WORLD_SIZE is not set, RANK=0\. Set WORLD_SIZE, or unset RANK/,
  ],
  [
    "WORLD_SIZE alone",
    { WORLD_SIZE: "2" },
    /expected RANK beside WORLD_SIZE\. Received: RANK is not set, WORLD_SIZE=2\./,
  ],
  ["LOCAL_RANK alone", { LOCAL_RANK: "0" }, /expected RANK beside LOCAL_RANK\./],
  ["torchrun without RANK", { ...TORCHRUN, RANK: undefined }, /expected RANK beside WORLD_SIZE\./],
  [
    "no number",
    { ...POD, RANK: "one" },
    /expected RANK to be a whole number from 0 to 2147483647\. Received: RANK=one\./,
  ],
  ["a negative one", { ...POD, RANK: "-1" }, /expected RANK to be a whole number/],
  ["no process", { RANK: "0", WORLD_SIZE: "0" }, /expected WORLD_SIZE to be a whole number from 1 /],
  [
    "a rank too high",
    { ...POD, RANK: "3" },
    /expected RANK to be less than WORLD_SIZE\. Received: RANK=3, WORLD_SIZE=3\./,
  ],
  [
    "no LOCAL_WORLD_SIZE",
    { ...TORCHRUN, LOCAL_WORLD_SIZE: undefined },
    /expected LOCAL_WORLD_SIZE beside LOCAL_RANK\./,
  ],
  [
    "a local rank too high",
    { ...TORCHRUN, LOCAL_RANK: "4" },
    /expected LOCAL_RANK to be less than LOCAL_WORLD_SIZE\. Received: LOCAL_RANK=4, LOCAL_WORLD_SIZE=4\./,
  ],
  [
    "a local rank above the rank",
    { ...TORCHRUN, RANK: "0" },
    /expected the processes of this machine to be a part of all\. Received: RANK=0, WORLD_SIZE=8, LOCAL_RANK=1,/,
  ],
  [
    "more on a machine than there are",
    { ...TORCHRUN, WORLD_SIZE: "6" },
    /expected the processes of this machine to be a part of all/,
  ],
  [
    "a machine too many",
    { ...TORCHRUN, GROUP_RANK: "2" },
    /expected GROUP_RANK to be less than GROUP_WORLD_SIZE\. Received: GROUP_RANK=2, GROUP_WORLD_SIZE=2\./,
  ],
  ["more machines than processes", { ...TORCHRUN, GROUP_WORLD_SIZE: "9" }, /expected no more machines than processes/],
  [
    "no master",
    { ...POD, MASTER_ADDR: undefined },
    /expected MASTER_ADDR and MASTER_PORT, where the processes meet\. Received: MASTER_ADDR is not set, MASTER_PORT=23456\./,
  ],
  [
    "a port out of range",
    { ...POD, MASTER_PORT: "70000" },
    /expected MASTER_PORT to be a whole number from 1 to 65535\. Received: MASTER_PORT=70000\./,
  ],
  [
    "pods of several processes",
    { ...POD, PET_NPROC_PER_NODE: "2" },
    /expected a launcher in this pod, .*Received: RANK=1, WORLD_SIZE=3, PET_NPROC_PER_NODE=2, LOCAL_RANK is not set\. Start the script by `nbit run/,
  ],
  [
    "srun without its rank",
    { ...SLURM, SLURM_PROCID: undefined },
    /expected SLURM_PROCID beside SLURM_STEP_NUM_TASKS\./,
  ],
  [
    "srun with a rank too high",
    { ...SLURM, SLURM_PROCID: "3" },
    /expected SLURM_PROCID to be less than SLURM_STEP_NUM_TASKS\./,
  ],
  [
    "srun with a task that its machine has not",
    { ...SLURM, SLURM_LOCALID: "1" },
    /expected the task to be one of its machine and of its step\./,
  ],
  [
    "srun with counts of too few machines",
    { ...SLURM, SLURM_STEP_TASKS_PER_NODE: "3" },
    /expected SLURM_STEP_TASKS_PER_NODE to count the tasks of every machine\. Received: SLURM_STEP_TASKS_PER_NODE=3, SLURM_NODEID=1\./,
  ],
  [
    "srun with a strange list",
    { ...SLURM, SLURM_STEP_NODELIST: "gpu[a-b]" },
    /expected SLURM_STEP_NODELIST to list the machines.*Received: SLURM_STEP_NODELIST=gpu\[a-b\]\. Set MASTER_ADDR/,
  ],
  [
    "srun without its job",
    { ...SLURM, SLURM_JOB_ID: undefined },
    /expected SLURM_JOB_ID, from which the port is made\. .*Set MASTER_PORT\./,
  ],
  ["half of Open MPI's", { OMPI_COMM_WORLD_SIZE: "2" }, /expected OMPI_COMM_WORLD_RANK beside OMPI_COMM_WORLD_SIZE\./],
  ["half of MPICH's", { PMI_RANK: "0", PMI_SIZE: "2" }, /expected MPI_LOCALRANKID beside PMI_RANK\./],
  [
    "MPI on two machines that cannot meet",
    { ...OPEN_MPI, OMPI_COMM_WORLD_SIZE: "4" },
    /expected MASTER_ADDR and MASTER_PORT.*mpirun -x MASTER_ADDR=HOST/,
  ],
];
for (const [name, env, message] of WRONG)
  test(`${name} is refused by the names of the variables`, () => {
    assert.throws(() => clusterEnvironment(env), { name: "ArgumentError", code: "ERR_CLUSTER_ENVIRONMENT", message });
  });

test("lists of machines as Slurm shortens them", () => {
  for (const [text, names] of [
    ["node1", ["node1"]],
    ["node[1-3,7]", ["node1", "node2", "node3", "node7"]],
    ["a[08-11]-ib,b,c[2]", ["a08-ib", "a09-ib", "a10-ib", "a11-ib", "b", "c2"]],
    ["r[1-2]n[3-4]", ["r1n3", "r1n4", "r2n3", "r2n4"]],
  ] as const)
    assert.deepEqual(expandHostList(text), names, text);
  for (const text of [
    "",
    "a[1-2",
    "a]1[",
    "a[2-1]",
    "a[]",
    "a[x]",
    "a,,b",
    "a b",
    "a[1-999999999]",
    "a[1-300]b[1-300]",
  ])
    assert.equal(expandHostList(text), null, text);
  assert.deepEqual(expandCounts("2(x3),1"), [2, 2, 2, 1]);
  for (const text of ["", "2x3", "2(x99999)", "a"]) assert.equal(expandCounts(text), null, text);
});

test("what is no set of variables is refused", () => {
  const call = (...args: readonly unknown[]): unknown => Reflect.apply(clusterEnvironment, undefined, args);
  assert.throws(() => call("RANK=0"), { code: "ERR_ARGUMENT", message: /expected env to be variables by name/ });
  assert.throws(() => call({}, 1), { code: "ERR_ARGUMENT", message: /at most 1 argument/ });
});
