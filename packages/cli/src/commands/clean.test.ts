import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { main } from "../main.js";
import { cacheEntries } from "./clean.js";

const home = mkdtempSync(join(tmpdir(), "nbit-clean-"));
const cache = join(home, "nbit");
after(() => rmSync(home, { recursive: true, force: true }));
function fill(): void {
  for (const [name, bytes] of [
    ["libtorch-2.13.0-cpu", 5000],
    ["addon-0123", 300],
    ["objects", 20],
    ["strange", 7],
  ] as const) {
    mkdirSync(join(cache, name), { recursive: true });
    writeFileSync(join(cache, name, "file"), Buffer.alloc(bytes));
  }
}

/** With this cache, and nobody to ask. */
async function clean(...args: string[]): Promise<{ status: number; said: string }> {
  let said = "";
  const mocks = (["log", "error"] as const).map((name) =>
    mock.method(console, name, (...parts: unknown[]) => void (said += `${parts.join(" ")}\n`)),
  );
  const before = process.env["NBIT_HOME"];
  process.env["NBIT_HOME"] = cache;
  try {
    return { status: await main(["clean", ...args]), said };
  } finally {
    if (before === undefined) delete process.env["NBIT_HOME"];
    else process.env["NBIT_HOME"] = before;
    for (const each of mocks) each.mock.restore();
  }
}

test("entries say what they are and how large, the largest first, and whether they are in use", () => {
  fill();
  assert.deepEqual(
    cacheEntries(cache, [join(cache, "libtorch-2.13.0-cpu", "libtorch")]).map(({ name, bytes, rebuilt, inUse }) => [
      name,
      bytes,
      rebuilt,
      inUse,
    ]),
    [
      ["libtorch-2.13.0-cpu", 5000, false, true],
      ["addon-0123", 300, true, false],
      ["objects", 20, true, false],
      ["strange", 7, false, false],
    ],
  );
  assert.deepEqual(cacheEntries(join(home, "nowhere"), []), []);
});

test("what comes back by itself goes; what was fetched and what nobody knows stays, but for --all", async () => {
  fill();
  const listed = await clean("--list");
  assert.match(listed.said, /goes: the addon for one libtorch/);
  assert.match(listed.said, /stays: libtorch for CPUs, fetched/);
  assert.ok(existsSync(join(cache, "objects")));
  const asked = await clean();
  assert.equal(asked.status, 2);
  assert.match(asked.said, /ERR_NO_TERMINAL: nbit clean: expected --yes/);
  assert.ok(existsSync(join(cache, "objects")));
  assert.match((await clean("--yes")).said, /Removed 320 B\./);
  assert.deepEqual(
    ["libtorch-2.13.0-cpu", "addon-0123", "objects", "strange"].map((name) => existsSync(join(cache, name))),
    [true, false, false, true],
  );
  assert.equal((await clean("--all", "-y")).status, 0);
  assert.match((await clean()).said, /^Nothing is in the cache/);
});

test("nothing is taken away from under a set-up that runs; one that was ended leaves nothing in the way", async () => {
  fill();
  const lock = join(cache, "libtorch.lock");
  writeFileSync(lock, JSON.stringify({ pid: process.pid, host: hostname(), since: 0 }));
  const refused = await clean("--all", "--yes");
  assert.equal(refused.status, 2);
  assert.match(refused.said, /ERR_SETUP_RUNNING: .*libtorch\.lock/);
  assert.ok(existsSync(join(cache, "libtorch-2.13.0-cpu")));
  assert.equal((await clean("--list")).status, 0);
  writeFileSync(lock, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), since: 0 })); // more than Linux gives
  assert.equal((await clean("--all", "--yes")).status, 0);
  assert.ok(!existsSync(lock));
});
