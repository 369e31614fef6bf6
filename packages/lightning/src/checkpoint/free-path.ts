import { join } from "node:path";
import { MisconfigurationError } from "../errors.js";
import { isFolder, isTaken, leadsAway, type OwnFiles } from "./own-files.js";

export const EXTENSION = ".ckpt";

export interface Replacing {
  /** What may be overwritten, where it is one of `own`; "": nothing. */
  readonly replaced: string;
  readonly own: OwnFiles;
  /** Whether a folder will be written, and not a file: neither takes the place of the other. */
  readonly sharded: boolean;
  /** A file of that name is overwritten, whosever it is. */
  readonly overwrites?: boolean;
}

/** Where a checkpoint of this name goes: with a version where the name is taken. */
export function freePath(
  directory: string,
  name: string,
  { replaced, own, sharded, overwrites = false }: Replacing,
): string {
  const path = join(directory, name + EXTENSION);
  if (leadsAway(directory, path))
    throw new MisconfigurationError(
      "ModelCheckpoint",
      "filename to lead through no symbolic link",
      path,
      "Set dirpath to where checkpoints shall be.",
      "ERR_MODEL_CHECKPOINT",
    );
  const mayReplace = (candidate: string): boolean =>
    (overwrites || (candidate === replaced && own.has(directory, candidate))) && isFolder(candidate) === sharded;
  let candidate = path;
  for (let version = 1; isTaken(candidate) && !mayReplace(candidate); version++)
    candidate = `${path.slice(0, -EXTENSION.length)}-v${version}${EXTENSION}`;
  return candidate;
}
