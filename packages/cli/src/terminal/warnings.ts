/** Warnings of a command: one line each, `warning CODE: text`. */
import { plainText } from "@nbit/torch/messages";

/**
 * In the place of Node's own two lines. `--no-warnings` and `--trace-warnings` are as ever; so is what listens to
 * "warning" itself.
 */
export function showWarnings(): void {
  const flags = [...process.execArgv, ...(process.env["NODE_OPTIONS"] ?? "").split(" ")];
  if (process.env["NODE_NO_WARNINGS"] === "1") return;
  if (flags.some((flag) => ["--no-warnings", "--trace-warnings"].includes(flag))) return;
  for (const listener of process.listeners("warning"))
    if (listener.name === "onWarning") process.removeListener("warning", listener); // Node's own
  const said = new Set<string>();
  process.on("warning", (warning) => {
    const line = warningLine(warning);
    if (said.has(line)) return; // once is enough
    said.add(line);
    process.stderr.write(`${line}\n`);
  });
}

export function warningLine(warning: Error & { readonly code?: unknown }): string {
  const { code, name, message } = warning;
  return plainText(`warning ${typeof code === "string" && code !== "" ? code : name}: ${message}`);
}
