import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** A folder of the test file, or of the running test, that calls it: gone when its tests are done. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `nbit-${name}-`));
  after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** As many as are asked for: each call of what this gives is another empty one. */
export function temporaryFolders(name: string): () => string {
  const root = temporaryFolder(name);
  let next = 0;
  return () => {
    const folder = join(root, String(next++));
    mkdirSync(folder);
    return folder;
  };
}
