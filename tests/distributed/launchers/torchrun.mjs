/**
 * PyTorch's torchrun starts ranks: `node tests/distributed/launchers/torchrun.mjs`. TORCHRUN names the program; else it
 * is looked for in PATH.
 */
import { call, checkTraining, checkTwo, place, train } from "./check.mjs";

const torchrun = process.env.TORCHRUN ?? "torchrun";
const ranks = ["--nproc-per-node=2", "--no-python", process.execPath, place, "group"];
for (const [what, flags, env] of [
  ["torchrun", [], {}],
  ["torchrun --standalone", ["--standalone"], {}],
  ["torchrun that keeps its store to itself", ["--standalone"], { TORCH_DISABLE_SHARE_RDZV_TCP_STORE: "1" }],
]) {
  const rank0Hosts = Object.keys(env).length > 0;
  checkTwo(
    `${what}: two ranks add up their ranks in the store of ${rank0Hosts ? "rank 0" : "the agent"}`,
    await call([torchrun, ...flags, ...ranks], env),
    [
      { localRank: 0, hostsStore: rank0Hosts },
      { localRank: 1, hostsStore: false },
    ],
    { launcher: "torchrun", localWorldSize: 2, nodeRank: 0, numNodes: 1, masterAddr: "localhost" },
    3,
  );
}

await checkTraining(
  "torchrun: two ranks train",
  await call([torchrun, "--nproc-per-node=2", "--no-python", process.execPath, train]),
);
