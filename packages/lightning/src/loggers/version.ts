import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { asFileError, withFile } from "@nbit/torch";
import { isError } from "@nbit/torch/realm";

/**
 * Make the next free `version_<n>` folder under `root` and return n.
 *
 * One more than the highest there is. Making the folder is what claims the number, so runs that start at once get
 * different ones.
 */
export function claimVersion(fn: string, root: string): number {
  const names = withFile(fn, "make the folder", root, () => {
    mkdirSync(root, { recursive: true });
    return readdirSync(root);
  });
  let next = 0;
  for (const name of names) {
    const match = /^version_(\d{1,15})$/.exec(name); // beyond, counting on would not be exact
    if (match !== null) next = Math.max(next, Number(match[1]) + 1);
  }
  for (;;) {
    const folder = join(root, `version_${next}`);
    try {
      mkdirSync(folder);
      return next;
    } catch (error) {
      if (!(isError(error) && "code" in error && error.code === "EEXIST"))
        throw asFileError(fn, "make the folder", folder, error);
      next++;
    }
  }
}

/** Folder of a version: a number's is `version_<n>`, a string is the folder's name. */
export function folderOf(version: number | string): string {
  return typeof version === "string" ? version : `version_${version}`;
}

/** Make a folder, or say why that cannot be. */
export function makeFolder(fn: string, folder: string): void {
  withFile(fn, "make the folder", folder, () => mkdirSync(folder, { recursive: true }));
}
