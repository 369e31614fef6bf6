import { escape } from "./html.js";
import { swatch } from "./palette.js";
import type { Run } from "./records.js";

/** A run's name behind a piece of its line; a long one breaks where its words do. `note` stands below, as HTML. */
export function namedRun(run: Run, index: number, note = ""): string {
  const below = note === "" ? "" : `<small>${note}</small>`;
  return `<span class="named">${swatch(index)}<span>${breakable(run.name)}${below}</span></span>`;
}

/** A long text may break behind what joins words in names and paths. */
export function breakable(text: string): string {
  if (text.length <= 24) return escape(text);
  return escape(text).replace(/[_\-/=]|\.(?!\d)/g, "$&<wbr>");
}
