/** Trainers of options that may be wrong. */
import assert from "node:assert/strict";
import { MisconfigurationError, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";

/** Options that the types refuse too, given as a JavaScript caller would. */
export function make(options: object): Trainer {
  return new Trainer({ logger: false, ...options } as TrainerOptions);
}

export function fails(options: object, code: string, message: RegExp | string): void {
  assert.throws(
    () => make({ accelerator: "cpu", ...options }),
    (error) => {
      assert.ok(error instanceof MisconfigurationError, String(error));
      assert.equal(error.code, code);
      if (typeof message === "string") assert.equal(error.message, message);
      else assert.match(error.message, message);
      return true;
    },
  );
}
