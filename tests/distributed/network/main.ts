/**
 * Networks that fail: a relay of ours between a rank and the store, and machines that are network namespaces, whose
 * cables are pulled. As root, with Debian's iproute2; without them the second half is skipped, and says so.
 *
 *     node tests/dist/distributed/network/main.js
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { spawnSync } from "node:child_process";
import { caught, said } from "../../helpers/rank-errors.js";
import { freePort, runRanks, type RankResult, type RunOptions } from "../../helpers/ranks.js";
import { Machines } from "./machines.js";
import { Relay } from "./relay.js";

const PROGRAM = fileURLToPath(new URL("../failures/program.js", import.meta.url));
const LIMITS = { timeout: 30_000, heartbeatTimeout: 3000, connectTimeout: 60_000 };

function run(name: string, ranks: number, options: RunOptions, limits: object = {}): Promise<RankResult[]> {
  return runRanks(PROGRAM, ranks, { ...options, args: [name, JSON.stringify({ ...LIMITS, ...limits })] });
}
/** Calls `then` when all ranks have said that they run. */
function whenRunning(ranks: number, then: () => void): (rank: number, text: string) => void {
  const running = new Set<number>();
  return (rank, text) => {
    if (!text.includes("running") || running.has(rank)) return;
    running.add(rank);
    if (running.size === ranks) setTimeout(then, 300);
  };
}
const ended = (results: readonly RankResult[]): void => {
  results.forEach((r) => assert.deepEqual([r.code, r.signal, r.stderr], [0, null, ""], `${r.stdout}\n${r.stderr}`));
};

/** Rank 1 reaches the store over the relay; everything else is direct. */
async function relayed(
  name: string,
  attack: (relay: Relay) => void,
  { early = false, limits = {} }: { early?: boolean; limits?: object } = {},
): Promise<RankResult[]> {
  const port = await freePort();
  const relay = await Relay.to(port);
  try {
    if (early) attack(relay);
    return await run(
      name,
      2,
      {
        port,
        env: (rank) => ({ MASTER_PORT: `${rank === 1 ? relay.port : port}` }),
        onOutput: whenRunning(2, () => {
          if (!early) attack(relay);
        }),
      },
      limits,
    );
  } finally {
    relay.close();
  }
}

const lost = (results: readonly RankResult[], ...texts: string[]): void => {
  results.forEach((result, rank) =>
    caught(result, /^ERR_DIST_PEER_(LOST|FAILED)$/, `rank ${rank} at step \\d+`, ...texts),
  );
};
const STORE = "the store, in the process of rank 0";

const relayCases: Readonly<Record<string, () => Promise<void>>> = {
  "a slow way to the store delays, and nothing else": async () => {
    ended(await relayed("a sum", (relay) => relay.delay(60), { early: true }));
  },
  "the way to the store stalls": async () => {
    lost(
      await relayed("collectives without end", (relay) => relay.stall("up", "down")),
      `${STORE}.*has not answered|rank 1 gives no sign of life`,
    );
  },
  "half open: what rank 1 says does not arrive": async () => {
    lost(
      await relayed("collectives without end", (relay) => relay.stall("up")),
      `${STORE}.*has not answered|rank 1 gives no sign of life`,
    );
  },
  "half open: what the store answers does not arrive": async () => {
    lost(
      await relayed("backwards without end", (relay) => relay.stall("down")),
      `${STORE}.*has not answered|rank 1 gives no sign of life`,
    );
  },
  "the connection to the store is reset": async () => {
    lost(await relayed("collectives without end", (relay) => relay.reset()), `${STORE}.*cannot be reached`);
  },
  "a way to the store that is dead from the beginning": async () => {
    const [zero, one] = await relayed("a sum", (relay) => relay.stall("up", "down"), {
      early: true,
      limits: { connectTimeout: 3000 },
    });
    caught(zero, "ERR_DIST_CONNECT", "Missing: rank 1");
    caught(one, "ERR_DIST_CONNECT", "3000 ms", "does not answer");
  },
};

