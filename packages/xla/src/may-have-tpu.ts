import { atMost } from "@nbit/torch/options";
import { mayHaveTpu as look } from "../lib/environment.mjs";

/** Whether this machine has TPUs, or is a cloud machine that may. Loads nothing. */
export function mayHaveTpu(): boolean {
  atMost("mayHaveTpu", arguments, 0);
  return look();
}
