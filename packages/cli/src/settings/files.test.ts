/** Settings in several files: after one another, in one another, and of several commands in one. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { commandFirst, readArguments } from "../arguments/read.js";
import { commands } from "../commands/index.js";
import { settingsOf } from "../run/settings.js";
import type { Settings } from "./settle.js";
import { splitConfig } from "./split.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-files-"));
after(() => rmSync(folder, { recursive: true, force: true }));
function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}
function settings(command: string, ...args: string[]): Settings {
  const row = commands.get(command) ?? assert.fail(command);
  return settingsOf(readArguments(row, args), {});
}
const given = ({ args }: { readonly args: readonly { path: readonly string[]; value: unknown }[] }): unknown =>
  args.map(({ path, value }) => [path.join("."), value]);

test("several files and flags: what comes later wins, name by name", () => {
  const base = file("base.yaml", "seed: 1\ntrainer: { maxEpochs: 2, precision: bf16 }\nmodel: { lr: 0.1, depth: 2 }\n");
  const over = file("over.yaml", "trainer: { maxEpochs: 5 }\nmodel: { lr: 0.2 }\n");
  const both = settings("fit", "--config", base, "--maxSteps", "9", "--config", over, "--model.depth", "4");
  assert.deepEqual(
    [...both.trainer],
    [
      ["maxEpochs", 5],
      ["precision", "bf16"],
      ["maxSteps", 9],
    ],
  );
  assert.equal(both.own.get("seed")?.value, 1);
  assert.deepEqual(given(both.parts.model), [
    ["lr", 0.1],
    ["depth", 2],
    ["lr", 0.2],
    ["depth", "4"],
  ]);
  assert.equal(settings("fit", "--config", over, "--config", base).trainer.get("maxEpochs"), 2);
});

test("keys of commands: the command's own lie above what is for all, others are another's", () => {
  const path = file(
    "all.yaml",
    "fit: { trainer: { maxEpochs: 7 }, seed: 3 }\nvalidate: { trainer: { nonsense: 1 } }\ntrainer: { maxEpochs: 1, limitValBatches: 2 }\ntest:\n",
  );
  const fit = settings("fit", "--config", path);
  assert.deepEqual(
    [...fit.trainer],
    [
      ["maxEpochs", 7],
      ["limitValBatches", 2],
    ],
  );
  assert.equal(fit.own.get("seed")?.value, 3);
  assert.equal(settings("test", "--config", path).trainer.get("maxEpochs"), 1);
  assert.equal(settings("tune", "--config", path).trainer.get("maxEpochs"), 7, "tune looks at a fit");
  assert.throws(() => settings("validate", "--config", path), {
    code: "ERR_FLAG",
    message: /trainer\.nonsense of .*all\.yaml:2:24/,
  });
  assert.throws(() => settings("fit", "--config", file("wrong.yaml", "fit: 3\n")), {
    code: "ERR_CONFIG_FILE",
    message: /wrong\.yaml:1:1: fit, which is no map of names/,
  });
});

test("a section in a file of its own, by a flag and by a name in another file, which is looked for beside that", () => {
  mkdirSync(join(folder, "parts"), { recursive: true });
  file("parts/model.yaml", "classPath: ./net.ts#Net\ninitArgs: { lr: 0.5 }\n");
  file("parts/trainer.yaml", "maxEpochs: 4\n");
  const path = file("parts/run.yaml", "model: model.yaml\ntrainer: trainer.yaml\n");
  const named = settings("fit", "--config", path, "--model.lr", "1");
  assert.equal(named.parts.model.choice?.value, "./net.ts#Net");
  assert.deepEqual(given(named.parts.model), [
    ["lr", 0.5],
    ["lr", "1"],
  ]);
  assert.deepEqual(
    [...named.files],
    [
      ["model", join(folder, "parts/model.yaml")],
      ["trainer", join(folder, "parts/trainer.yaml")],
    ],
  );
  const flags = settings(
    "fit",
    "--model",
    join(folder, "parts/model.yaml"),
    "--trainer",
    join(folder, "parts/trainer.yaml"),
  );
  assert.deepEqual([given(flags.parts.model), flags.trainer.get("maxEpochs")], [[["lr", 0.5]], 4]);
  assert.throws(() => settings("fit", "--config", file("self.yaml", "model: self.yaml\n")), {
    code: "ERR_CONFIG_FILE",
    message: /self\.yaml, which names itself/,
  });
  assert.throws(() => settings("fit", "--model", join(folder, "none.yaml")), { code: "ERR_CONFIG_FILE" });
  assert.throws(() => settings("fit", "--trainer", file("bad.yaml", "maxEpoch: 4\n")), {
    code: "ERR_FLAG",
    message: /expected trainer\.maxEpochs\. Received: trainer\.maxEpoch of .*bad\.yaml:1:1/,
  });
});

test("--config may stand before the command", () => {
  assert.deepEqual(commandFirst(["--config", "a.yaml", "-c=b.yaml", "fit", "net.ts"]), [
    "fit",
    "--config",
    "a.yaml",
    "-c=b.yaml",
    "net.ts",
  ]);
  for (const args of [[], ["fit", "--config", "a"], ["--config"], ["--config", "a.yaml"], ["--version"]])
    assert.deepEqual(commandFirst(args), args);
});

test("one file is split as it was put together; a name that is taken is another", () => {
  const text = "# how\nseed: 1\nmodel:\n  lr: 0.1\n";
  const written: string[] = [];
  const write = (name: string, part: string): string => {
    written.push(part);
    return `${name}.2`;
  };
  assert.equal(splitConfig(text, { model: "m.yaml", data: "d.yaml" }, write), "# how\nseed: 1\nmodel: m.yaml.2\n");
  assert.deepEqual(written, ["lr: 0.1\n"]);
  assert.equal(splitConfig(text, {}, write), text);
});
