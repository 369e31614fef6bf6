import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";

/**
 * Make the next free `version_<n>` folder under `root` and return n.
 *
 * One more than the highest there is. Making the folder is what claims the number, so runs that start at once get different ones.
 */
export function claimVersion(root: string): number {
  mkdirSync(root, { recursive: true });
  let next = 0;
  for (const name of readdirSync(root)) {
    const match = /^version_(\d+)$/.exec(name);
    if (match !== null) next = Math.max(next, Number(match[1]) + 1);
  }
  for (;;) {
    try {
      mkdirSync(join(root, `version_${next}`));
      return next;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      next++;
    }
  }
}
