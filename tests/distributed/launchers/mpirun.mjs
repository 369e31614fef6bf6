/**
 * Open MPI's and MPICH's `mpirun` start ranks: `node tests/distributed/launchers/mpirun.mjs`, on Debian or Ubuntu. Both
 * are installed where they are not there, which needs root. No MPI library is used, only their variables.
 */
import { call, checkTraining, checkTwo, install, place, train } from "./check.mjs";

install(["mpirun.openmpi", "mpirun.mpich"], ["openmpi-bin", "mpich"]);
const ranks = ["-np", "2", process.execPath, place, "group"];
const each = [
  { localRank: 0, hostsStore: true },
  { localRank: 1, hostsStore: false },
];
const all = { localWorldSize: 2, nodeRank: 0, numNodes: 1, masterAddr: "127.0.0.1" };
checkTwo(
  "Open MPI: two ranks add up their ranks",
  await call(["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", ...ranks]),
  each,
  { ...all, launcher: "openmpi" },
  3,
);
checkTwo(
  "MPICH: two ranks add up their ranks",
  await call(["mpirun.mpich", ...ranks]),
  each,
  { ...all, launcher: "mpich" },
  3,
);
await checkTraining(
  "Open MPI: two ranks train",
  await call(["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "-np", "2", process.execPath, train]),
);
await checkTraining("MPICH: two ranks train", await call(["mpirun.mpich", "-np", "2", process.execPath, train]));
