/** The variables of PyTorch's launchers, which ours sets too, and Kubernetes' operator for PyTorch in each pod. */
import type { ClusterEnvironment } from "./cluster-environment.js";
import {
  checkPlace,
  requiredWhole,
  requireMaster,
  textOf,
  wholeOf,
  wrongVariables,
  type Variables,
} from "./variables.js";

/** Any of them says that somebody meant several processes. */
const ANY = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "NBIT_LAUNCHER"] as const;

/** RANK and WORLD_SIZE, and what stands with them; null where none of them is set. */
export function torchEnvironment(env: Variables): ClusterEnvironment | null {
  const first = ANY.find((name) => textOf(env, name) !== null);
  if (first === undefined) return null;
  const rank = requiredWhole(env, "RANK", [first === "RANK" ? "WORLD_SIZE" : first]);
  const worldSize = requiredWhole(env, "WORLD_SIZE", ["RANK"], 1);
  checkPlace(env, ["RANK", "WORLD_SIZE"], rank, worldSize);
  checkPods(env);
  const local = localPlace(env, rank, worldSize);
  const launcher =
    textOf(env, "NBIT_LAUNCHER") !== null
      ? "nbit"
      : textOf(env, "TORCHELASTIC_RUN_ID") !== null
        ? "torchrun"
        : "environment";
  // Alone, nobody needs to find anybody: any free port will do.
  const alone = worldSize === 1 && textOf(env, "MASTER_PORT") === null;
  const master = alone
    ? { masterAddr: textOf(env, "MASTER_ADDR") ?? "127.0.0.1", masterPort: 0 }
    : requireMaster(env, "Set both to a name and a free port of the machine of rank 0, the same in every process.");
  const agentHosts = launcher !== "nbit" && textOf(env, "TORCHELASTIC_USE_AGENT_STORE")?.toLowerCase() === "true";
  return {
    launcher,
    rank,
    worldSize,
    ...local,
    ...master,
    storeFd: launcher === "nbit" && rank === 0 ? wholeOf(env, "NBIT_STORE_FD", 3) : null,
    hostsStore: rank === 0 && !agentHosts,
    restartCount: wholeOf(env, "TORCHELASTIC_RESTART_COUNT") ?? 0,
    runId: textOf(env, launcher === "nbit" ? "NBIT_RUN_ID" : "TORCHELASTIC_RUN_ID"),
  };
}

type LocalPlace = Pick<ClusterEnvironment, "localRank" | "localWorldSize" | "nodeRank" | "numNodes">;

/** Which place on which machine; without LOCAL_RANK every process has a machine to itself, as pods have. */
function localPlace(env: Variables, rank: number, worldSize: number): LocalPlace {
  if (textOf(env, "LOCAL_RANK") === null && textOf(env, "LOCAL_WORLD_SIZE") === null)
    return { localRank: 0, localWorldSize: 1, nodeRank: rank, numNodes: worldSize };
  const localRank = requiredWhole(env, "LOCAL_RANK", ["LOCAL_WORLD_SIZE"]);
  const localWorldSize = requiredWhole(env, "LOCAL_WORLD_SIZE", ["LOCAL_RANK"], 1);
  checkPlace(env, ["LOCAL_RANK", "LOCAL_WORLD_SIZE"], localRank, localWorldSize);
  if (localWorldSize > worldSize || localRank > rank || worldSize - rank < localWorldSize - localRank)
    throw wrongVariables(
      env,
      "the processes of this machine to be a part of all",
      ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"],
      "Ranks of a machine follow each other: RANK − LOCAL_RANK is its first.",
    );
  const nodeRank = wholeOf(env, "GROUP_RANK") ?? Math.floor((rank - localRank) / localWorldSize);
  const numNodes = wholeOf(env, "GROUP_WORLD_SIZE", 1) ?? Math.max(nodeRank + 1, Math.ceil(worldSize / localWorldSize));
  checkPlace(env, ["GROUP_RANK", "GROUP_WORLD_SIZE"], nodeRank, numNodes);
  if (numNodes > worldSize)
    throw wrongVariables(
      env,
      "no more machines than processes",
      ["GROUP_RANK", "GROUP_WORLD_SIZE", "WORLD_SIZE"],
      "GROUP_RANK counts machines from 0.",
    );
  return { localRank, localWorldSize, nodeRank, numNodes };
}

/**
 * With several processes in a pod, the operator's RANK counts pods and its WORLD_SIZE processes: a launcher must start
 * them there. `auto`, which it sets by default, says nothing, and its WORLD_SIZE counts pods.
 */
function checkPods(env: Variables): void {
  const perPod = textOf(env, "PET_NPROC_PER_NODE");
  if (perPod === null || !(Number(perPod) > 1) || textOf(env, "LOCAL_RANK") !== null) return;
  throw wrongVariables(
    env,
    "a launcher in this pod, which starts its processes",
    ["RANK", "WORLD_SIZE", "PET_NPROC_PER_NODE", "LOCAL_RANK"],
    "Start the script by `nbit run script.js`, which reads the variables PET_…, or leave nprocPerNode out.",
  );
}
