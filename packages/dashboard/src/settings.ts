import { escape } from "./html.js";
import { breakable, namedRun } from "./run-name.js";
import type { Run } from "./records.js";

/** Hyper-parameters of the runs: of several those by which they differ, of one all. Empty where there are none. */
export function settingsTable(runs: readonly Run[]): string {
  const [only, ...others] = runs;
  if (only !== undefined && others.length === 0) return settingsOf(only);
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.hyperparameters ?? {})))];
  const text = (run: Run, name: string): string => valueText(run.hyperparameters?.[name]);
  const shown = names.filter((name) => new Set(runs.map((run) => text(run, name))).size > 1);
  if (shown.length === 0) return "";
  const head = shown.map((name) => `<th scope="col">${breakable(name)}</th>`).join("");
  const rows = runs.map((run, i) => {
    const cells = shown.map(
      (name) => `<td class="settings" data-label="${escape(name)}">${breakable(text(run, name))}</td>`,
    );
    return `<tr><td class="run">${namedRun(run, i)}</td>${cells.join("")}</tr>`;
  });
  return `<h2>Hyper-parameters that differ</h2>
<div class="card"><table class="stacks"><thead><tr><th scope="col">Run</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

/** One below the other: there may be many. */
function settingsOf({ hyperparameters = {} }: Run): string {
  const rows = Object.entries(hyperparameters).map(
    ([name, value]) =>
      `<tr><th scope="row">${breakable(name)}</th><td class="settings">${breakable(valueText(value))}</td></tr>`,
  );
  if (rows.length === 0) return "";
  return `<h2>Hyper-parameters</h2>\n<div class="card"><table class="list"><tbody>${rows.join("")}</tbody></table></div>`;
}

function valueText(value: unknown): string {
  if (value === undefined) return "–";
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}
