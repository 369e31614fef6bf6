import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeText } from "./replace.js";

const root = mkdtempSync(join(tmpdir(), "nbit-leftovers-"));
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(root, { recursive: true });
});
let next = 0;
function fresh(): string {
  const folder = join(root, String(next++));
  mkdirSync(folder);
  return folder;
}

/** A process that stands still in the middle of a save of `path`, and its temporary file. */
async function halfway(path: string): Promise<{ child: ChildProcess; ended: Promise<unknown>; temporary: string }> {
  const script = `import { writeSync } from "node:fs";
    import { writeAtomically } from ${JSON.stringify(new URL("./atomic.js", import.meta.url).href)};
    writeAtomically(${JSON.stringify(path)}, (fd) => {
      writeSync(fd, "half");
      writeSync(1, "ready");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`;
  const before = new Set(readdirSync(join(path, "..")));
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const ended = once(child, "close");
  assert.ok(child.stdout !== null);
  await once(child.stdout, "data");
  const [temporary] = readdirSync(join(path, "..")).filter((name) => !before.has(name));
  assert.ok(temporary !== undefined && temporary.endsWith(".tmp"));
  return { child, ended, temporary };
}

test("the temporary file of a killed save is deleted by the next save of its path, and by no other", async () => {
  const folder = fresh();
  const path = join(folder, "a.ckpt");
  const { child, ended, temporary } = await halfway(path);
  child.kill("SIGKILL");
  await ended;
  writeText("test", join(folder, "a"), "");
  writeText("test", join(folder, "b.ckpt"), "");
  assert.ok(existsSync(join(folder, temporary)));
  writeText("test", path, "whole");
  assert.deepEqual(readdirSync(folder).sort(), ["a", "a.ckpt", "b.ckpt"]);
  assert.equal(readFileSync(path, "utf8"), "whole");
});

test("temporary files of a running process stay, unless its id belonged to another process before", async () => {
  const folder = fresh();
  const path = join(folder, "a.ckpt");
  const { child, ended, temporary } = await halfway(path);
  writeText("test", path, "ours");
  assert.deepEqual(readdirSync(folder).sort(), [temporary, "a.ckpt"]);
  if (process.platform === "linux") {
    // The same id with another begin: a process that has ended.
    const reused = temporary.replace(
      /(\.\d+-)(\d+)\./,
      (_, pid: string, start: string) => `${pid}${Number(start) + 1}.`,
    );
    assert.notEqual(reused, temporary);
    writeFileSync(join(folder, reused), "half");
    writeText("test", path, "ours again");
    assert.deepEqual(readdirSync(folder).sort(), [temporary, "a.ckpt"]);
  }
  child.kill("SIGKILL");
  await ended;
});

test("temporary files of processes on other hosts stay for a day", async () => {
  const folder = fresh();
  const path = join(folder, "a.ckpt");
  const { child, ended, temporary } = await halfway(path);
  child.kill("SIGKILL");
  await ended;
  const elsewhere = temporary.replace(/\.[0-9a-f]{8}(\.[0-9a-f]{8}\.tmp)$/, ".00000000$1");
  renameSync(join(folder, temporary), join(folder, elsewhere));
  writeText("test", path, "1");
  assert.deepEqual(readdirSync(folder).sort(), [elsewhere, "a.ckpt"]);
  utimesSync(join(folder, elsewhere), new Date(), new Date(Date.now() - 25 * 3600 * 1000));
  writeText("test", path, "2");
  assert.deepEqual(readdirSync(folder), ["a.ckpt"]);
});

test("files of other names, folders and links are not deleted", async () => {
  const folder = fresh();
  const path = join(folder, "a.ckpt");
  const { child, ended, temporary } = await halfway(path);
  child.kill("SIGKILL");
  await ended;
  rmSync(join(folder, temporary));
  const victim = join(folder, "thesis.txt");
  writeFileSync(victim, "mine");
  symlinkSync(victim, join(folder, temporary));
  mkdirSync(join(folder, temporary.replace(/[0-9a-f]{8}\.tmp$/, "00000000.tmp")));
  for (const name of [".a.ckpt.tmp", ".a.ckpt.1.tmp", "a.ckpt.1-1.00000000.00000000.tmp", ".a.ckpt.notes.tmp"])
    writeFileSync(join(folder, name), "mine");
  const before = readdirSync(folder).sort();
  writeText("test", path, "1");
  assert.deepEqual(readdirSync(folder).sort(), [...before, "a.ckpt"].sort());
  assert.equal(readFileSync(victim, "utf8"), "mine");
});

test("a name as long as the file system takes can be saved", () => {
  const folder = fresh();
  const name = "x".repeat(255);
  writeText("test", join(folder, name), "1");
  assert.deepEqual(readdirSync(folder), [name]);
  assert.throws(
    () => {
      writeText("test", join(folder, `${name}x`), "1");
    },
    { code: "ENAMETOOLONG", name: "FileError" },
  );
});

test("what is not a regular file is not replaced", () => {
  const folder = fresh();
  assert.throws(
    () => {
      writeText("test", folder, "1");
    },
    { code: "ERR_ARGUMENT" },
  );
  assert.throws(
    () => {
      writeText("test", "/dev/null", "1");
    },
    { code: "ERR_ARGUMENT" },
  );
  for (const path of ["", "a\0b", 3 as unknown as string])
    assert.throws(
      () => {
        writeText("test", path, "1");
      },
      { code: "ERR_ARGUMENT" },
    );
});
