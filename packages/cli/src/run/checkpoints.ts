/** Checkpoints that earlier runs left: which one `last` and `best` mean, and what it says of itself. */
import { existsSync, readdirSync, statSync, type Stats } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { ModelCheckpoint, type Trainer } from "@nbit/lightning";
import { openCheckpoint, ShardedCheckpoint, unpackState } from "@nbit/torch";
import { isPlain } from "@nbit/torch/realm";
import { CommandError } from "../errors.js";
import type { Values } from "../settings/fill.js";

interface Saved {
  readonly path: string;
  readonly time: number;
}

/** A file, or a folder of parts whose save came to its end. */
const MANIFEST = "manifest.json";

/**
 * The checkpoint that `--ckptPath` means: a path as it is; `last`, the newest of the newest run; `best`, the one that the
 * newest run's ModelCheckpoint ranked first.
 *
 * @param run - A run's folder; null: the newest with checkpoints.
 * @returns null: no run has left one.
 * @throws {CommandError} `ERR_CHECKPOINT_PATH`: `run` holds no checkpoint.
 */
export function findCheckpoint(command: string, ckptPath: string, trainer: Trainer, run: string | null): string | null {
  if (ckptPath !== "last" && ckptPath !== "best") return ckptPath;
  const folders = run === null ? checkpointFolders(trainer) : [join(run, "checkpoints"), run];
  const runs = folders.map(savedIn).filter((saved) => saved.length > 0);
  const [newest] = runs.sort((a, b) => timeOf(b) - timeOf(a));
  if (newest === undefined) {
    if (run === null) return null;
    throw new CommandError(
      "ERR_CHECKPOINT_PATH",
      `nbit ${command}: expected --run to be the folder of a run with checkpoints. Received: ${run}.`,
    );
  }
  const [last] = newest;
  if (last === undefined) return null;
  return ckptPath === "last" ? last.path : bestOf(newest);
}

const timeOf = ([first]: readonly Saved[]): number => first?.time ?? 0;

/** Newest first: `last.ckpt` and what an interrupt left stand before others of the same time. */
function savedIn(folder: string): Saved[] {
  return namesIn(folder)
    .filter((name) => name.endsWith(".ckpt"))
    .flatMap((name) => {
      const path = join(folder, name);
      const time = timeOfSave(path);
      return time === null ? [] : [{ path, time }];
    })
    .sort((a, b) => b.time - a.time || Number(isLast(b.path)) - Number(isLast(a.path)) || b.path.localeCompare(a.path));
}
const isLast = (path: string): boolean => /^(last|interrupted)(-v\d+)?\.ckpt$/.test(basename(path));

/** Null: it is no checkpoint. */
function timeOfSave(path: string): number | null {
  const stat = look(path);
  if (stat?.isFile() === true) return stat.mtimeMs;
  return stat?.isDirectory() === true ? (look(join(path, MANIFEST))?.mtimeMs ?? null) : null;
}
const look = (path: string): Stats | undefined => statSync(path, { throwIfNoEntry: false });
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** By what the newest says of its ModelCheckpoint; where it ranks none, the newest. */
function bestOf(saved: readonly Saved[]): string {
  for (const { path } of saved) {
    const best = headOf(path).best;
    // Runs move with their folder: the name counts.
    const here = best === null ? undefined : saved.find((one) => basename(one.path) === basename(best));
    if (here !== undefined) return here.path;
  }
  return saved[0]?.path ?? "";
}

/** Where runs of this Trainer's loggers and callbacks leave checkpoints. Claims no version. */
function checkpointFolders(trainer: Trainer): string[] {
  const roots = trainer.loggers.flatMap((logger) =>
    "rootDir" in logger && typeof logger.rootDir === "string" ? [logger.rootDir] : [],
  );
  return [
    ...roots.flatMap((root) => namesIn(root).map((version) => join(root, version, "checkpoints"))),
    resolve(trainer.defaultRootDir, "checkpoints"),
    ...trainer.callbacks.flatMap((callback) =>
      callback instanceof ModelCheckpoint && callback.dirpath !== null ? [callback.dirpath] : [],
    ),
  ];
}

/** The run that a checkpoint lies in: the folder with its settings, its log and its checkpoints. */
export function runOf(checkpoint: string): string {
  const folder = dirname(resolve(checkpoint));
  return basename(folder) === "checkpoints" ? dirname(folder) : folder;
}

export interface Head {
  readonly hyperparameters: Values;
  readonly data: Values;
  /** Path of the best one, as it was when this one was saved. */
  readonly best: string | null;
}
export const NO_HEAD: Head = { hyperparameters: {}, data: {}, best: null };

/** What a checkpoint says of itself, without its tensors. A file of another kind says nothing. */
export function headOf(path: string): Head {
  const json = existsSync(path) ? jsonOf(path) : null;
  if (json === null) return NO_HEAD;
  const state: unknown = JSON.parse(json);
  if (!isPlain(state)) return NO_HEAD;
  const callbacks = isPlain(state["callbacks"]) ? Object.entries(state["callbacks"]) : [];
  const [best] = callbacks.flatMap(([key, value]) =>
    key.startsWith("ModelCheckpoint") && isPlain(value) && typeof value["bestModelPath"] === "string"
      ? [value["bestModelPath"]]
      : [],
  );
  const data = isPlain(state["datamodule"]) ? state["datamodule"]["hyperparameters"] : undefined;
  return {
    hyperparameters: plainValues(state["hyperparameters"]),
    data: plainValues(data),
    best: best === undefined || best === "" ? null : best,
  };
}

/** Values that only a file's own notation has (infinities, bigints) as they are in a program. */
function plainValues(value: unknown): Values {
  if (!isPlain(value)) return {};
  try {
    const unpacked = unpackState({ tensors: {}, json: JSON.stringify(value) });
    return isPlain(unpacked) ? unpacked : {};
  } catch {
    return {}; // tensors among them: the module restores itself
  }
}

/** Null: it is none of ours, and what reads it says so. */
function jsonOf(path: string): string | null {
  try {
    if (statSync(path).isDirectory()) {
      const folder = ShardedCheckpoint.open(path);
      folder.close();
      return folder.json;
    }
    const { file, json } = openCheckpoint(path);
    file.close();
    return json;
  } catch {
    return null;
  }
}
