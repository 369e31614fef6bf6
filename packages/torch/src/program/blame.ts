/** Whose line it was that a recording could not repeat, or that left one. */
import { userLine } from "../dtype-mismatch.js";
import { native } from "../native.js";

let stack: string | undefined;
let told = false;

/** @internal From here {@link blame} knows who came first. */
export function watchForBlame(): void {
  stack = undefined;
  if (told) return;
  told = true;
  native.replayTell(() => {
    stack ??= new Error().stack; // a look at the source waits until somebody asks
  });
}
/** @internal */
export interface Blame {
  readonly reason: string;
  readonly stack: string | undefined;
}
export function blame(reason: string): Blame {
  return { reason, stack };
}
/** @internal The reason, with the line that it came from, where that is known. Reads files. */
export function inWords({ reason, stack }: Blame): string {
  const line = userLine(stack);
  return line === null ? reason : `${reason} (${line.file}:${line.line}:${line.column})`;
}
