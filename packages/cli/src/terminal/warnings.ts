/** Warnings of a command: one line each, `warning CODE: text`. */
import { plainText } from "@nbit/torch/messages";

/**
 * In the place of Node's own two lines. `--no-warnings` and `--trace-warnings` are as ever; so is what listens to
 * "warning" itself.
 *
 * @returns What makes warnings be shown as they were.
 */
export function showWarnings(): () => void {
  const flags = [...process.execArgv, ...(process.env["NODE_OPTIONS"] ?? "").split(" ")];
  const asTheyWere = (): void => undefined;
  if (process.env["NODE_NO_WARNINGS"] === "1") return asTheyWere;
  if (flags.some((flag) => ["--no-warnings", "--trace-warnings"].includes(flag))) return asTheyWere;
  const nodes = process.listeners("warning").filter((listener) => listener.name === "onWarning");
  for (const listener of nodes) process.removeListener("warning", listener);
  const said = new Set<string>();
  const show = (warning: Error): void => {
    const line = warningLine(warning);
    if (said.has(line)) return; // once is enough
    said.add(line);
    process.stderr.write(`${line}\n`);
  };
  process.on("warning", show);
  return () => {
    process.removeListener("warning", show);
    for (const listener of nodes) process.on("warning", listener);
  };
}

export function warningLine(warning: Error & { readonly code?: unknown }): string {
  const { code, name, message } = warning;
  return plainText(`warning ${typeof code === "string" && code !== "" ? code : name}: ${message}`);
}
