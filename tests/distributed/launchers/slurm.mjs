/**
 * Slurm starts ranks: `node tests/distributed/launchers/slurm.mjs`, on Debian or Ubuntu, as root. Installs slurmctld,
 * slurmd and munge where they are not there, and runs a cluster of two nodes, which are two daemons of this machine,
 * with files of their own in a temporary folder.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { call, checkTraining, checkTwo, install, place, ranksOf, train } from "./check.mjs";

install(["slurmctld", "slurmd", "srun", "munged"], ["slurmctld", "slurmd", "slurm-client", "munge"]);
const folder = mkdtempSync(join(tmpdir(), "nbit-slurm-"));
const file = (name) => join(folder, name);
const host = hostname().split(".")[0];
const daemons = [];
const path = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

function daemon(name, args) {
  const child = spawn(name, args, { env: { ...process.env, ...path, ...slurm }, stdio: ["ignore", "ignore", "pipe"] });
  const said = [];
  child.stderr.on("data", (chunk) => said.push(chunk));
  child.on("error", (error) => said.push(Buffer.from(error.message)));
  daemons.push({ name, child, said });
}

/** Waits until a question is answered as it must be. */
async function until(what, ask) {
  for (let tries = 0; ; tries++) {
    if (await ask().catch(() => false)) return;
    if (tries === 150) throw new Error(`${what} takes too long:\n${logs()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
const logs = () => daemons.map(({ name, said }) => `${name}: ${Buffer.concat(said)}`).join("\n");

mkdirSync(file("munge"), { mode: 0o700 });
writeFileSync(file("munge/key"), randomBytes(1024), { mode: 0o400 });
const slurm = { SLURM_CONF: file("slurm.conf") };
const nodes = ["node1", "node2"];
const port = 20000 + (process.pid % 10000);
writeFileSync(
  file("slurm.conf"),
  `ClusterName=nbit
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${port}
AuthType=auth/munge
AuthInfo=socket=${file("munge/socket")}
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=${file("state")}
SlurmdSpoolDir=${file("spool-%n")}
SlurmctldPidFile=${file("slurmctld.pid")}
SlurmdPidFile=${file("slurmd-%n.pid")}
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
SlurmdParameters=config_overrides
${nodes.map((name, i) => `NodeName=${name} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${port + 1 + i} CPUs=2`).join("\n")}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`,
);
mkdirSync(file("state"));

async function main() {
  daemon("munged", [
    "--foreground",
    "--force",
    ...["key-file", "socket", "pid-file", "seed-file"].map(
      (name) => `--${name}=${file(`munge/${name.split("-")[0]}`)}`,
    ),
    `--log-file=${file("munge/log")}`,
  ]);
  await until("munge", async () => existsSync(file("munge/socket")));
  daemon("slurmctld", ["-D"]);
  for (const name of nodes) daemon("slurmd", ["-D", "-N", name]);
  await until("the cluster", async () => (await call(["sinfo", "-h", "-o", "%T %D"], slurm)).trim() === "idle 2");

  const node = [process.execPath, place];
  const apart = [
    { localRank: 0, nodeRank: 0, hostsStore: true },
    { localRank: 0, nodeRank: 1, hostsStore: false },
  ];
  const two = { launcher: "slurm", localWorldSize: 1, numNodes: 2 };
  checkTwo(
    "two tasks on two nodes: the first of the list has the store",
    await call(["srun", "-N", "2", "-n", "2", ...node], slurm),
    apart,
    { ...two, masterAddr: "node1" },
    null,
  );
  checkTwo(
    "two tasks on two nodes add up their ranks",
    await call(["srun", "-N", "2", "-n", "2", ...node, "group"], { ...slurm, MASTER_ADDR: "127.0.0.1" }),
    apart,
    { ...two, masterAddr: "127.0.0.1" },
    3,
  );
  checkTwo(
    "two tasks on one node add up their ranks",
    await call(["srun", "-N", "1", "-n", "2", ...node, "group"], slurm),
    [
      { localRank: 0, hostsStore: true },
      { localRank: 1, hostsStore: false },
    ],
    { launcher: "slurm", localWorldSize: 2, nodeRank: 0, numNodes: 1, masterAddr: "127.0.0.1" },
    3,
  );
  const one = ranksOf(await call(["srun", "-n", "1", ...node], slurm));
  assert.deepEqual(one, [{ place: null, sum: null }]);
  console.log("ok  a step of one task is no group");

  await checkTraining(
    "two tasks on two nodes train",
    await call(["srun", "-N", "2", "-n", "2", process.execPath, train], { ...slurm, MASTER_ADDR: "127.0.0.1" }),
  );

  // As docs/launching.md has it: srun in a script for sbatch.
  const script = file("job.sh");
  writeFileSync(
    script,
    `#!/bin/sh\n#SBATCH --nodes=2 --ntasks-per-node=1\n'${process.execPath}' '${place}'\nMASTER_ADDR=127.0.0.1 srun '${process.execPath}' '${place}' group\n`,
  );
  await call(["sbatch", "--wait", "-o", file("job.out"), script], slurm);
  const [batch, ...tasks] = readFileSync(file("job.out"), "utf8").trim().split("\n");
  assert.deepEqual(JSON.parse(batch), { place: null, sum: null });
  console.log("ok  a batch script by itself is no group");
  checkTwo("its srun adds up the ranks", tasks.join("\n"), apart, { ...two, masterAddr: "127.0.0.1" }, 3);
}

try {
  await main();
} catch (error) {
  console.error(logs());
  throw error;
} finally {
  for (const { child } of daemons.reverse()) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.kill()) await ended;
  }
  rmSync(folder, { recursive: true, force: true });
}
