/** Which checkpoints a launch has written, and from which of them it goes on when its processes were started again. */
import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { plainText } from "@nbit/torch";
import type { TrainerView } from "../trainer-view.js";
import { ModelCheckpoint } from "./model-checkpoint.js";
import { launchMark, LAUNCH, restartCount } from "./launch-mark.js";
import { headerOf } from "./own-files.js";
import { MANIFEST } from "./select.js";

/**
 * The newest checkpoint of this launch and of this fit of its script, where the launcher has started all processes
 * again; null: it has not, or there is none, and training starts anew. Says which.
 */
export function selectAfterRestart(trainer: TrainerView): string | null {
  const restart = restartCount();
  if (restart === 0) return null;
  const mark = launchMark(trainer);
  const callbacks = trainer.callbacks.filter((callback) => callback instanceof ModelCheckpoint);
  const found =
    mark === null
      ? null
      : newest(
          callbacks.flatMap((callback) => foldersOf(callback, trainer)),
          mark,
        );
  console.log(
    plainText(
      `fit: started again by the launcher (restart ${restart}): ${found === null ? "no checkpoint of this launch was found, training starts anew" : `goes on from ${found}`}.`,
    ),
  );
  return found;
}

/** Loggers give each start a folder of its own, beside those of the starts before. */
function foldersOf(callback: ModelCheckpoint, trainer: TrainerView): string[] {
  const folder = callback.resolveDirectory(trainer);
  const logDir = trainer.logger?.logDir;
  if (callback.hasOwnDirectory || logDir == null) return [folder];
  const beside = dirname(logDir);
  return [...new Set([folder, ...namesIn(beside, false).map((name) => join(beside, name, "checkpoints"))])];
}

function newest(folders: readonly string[], mark: string): string | null {
  const files = folders
    .flatMap((folder) => namesIn(folder, true).map((name) => join(folder, name)))
    .filter((path) => path.endsWith(".ckpt"))
    .flatMap((path) => {
      const stat = statSync(path, { throwIfNoEntry: false, bigint: true });
      if (stat?.isFile() === true) return [{ path, time: stat.mtimeNs }];
      const manifest = statSync(join(path, MANIFEST), { throwIfNoEntry: false, bigint: true });
      return manifest === undefined ? [] : [{ path, time: manifest.mtimeNs }];
    })
    .sort((a, b) => (a.time < b.time ? 1 : -1));
  return files.find(({ path }) => markOf(path) === mark)?.path ?? null;
}

function namesIn(folder: string, recursive: boolean): string[] {
  try {
    return readdirSync(folder, { recursive }).map(String);
  } catch {
    return []; // not made yet
  }
}

function markOf(path: string): string | null {
  try {
    return headerOf(path)[LAUNCH] ?? null;
  } catch {
    return null; // no checkpoint
  }
}
