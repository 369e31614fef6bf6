/** Trace files of libtorch's, and what it does not write into them. */
import { copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import type { FunctionEvent } from "./event.js";

/** A copy, compressed where the path ends with `.gz`: a reader sees the old file or the whole new one. */
export function copyTrace(from: string, path: string): void {
  const part = join(dirname(resolve(path)), `.${process.pid}-${Date.now()}.trace.part`);
  try {
    if (path.endsWith(".gz")) writeFileSync(part, gzipSync(readFileSync(from)));
    else copyFileSync(from, part);
    renameSync(part, path);
  } finally {
    rmSync(part, { force: true });
  }
}

interface TraceFile {
  readonly traceEvents?: readonly { readonly name?: string; args?: Record<string, unknown> }[];
}
/** The places of operators: libtorch knows the stacks of Python only. */
export function addStacks(file: string, events: readonly FunctionEvent[]): void {
  const stacks = new Map<string, string>();
  for (const { id, traceName, stack } of events)
    if (stack.length > 0) stacks.set(`${id} ${traceName}`, [...stack].reverse().join(";"));
  const trace = JSON.parse(readFileSync(file, "utf8")) as TraceFile;
  for (const event of trace.traceEvents ?? []) {
    const stack = stacks.get(`${String(event.args?.["External id"])} ${event.name ?? ""}`);
    if (stack !== undefined && event.args !== undefined) event.args["Call stack"] = stack;
  }
  writeFileSync(file, JSON.stringify(trace));
}

/** Values by key, as JSON: libtorch would change signs of them. */
export function addMetadata(file: string, metadata: ReadonlyMap<string, string>): void {
  const rows = [...metadata].map(([key, json]) => `${JSON.stringify(key)}:${json},`).join("");
  writeFileSync(
    file,
    readFileSync(file, "utf8").replace("{", () => `{${rows}`),
  );
}
