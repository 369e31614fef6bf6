import assert from "node:assert/strict";
import { test } from "node:test";
import { isError } from "@nbit/torch/realm";
import { FAMILIES } from "./index.js";

type Program = (from: (name: string) => Promise<object>) => Promise<void>;
const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as new (...text: string[]) => Program;

/** An example, whose imports are taken from modules that are loaded already. */
function programOf(example: string): Program {
  const body = example.replace(
    /^import \{([^}]*)\} from ("[^"]+");$/gm,
    (_, names: string, from: string) => `const {${names.replace(/ as /g, ": ")}} = await from(${from});`,
  );
  return new AsyncFunction("from", `"use strict";\n${body}`);
}

for (const family of FAMILIES)
  test(`errors of ${family.name}: each example raises its code, with its class`, async () => {
    const wrong: string[] = [];
    for (const [code, row] of Object.entries(family.codes)) {
      if (row.example === undefined) continue;
      const thrown: unknown = await programOf(row.example)((name) => import(name)).then(
        () => "nothing",
        (error: unknown) => error,
      );
      const found = isError(thrown) && "code" in thrown && "help" in thrown ? thrown : { name: "", code: "", help: "" };
      const expected = [code, row.by ?? family.by, `npx nbit explain-error ${code}`];
      if (expected.join() !== [found.code, found.name, found.help].join())
        wrong.push(`${expected.slice(0, 2).join()}: ${String(thrown)}`);
    }
    assert.deepEqual(wrong, []);
  });
