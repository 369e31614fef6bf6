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
/** @internal Deep enough to reach the user's code from a layer within layers. */
export function stackHere(): string | undefined {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 64;
  const { stack } = new Error();
  Error.stackTraceLimit = before;
  return stack;
}
/** @internal Of a stack. Reads files. */
export function lineInWords(stack: string | undefined): string | null {
  const line = userLine(stack);
  return line === null ? null : `${line.file}:${line.line}:${line.column}`;
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
  const line = lineInWords(stack);
  return line === null ? reason : `${reason} (${line})`;
}
