/** What a saved file of settings says of its run, in comments. */
import { readFileSync } from "node:fs";
import { versions } from "@nbit/torch";

/** @param args - Of the command, as they were given. */
export function configHeader(args: readonly string[], program = "nbit fit"): string[] {
  return [
    `${program} ${args.join(" ")}`.trimEnd(),
    `nbit ${ownVersion()}, Node.js ${process.versions.node}, libtorch ${versions().libtorch}, ${new Date().toISOString()}`,
    "To repeat it: nbit fit --config <this file>",
  ];
}
function ownVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    readonly version: string;
  };
  return manifest.version;
}
