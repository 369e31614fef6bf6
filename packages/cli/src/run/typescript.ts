/**
 * Lets `import` read TypeScript, by a compiler that comes with this command: the one in Node.js and amaro, whose own
 * packages ask for a newer Node.js than this one does. So a file is read alike by every Node.js, whether it strips
 * types itself or not, and whatever `typescript` its project has.
 */
import * as nodeModule from "node:module";
import { isError } from "@nbit/torch/realm";
import { CommandError } from "../errors.js";
import * as hooks from "./typescript-hooks.js";

/** The flag of Node's that begins a process or thread of TypeScript. */
export const TYPESCRIPT_PRELOAD = `--import=${new URL("../launch/typescript-preload.js", import.meta.url).href}`;

let enabled = false;

/** Of this thread; once is enough. Bun reads TypeScript itself. */
export function enableTypeScript(): void {
  if (enabled || "bun" in process.versions) return;
  enabled = true;
  // For threads that load data and ranks: they begin with the flags that stand here.
  if (!process.execArgv.includes(TYPESCRIPT_PRELOAD)) process.execArgv.push(TYPESCRIPT_PRELOAD);
  process.setSourceMapsEnabled(true); // stacks name the user's lines
  const inThread: unknown = Reflect.get(nodeModule, "registerHooks"); // Node.js 22.15; after that, `register` warns
  if (typeof inThread === "function") Reflect.apply(inThread, nodeModule, [hooks]);
  else nodeModule.register(new URL("typescript-hooks.js", import.meta.url));
}

/** What `import` threw, as one message where it is about the TypeScript itself; else as it is. */
export function explainTypeScript(command: string, error: unknown): unknown {
  if (!isError(error) || !("code" in error) || error.code !== "ERR_TYPESCRIPT") return error;
  return new CommandError(
    "ERR_TYPESCRIPT",
    `nbit ${command}: expected TypeScript that can be read. Received: ${error.message}`,
  );
}
