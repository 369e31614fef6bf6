/** What ranks of distributed/failures/program.ts have said, and how they ended. */
import assert from "node:assert/strict";
import type { RankResult } from "./ranks.js";

/** The exit code of a rank that caught its error. */
export const CAUGHT = 9;

export interface Said {
  readonly error?: { readonly class: string; readonly code: string; readonly message: string };
  readonly [key: string]: unknown;
}
export const said = ({ stdout }: RankResult): Said[] =>
  stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Said);

/** A rank caught an error of class DistributedError, and ended by itself. */
export function caught(result: RankResult | undefined, code: string | RegExp, ...texts: (string | RegExp)[]): void {
  assert.ok(result);
  const shown = `${result.stdout}\n${result.stderr}`;
  const error = said(result).find((s) => s.error !== undefined)?.error;
  assert.ok(error, `no error: ended with ${result.signal ?? result.code}\n${shown}`);
  assert.match(error.code, typeof code === "string" ? new RegExp(`^${code}$`) : code, error.message);
  assert.equal(error.class, "DistributedError");
  for (const text of texts) assert.match(error.message, typeof text === "string" ? new RegExp(text) : text);
  assert.deepEqual([result.code, result.signal], [CAUGHT, null], shown);
  assert.equal(result.stderr, "", "nothing of C++ on the screen");
}
export const killed = (result: RankResult | undefined): void => {
  assert.equal(result?.signal, "SIGKILL");
};
