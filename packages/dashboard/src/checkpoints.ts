import { formatInteger } from "@nbit/torch/format";
import { basename } from "node:path";
import type { AxisMark } from "./chart/line-chart.js";
import type { CheckpointRecord, Run } from "./records.js";
import { breakable, namedRun } from "./run-name.js";

/** More of one run than this could not be told apart on an axis. */
const MOST_MARKS = 120;

/** Checkpoints as marks on the axis of steps, those of one step together. */
export function checkpointMarks(runs: readonly Run[]): AxisMark[] {
  return runs.flatMap((run, colour) => {
    const steps = [...byStep(run.checkpoints ?? [])];
    const every = Math.ceil(steps.length / MOST_MARKS);
    return steps
      .filter((_, i) => (steps.length - 1 - i) % every === 0) // the last stays
      .map(([step, checkpoints]) => ({
        x: step,
        colour,
        text: `checkpoint of step ${formatInteger(step)}: ${checkpoints.map(({ path }) => basename(path)).join(", ")}`,
      }));
  });
}

function byStep(checkpoints: readonly CheckpointRecord[]): Map<number, CheckpointRecord[]> {
  const steps = new Map<number, CheckpointRecord[]>();
  for (const checkpoint of checkpoints) steps.set(checkpoint.step, [...(steps.get(checkpoint.step) ?? []), checkpoint]);
  return steps;
}

/** Where they are. Empty without any. */
export function checkpointTable(runs: readonly Run[]): string {
  const rows = runs.flatMap((run, i) =>
    (run.checkpoints ?? []).map(
      ({ step, epoch, path }) =>
        `<tr><td class="run">${namedRun(run, i)}</td><td data-label="Step">${formatInteger(step)}</td><td data-label="Epoch">${formatInteger(epoch + 1)}</td><td class="path" data-label="File">${breakable(path)}</td></tr>`,
    ),
  );
  if (rows.length === 0) return "";
  const head = `${["Run", "Step", "Epoch"].map((title) => `<th scope="col">${title}</th>`).join("")}<th scope="col" class="path">File</th>`;
  return `<details><summary>Checkpoints</summary><div class="card"><table class="stacks"><thead><tr>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div></details>`;
}
