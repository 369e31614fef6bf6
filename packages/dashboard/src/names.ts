import { dirname, resolve, sep } from "node:path";
import type { Run } from "./records.js";

/**
 * The runs under names that differ: those of one name get as much of their folders as tells them apart, those of one
 * file a number.
 */
export function distinct(runs: readonly Run[]): Run[] {
  const placed = runs.map((run, i) => ({ ...run, name: placedName(run, i, runs) }));
  return placed.map((run, i) => {
    const alike = placed.filter(({ name }) => name === run.name);
    if (alike.length === 1) return run;
    const before = placed.slice(0, i).filter(({ name }) => name === run.name).length;
    return { ...run, name: `${run.name} #${before + 1}` };
  });
}

function placedName(run: Run, index: number, runs: readonly Run[]): string {
  const mine = foldersOf(run);
  const others = runs
    .filter((other, i) => i !== index && other.name === run.name && other.source !== run.source)
    .map(foldersOf);
  if (mine.length === 0 || others.length === 0) return run.name;
  // The folder that gave the name says nothing new.
  const from = mine.at(-1) === run.name ? mine.slice(0, -1) : mine;
  for (let count = 1; count <= from.length; count++) {
    const tail = from.slice(-count).join("/");
    const same = others.some((other) => {
      const folders = other.at(-1) === run.name ? other.slice(0, -1) : other;
      return folders.slice(-count).join("/") === tail;
    });
    if (!same) return `${tail}/${run.name}`;
  }
  return run.name;
}

function foldersOf({ source }: Run): string[] {
  return source === undefined
    ? []
    : dirname(resolve(source))
        .split(sep)
        .filter((part) => part !== "");
}
