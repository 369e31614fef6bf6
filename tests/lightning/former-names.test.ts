/** Plugins that were written for the version before: what they say under former names counts, with a warning. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FullPrecision, Trainer } from "@nbit/lightning";
import { QUIET, warningsOf } from "../helpers/training.js";

class Former extends FullPrecision {
  protected get lossScaling(): string {
    return "by hand";
  }
  protected get modulePrecisions(): readonly (readonly [string, string])[] {
    return [["head", "float64"]];
  }
}

test("explain() reads lossScaling and modulePrecisions of a plugin, and warns once for each", async () => {
  const given = await warningsOf(() => {
    for (let i = 0; i < 2; i++) {
      const { lossScaling, modules } = new Trainer({ ...QUIET, plugins: new Former() }).precision.explain({
        print: false,
      });
      assert.deepEqual([lossScaling, modules], ["by hand", [["head", "float64"]]]);
    }
  });
  assert.deepEqual(given, [
    {
      code: "WARN_FORMER_NAME",
      message:
        "Former: lossScaling is called lossScaling of describe() now, and is read under its former name in this version only.",
    },
    {
      code: "WARN_FORMER_NAME",
      message:
        "Former: modulePrecisions is called modules of describe() now, and is read under its former name in this version only.",
    },
  ]);
});
