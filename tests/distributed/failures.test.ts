/**
 * Ranks that die, hang, or do something else than the others, as real processes: whatever happens to one, every other
 * ends by itself with an error that says who, where and why.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import * as dist from "@nbit/torch/distributed";
import { caught, killed, said } from "../helpers/rank-errors.js";
import { freePort, runRanks, type RankResult, type RunOptions } from "../helpers/ranks.js";

const PROGRAM = fileURLToPath(new URL("./failures/program.js", import.meta.url));

function run(name: string, ranks: number, options: RunOptions & { limits?: object } = {}): Promise<RankResult[]> {
  return runRanks(PROGRAM, ranks, { ...options, args: [name, JSON.stringify(options.limits ?? {})] });
}

describe("failures", { concurrency: 4 }, () => {
  test("a rank killed in a collective is named by all others, with step and collective", async () => {
    const [zero, one, two] = await run("killed in a collective", 3);
    killed(one);
    for (const other of [zero, two])
      caught(other, "ERR_DIST_PEER_LOST", /rank [02] at step 3, .*all_reduce/, "rank 1 has died", "at step 3");
  });
  test("rank 0, which holds the store, killed", async () => {
    const [zero, one] = await run("rank 0 killed", 2);
    killed(zero);
    caught(one, "ERR_DIST_PEER_LOST", "rank 1 at step 3", "rank 0");
  });
  test("a rank killed in the middle of a backward", async () => {
    const [zero, one] = await run("killed in a backward", 2);
    killed(one);
    caught(zero, "ERR_DIST_PEER_LOST", "rank 0 at step 4, .*gradients", "rank 1 has died");
  });
  test("a rank killed while the others compute", async () => {
    const [zero, one] = await run("killed while others compute", 2);
    killed(one);
    caught(zero, "ERR_DIST_PEER_LOST", "rank 1 has died");
  });
  test("a rank that is stopped is lost after heartbeatTimeout", async () => {
    const [zero, one] = await run("stopped", 2, { limits: { heartbeatTimeout: 2000 }, killLast: 1 });
    killed(one);
    caught(zero, "ERR_DIST_PEER_LOST", "rank 0 at step 3, waiting in all_reduce", "rank 1 gives no sign of life");
  });
  test("rank 0 stopped, and the store with it", async () => {
    const [zero, one] = await run("stopped", 2, {
      limits: { heartbeatTimeout: 2000 },
      killLast: 0,
      env: { STOPS: "0" },
    });
    killed(zero);
    caught(one, "ERR_DIST_PEER_LOST", "rank 1 at step 3", "store, in the process of rank 0, has not answered");
  });
  test("a rank stopped in the middle of a backward", async () => {
    const [zero, one] = await run("stopped in a backward", 2, { limits: { heartbeatTimeout: 2000 }, killLast: 1 });
    killed(one);
    caught(zero, "ERR_DIST_PEER_LOST", "rank 0 at step 4, .*gradients", "rank 1 gives no sign of life");
  });
  test("a rank in an endless loop is waited for as long as timeout says", async () => {
    const [zero, one] = await run("endless loop", 2, { limits: { timeout: 1500 }, killLast: 1 });
    killed(one);
    caught(zero, "ERR_DIST_TIMEOUT", "waiting in all_reduce", "1[5-9]\\d\\d ms", "rank 1 computes at step 3");
  });
  for (const thrower of [0, 1])
    test(`what rank ${thrower} throws arrives at the others`, async () => {
      const results = await run("throws", 2, { env: { THROWS: `${thrower}` } });
      const [culprit, other] = thrower === 0 ? results : results.toReversed();
      assert.equal(culprit?.code, 1);
      assert.match(culprit?.stderr ?? "", /RangeError: boom 17/);
      caught(other, "ERR_DIST_PEER_FAILED", `rank ${thrower} failed at step 3: RangeError: boom 17`);
    });
  test("a rank that ends early", async () => {
    const [zero, one] = await run("ends early", 2);
    assert.deepEqual([one?.code, one?.signal], [0, null]);
    caught(zero, "ERR_DIST_PEER_FAILED", "rank 1 failed", "ended with code 0, before destroyProcessGroup");
  });
  test("a rank that leaves in order while the others go on", async () => {
    const [zero, one] = await run("leaves early", 2);
    caught(zero, "ERR_DIST_MISMATCH", "waiting in barrier", "rank 1 has ended");
    caught(one, "ERR_DIST_PEER_FAILED", "rank 0 failed");
  });
  test("asynchronous work that fails rejects its promise", async () => {
    const [zero, one] = await run("asynchronous work", 2);
    killed(one);
    caught(zero, "ERR_DIST_PEER_LOST", "rank 1 has died");
  });
  test("ranks that wait for each other in different collectives", async () => {
    for (const result of await run("different order", 2))
      caught(result, /^ERR_DIST_(MISMATCH|PEER_FAILED)$/, "barrier", "ranks do different things");
  });
  test("a rank that leaves a backward out", async () => {
    for (const result of await run("skips a backward", 2))
      caught(result, /^ERR_DIST_(MISMATCH|PEER_FAILED)$/, "gradients|barrier", "ranks do different things");
  });
  test("a tensor on a device without a backend", async () => {
    for (const result of await run("misuse", 2)) caught(result, "ERR_DIST_BACKEND", "on meta");
  });

  test("an occupied port", async () => {
    // Somebody who takes connections, and never answers.
    const server = createServer(() => undefined);
    after(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    const [zero, one] = await run("connects", 2, { port: address.port, limits: { connectTimeout: 1500 } });
    caught(zero, "ERR_DIST_ADDRESS_IN_USE", `port ${address.port}`, "MASTER_PORT");
    caught(one, "ERR_DIST_CONNECT", `port ${address.port}`, "1500 ms");
  });
  test("a network interface that is not there", async () => {
    for (const result of await run("connects", 2, { env: { GLOO_SOCKET_IFNAME: "lo,nic7" } }))
      caught(result, "ERR_DIST_INTERFACE", "GLOO_SOCKET_IFNAME", '"lo,nic7"; there are .*lo');
  });
  test("two processes of one rank", async () => {
    const env = (i: number) => ({ RANK: `${Math.min(i, 1)}`, LOCAL_RANK: `${Math.min(i, 1)}` });
    for (const result of await run("connects", 3, { env })) caught(result, "ERR_DIST_RANK", "two of rank 1");
  });
  test("world sizes that differ", async () => {
    const env = (i: number) => ({ WORLD_SIZE: `${i + 2}`, LOCAL_WORLD_SIZE: `${i + 2}` });
    for (const result of await run("connects", 2, { env }))
      caught(result, "ERR_DIST_RANK", "same world size", "2", "3");
  });
  test("a rank that never comes is named", async () => {
    const env = { WORLD_SIZE: "3", LOCAL_WORLD_SIZE: "3" };
    for (const result of await run("connects", 2, { env, limits: { connectTimeout: 2500 } }))
      caught(result, "ERR_DIST_CONNECT", "2500 ms", "Missing: rank 2");
  });
  test("rank 0 that never comes", async () => {
    const env = { RANK: "1", LOCAL_RANK: "1", WORLD_SIZE: "2", LOCAL_WORLD_SIZE: "2" };
    for (const result of await run("connects", 1, { env, limits: { connectTimeout: 1500 } }))
      caught(result, "ERR_DIST_CONNECT", "rank 1 did not reach the store, in the process of rank 0", "1500 ms");
  });
  test("a host that has no address", async () => {
    for (const result of await run("connects", 2, {
      env: { MASTER_ADDR: "nowhere.invalid" },
      limits: { connectTimeout: 1000 },
    }))
      caught(result, "ERR_DIST_CONNECT", "nowhere.invalid");
  });

  test("joining, leaving and joining again; work that nobody waits for", async () => {
    const SPARE = `${await freePort()}`;
    const results = await run("again and again", 2, { env: { SPARE } });
    results.forEach((result, rank) => {
      assert.deepEqual([result.code, result.signal, result.stderr], [0, null, ""], result.stdout);
      const lines = said(result);
      assert.equal(lines[0]?.first, rank === 0 ? "ERR_DIST_CONNECT" : null);
      const seconds = lines.flatMap((line) => ("second" in line ? [line.second] : []));
      assert.deepEqual(seconds, Array(3).fill("ERR_DIST_INITIALIZED"));
      assert.ok(lines.some((line) => line.initialized === false));
    });
  });
  test("a worker thread cannot take the world of another thread, and leaves none behind", async () => {
    for (const result of await run("worker", 2)) {
      assert.deepEqual([result.code, result.signal, result.stderr], [0, null, ""], result.stdout);
      assert.ok(said(result).some((line) => line.worker === "ERR_DIST_INITIALIZED"));
    }
  });
});

test("wrong arguments are refused before anything is begun", async () => {
  const wrong: (() => Promise<unknown>)[] = [
    // @ts-expect-error an unknown option
    () => dist.initProcessGroup({ time: 5 }),
    () => dist.initProcessGroup("mpi" as dist.Backend),
    () => dist.initProcessGroup({ timeout: 0 }),
    () => dist.initProcessGroup({ heartbeatTimeout: 10 }),
    () => dist.initProcessGroup({ rank: 2, worldSize: 2, initMethod: "tcp://127.0.0.1:1" }),
    () => dist.initProcessGroup({ rank: 0, initMethod: "tcp://127.0.0.1:1" }),
    () => dist.initProcessGroup({ rank: 0, worldSize: 1, initMethod: "udp://127.0.0.1:1" }),
    () => dist.initProcessGroup({ rank: 0, worldSize: 1, initMethod: "tcp://127.0.0.1:123456" }),
    // @ts-expect-error an unknown option
    () => dist.destroyProcessGroup({ order: true }),
  ];
  for (const call of wrong) await assert.rejects(call, { name: "ArgumentError" }, String(call));
  assert.throws(() => {
    dist.setStep(1.5);
  }, /step/);
  for (const call of [dist.barrier, () => new dist.Reducer([])])
    assert.throws(call, { code: "ERR_DIST_NOT_INITIALIZED" });
  assert.equal(dist.isInitialized(), false);
});

after(() => {
  // Node reaps what it has started; a child of ours that is left is one that nobody waited for.
  const left = readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const [, state = "", parent] = readFileSync(`/proc/${pid}/stat`, "utf8")
          .replace(/^.*\) /, "- ")
          .split(" ");
        return Number(parent) === process.pid ? [`${pid} ${state}`] : [];
      } catch {
        return [];
      }
    });
  assert.deepEqual(left, []);
});
