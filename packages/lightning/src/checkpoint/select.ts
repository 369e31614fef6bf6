import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { MisconfigurationError } from "../errors.js";
import type { TrainerView } from "../trainer-view.js";
import { warn } from "../warnings.js";
import { isCustom } from "./resolve-io.js";
import { ModelCheckpoint } from "./model-checkpoint.js";

/**
 * The file that `ckptPath` means: a path, "best" (of the first ModelCheckpoint) or "last" (the newest last.ckpt); null
 * for none.
 */
export function selectCheckpoint(trainer: TrainerView, ckptPath: string | null | undefined): string | null {
  if (ckptPath === null || ckptPath === undefined) return null;
  if (ckptPath !== "best" && ckptPath !== "last") {
    if (typeof ckptPath === "string" && (isCustom(trainer.checkpointIO) || isSaved(ckptPath))) return ckptPath;
    throw new MisconfigurationError(
      "ckptPath",
      'a checkpoint file that exists, "last" or "best"',
      ckptPath,
      undefined,
      "ERR_CHECKPOINT_PATH",
    );
  }
  const callbacks = trainer.callbacks.filter((callback) => callback instanceof ModelCheckpoint);
  const [first] = callbacks;
  if (first === undefined)
    throw new MisconfigurationError(
      "ckptPath",
      "a path, since there is no ModelCheckpoint",
      ckptPath,
      undefined,
      "ERR_CHECKPOINT_PATH",
    );
  if (ckptPath === "best") {
    if (first.bestModelPath === "")
      throw new MisconfigurationError(
        "ckptPath",
        "a path, since the ModelCheckpoint has saved nothing yet",
        ckptPath,
        undefined,
        "ERR_CHECKPOINT_PATH",
      );
    return first.bestModelPath;
  }
  const newest = callbacks
    .flatMap((callback) => lastIn(callback.resolveDirectory(trainer)))
    .sort((a, b) => b.time - a.time)[0];
  if (newest === undefined) {
    warn(
      "WARN_NO_LAST_CHECKPOINT",
      'ckptPath: "last" found no last checkpoint; nothing was loaded. Save one with new ModelCheckpoint({ saveLast: true }).',
    );
    return null;
  }
  return newest.path;
}

/** Of a sharded checkpoint's folder. */
export const MANIFEST = "manifest.json";
/** A file, or the folder of a sharded checkpoint whose save came to its end. @throws where there is neither. */
export function isCheckpoint(path: string): boolean {
  const stat = statSync(path);
  return stat.isFile() || (stat.isDirectory() && existsSync(join(path, MANIFEST)));
}

/** Also for what no file can be called. */
function isSaved(path: string): boolean {
  try {
    return isCheckpoint(path);
  } catch {
    return false;
  }
}

function lastIn(folder: string): { path: string; time: number }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names
    .filter((name) => /^last(-v\d+)?\.ckpt$/.test(name))
    .flatMap((name) => {
      const path = join(folder, name);
      // A link that leads nowhere, or a folder of that name, is no checkpoint.
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat === undefined || !isCheckpoint(path)) return [];
      return [{ path, time: stat.isFile() ? stat.mtimeMs : statSync(join(path, MANIFEST)).mtimeMs }];
    });
}
