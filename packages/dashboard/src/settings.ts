import { escape } from "./html.js";
import { swatch } from "./palette.js";
import type { Run } from "./records.js";

/** Hyper-parameters of the runs: of several those by which they differ, of one all. Empty where there are none. */
export function settingsTable(runs: readonly Run[]): string {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.hyperparameters ?? {})))];
  const text = (run: Run, name: string): string => valueText(run.hyperparameters?.[name]);
  const shown =
    runs.length === 1 ? names : names.filter((name) => new Set(runs.map((run) => text(run, name))).size > 1);
  if (shown.length === 0) return "";
  const heading = runs.length === 1 ? "Hyper-parameters" : "Hyper-parameters that differ";
  const head = shown.map((name) => `<th scope="col">${escape(name)}</th>`).join("");
  const rows = runs.map((run, i) => {
    const cells = shown.map(
      (name) => `<td class="settings" data-label="${escape(name)}">${escape(text(run, name))}</td>`,
    );
    return `<tr><td class="run">${swatch(i)}${escape(run.name)}</td>${cells.join("")}</tr>`;
  });
  return `<h2>${heading}</h2>
<div class="card"><table class="stacks"><thead><tr><th scope="col">Run</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

function valueText(value: unknown): string {
  if (value === undefined) return "–";
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}