const machineCases: Readonly<Record<string, (machines: Machines) => Promise<void>>> = {
  "machines meet, over the interface that reaches rank 0": async (machines) => {
    const env = { MASTER_ADDR: machines.address(0), STAYS: "1500" };
    let addresses: string[] = [];
    const onOutput = (rank: number, text: string): void => {
      if (rank === 1 && text.includes("summed")) addresses = machines.listening(1);
    };
    ended(await run("a sum", 3, { env, onOutput, prefix: (rank) => machines.prefix(rank) }));
    const own = `${(2).toString(16).padStart(2, "0")}1F4D0A`.toUpperCase();
    assert.ok(addresses.length > 0 && addresses.every((a) => a === own), `rank 1 listens on ${addresses.join(", ")}`);
  },
  "machines meet, over the interface that GLOO_SOCKET_IFNAME names": async (machines) => {
    const env = { MASTER_ADDR: machines.address(0), GLOO_SOCKET_IFNAME: "cable" };
    ended(await run("a sum", 2, { env, prefix: (rank) => machines.prefix(rank) }));
  },
  "within a machine nobody outside is listened to": async (machines) => {
    const port = await freePort();
    let addresses: string[] = [];
    let connects: number | null = null;
    const onOutput = (_: number, text: string): void => {
      if (!text.includes("summed")) return;
      addresses = machines.listening(0);
      connects = spawnSync("ip", [
        ...machines.prefix(1).slice(1),
        process.execPath,
        "-e",
        `require("net").connect(${port}, "${machines.address(0)}").on("connect", () => process.exit(0)).on("error", () => process.exit(7))`,
      ]).status;
    };
    ended(await run("a sum", 2, { port, env: { STAYS: "2500" }, onOutput, prefix: () => machines.prefix(0) }));
    assert.ok(addresses.length > 0 && addresses.every((a) => a === "0100007F"), `listens on ${addresses.join(", ")}`);
    assert.equal(connects, 7, "another machine reached the store");
  },
};
for (const kind of ["collectives", "backwards"] as const)
  for (const machine of [0, 2])
    Object.assign(machineCases, {
      [`the cable of rank ${machine} is pulled, in ${kind}`]: async (machines: Machines) => {
        const env = { MASTER_ADDR: machines.address(0) };
        const prefix = (rank: number): readonly string[] => machines.prefix(rank);
        const onOutput = whenRunning(3, () => {
          machines.cut(machine);
        });
        try {
          const results = await run(`${kind} without end`, 3, { env, onOutput, prefix });
          lost(results);
          // Whoever is connected still says who is not.
          results.forEach((result, rank) => {
            if (rank === machine) return;
            const message = said(result).find((s) => s.error !== undefined)?.error?.message ?? "";
            assert.match(message, machine === 0 ? /rank 0/ : /rank 2 gives no sign of life/);
          });
        } finally {
          machines.mend(machine);
        }
      },
    });
Object.assign(machineCases, {
  "a machine that is not there": async (machines: Machines) => {
    const env = { MASTER_ADDR: machines.address(98) };
    const [, one] = await run("a sum", 2, { env, prefix: (r) => machines.prefix(r) }, { connectTimeout: 4000 });
    caught(one, "ERR_DIST_CONNECT", machines.address(98), "4000 ms");
  },
});

let [passed, failed] = [0, 0];
async function attempt(name: string, body: () => Promise<void>): Promise<void> {
  const began = performance.now();
  try {
    await body();
    passed++;
    console.log(`passed  ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n${error instanceof Error ? error.stack : String(error)}`);
  }
}

const only = process.argv[2] ?? "";
for (const [name, body] of Object.entries(relayCases)) if (name.includes(only)) await attempt(name, body);
let machines: Machines | null = null;
try {
  machines = new Machines(3);
} catch (error) {
  console.log(`skipped ${Object.keys(machineCases).length} cases: no network namespaces here (${String(error)})`);
}
if (machines !== null) {
  const there = machines;
  try {
    for (const [name, body] of Object.entries(machineCases))
      if (name.includes(only)) await attempt(name, () => body(there));
  } finally {
    there.remove();
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
