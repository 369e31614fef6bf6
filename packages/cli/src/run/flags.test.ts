import assert from "node:assert/strict";
import { test } from "node:test";
import { Trainer } from "@nbit/lightning";
import { TRAINER_OPTIONS, type FlagKind } from "@nbit/lightning/options";
import { flagLines, parseFlags, type FlagValue } from "./flags.js";

/** A Trainer that shows its options. */
class Shown extends Trainer {
  option(name: string): unknown {
    return { ...this.resolved }[name as keyof typeof this.resolved];
  }
}

/** What an option that takes text may be, and flags that it needs beside it. */
const TEXTS: Readonly<Record<string, readonly [value: string, ...beside: string[]]>> = {
  accelerator: ["cpu"],
  devices: ["0,"],
  precision: ["bf16"],
  validationPrecision: ["64"],
  ampBackend: ["apex"],
  strategy: ["single_device"],
  ampLevel: ["O1", "--ampBackend", "apex"],
  maxTime: ["00:01:00:00"],
  gradientClipAlgorithm: ["value"],
  onSkippedStep: ["hold"],
  detectNonFinite: ["gradients"],
  replay: ["auto"],
  deterministic: ["warn"],
  cpuKernels: ["libtorch"],
  defaultRootDir: ["runs"],
};
/** A value of a kind that is not the default, and its text. */
const SAMPLES: Readonly<Record<FlagKind, (name: string, standard: unknown) => FlagValue>> = {
  text: (name) => TEXTS[name]?.[0] ?? assert.fail(`${name} takes text: give an example in TEXTS`),
  // Several machines need a launcher, which the tests of launching have.
  number: (name) => (name === "numNodes" ? 1 : 3),
  switch: (_, standard) => standard !== true,
  null: () => null,
};

const base = ["--accelerator=cpu", "--logger=false", "--enableCheckpointing=false"];
const standards = new Shown(parseFlags("fit", base).trainer);

for (const [name, { flag, default: standard }] of Object.entries(TRAINER_OPTIONS)) {
  for (const kind of flag ?? [])
    test(`--${name} (${kind}) is listed, read, and reaches the Trainer`, () => {
      assert.equal(flagLines().filter((line) => line.startsWith(`  --${name} `)).length, 1);
      const value = SAMPLES[kind](name, standard);
      const beside = TEXTS[name]?.slice(1) ?? [];
      const { trainer } = parseFlags("fit", [...base, ...beside, `--${name}`, String(value)]);
      assert.equal(trainer[name], value);
      const reached = new Shown(trainer).option(name);
      assert.deepEqual(
        reached,
        new Shown({ ...parseFlags("fit", [...base, ...beside]).trainer, [name]: value }).option(name),
      );
      if (value !== standard && !base.includes(`--${name}=${String(value)}`))
        assert.notDeepEqual(reached, standards.option(name));
    });
}

test("what only a program can give is no flag", () => {
  const hidden = Object.entries(TRAINER_OPTIONS).flatMap(([name, { flag }]) => (flag === null ? [name] : []));
  assert.deepEqual(hidden, ["plugins", "callbacks", "activationCheckpointing"]);
  for (const name of hidden) {
    assert.throws(() => parseFlags("fit", [`--${name}=x`]), { code: "ERR_FLAG" });
    assert.ok(!flagLines().some((line) => line.includes(`--${name} `)), name);
  }
  assert.equal(flagLines().length, Object.keys(TRAINER_OPTIONS).length - hidden.length + 2);
});
