/** Run the garbage collector and the finalizers that it queued. */
import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

export async function collectGarbage(): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  assert.ok(typeof collect === "function");
  for (let i = 0; i < 3; i++) {
    Reflect.apply(collect as () => void, undefined, []);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
