import assert from "node:assert/strict";
import { test } from "node:test";
import { Trainer, type TrainerOptions } from "@nbit/lightning";
import { TRAINER_OPTIONS, type FlagKind } from "@nbit/lightning/options";
import { readArguments } from "../arguments/read.js";
import { flagsOf, type FlagValue } from "../command.js";
import { commands } from "../commands/index.js";
import { trainerGroups } from "./flags.js";
import { settingsOf } from "./settings.js";

/** A Trainer that shows its options. */
class Shown extends Trainer {
  option(name: string): unknown {
    return { ...this.resolved }[name as keyof typeof this.resolved];
  }
}
const fit = commands.get("fit") ?? assert.fail("no fit");
function options(args: readonly string[], env: Readonly<Record<string, string>> = {}): TrainerOptions {
  return Object.fromEntries(settingsOf(readArguments(fit, args), env).trainer);
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
  profiler: ["simple"],
};
/** A value of a kind that is not the default, and its text. */
const SAMPLES: Readonly<Record<FlagKind, (name: string, standard: unknown) => FlagValue>> = {
  text: (name) => TEXTS[name]?.[0] ?? assert.fail(`${name} takes text: give an example in TEXTS`),
  // Several machines need a launcher, which the tests of launching have.
  number: (name) => (name === "numNodes" ? 1 : 3),
  switch: (_, standard) => standard !== true,
  null: () => null,
  class: (name) => name,
};

const base = ["--accelerator=cpu", "--logger=false", "--enableCheckpointing=false"];
const standards = new Shown(options(base));
const variable = (name: string): string =>
  `NBIT_FIT__TRAINER__${name.replaceAll(/[A-Z]/g, (c) => `_${c}`).toUpperCase()}`;

for (const [name, { flag, default: standard }] of Object.entries(TRAINER_OPTIONS)) {
  for (const kind of flag?.filter((each) => each !== "class") ?? [])
    // classes: tests of settings
    test(`--${name} (${kind}) is listed, read in every way, and reaches the Trainer`, () => {
      assert.equal(trainerGroups().filter(({ flags }) => flags.has(name)).length, 1);
      const value = SAMPLES[kind](name, standard);
      const beside = [...base.filter((each) => !each.startsWith(`--${name}=`)), ...(TEXTS[name]?.slice(1) ?? [])];
      const given = options([...beside, `--${name}`, String(value)]);
      assert.equal({ ...given }[name as keyof TrainerOptions], value);
      assert.deepEqual(options([...beside, `--trainer.${name}=${String(value)}`]), given);
      assert.deepEqual(options(beside, { [variable(name)]: String(value) }), given);
      const reached = new Shown(given).option(name);
      assert.deepEqual(reached, new Shown({ ...options(beside), [name]: value }).option(name));
      if (value !== standard && beside.length === base.length) assert.notDeepEqual(reached, standards.option(name));
    });
}

test("every option that a word or a class's name can express is a flag in one group; of others there is none", () => {
  const flags = flagsOf(fit);
  const hidden = Object.entries(TRAINER_OPTIONS).flatMap(([name, { flag }]) => (flag === null ? [name] : []));
  for (const name of hidden) {
    assert.throws(() => readArguments(fit, [`--${name}=x`]), { code: "ERR_FLAG" });
    assert.throws(() => options([`--trainer.${name}=x`]), { code: "ERR_FLAG_VALUE" });
  }
  const listed = trainerGroups().flatMap((group) => [...group.flags.keys()]);
  assert.deepEqual(
    listed.toSorted(),
    Object.keys(TRAINER_OPTIONS)
      .filter((name) => !hidden.includes(name))
      .toSorted(),
  );
  for (const name of listed) assert.ok(flags.has(name), name);
});
