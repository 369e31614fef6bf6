import assert from "node:assert/strict";
import { futimesSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeAtomically } from "./atomic.js";
import { writeAll } from "./replace.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-replace-"));
after(() => {
  rmSync(folder, { recursive: true });
});

test("files that are written one after the other stand in this order by their times, also within one tick of the clock", () => {
  // Names neither rise nor fall, and some files are replaced.
  const names = Array.from({ length: 150 }, (_, i) => `${(i * 37) % 101}.bin`);
  const expected = [...new Set(names.toReversed())].reverse();
  const tick = Date.now() / 1000;
  for (const name of names) {
    writeAtomically(join(folder, name), (fd) => {
      writeAll(fd, Buffer.from(name));
      futimesSync(fd, tick, tick); // a clock that stands still
    });
  }
  const byTime = (time: (path: string) => bigint | number): string[] =>
    readdirSync(folder)
      .map((name) => ({ name, at: time(join(folder, name)) }))
      .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
      .map(({ name }) => name);
  assert.deepEqual(
    byTime((path) => statSync(path, { bigint: true }).mtimeNs),
    expected,
  );
  assert.deepEqual(
    byTime((path) => statSync(path).mtimeMs),
    expected,
  );
  assert.ok(
    names.every((name) => Math.abs(statSync(join(folder, name)).mtimeMs / 1000 - tick) < 1e-3),
    "by no more than it takes",
  );
});

test("a file's time in the past is kept, as after a clock that is set back", () => {
  const hourAgo = Math.floor(Date.now() / 1000) - 3600;
  const path = join(folder, "later.bin");
  writeAtomically(path, (fd) => {
    futimesSync(fd, hourAgo, hourAgo);
  });
  assert.equal(statSync(path).mtimeMs, hourAgo * 1000);
});
