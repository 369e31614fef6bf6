import { resolve } from "node:path";
import { checkPath, writeText } from "@nbit/torch/files";
import { atMost, checkOptions, kinds, type OptionNames } from "@nbit/torch/options";
import { formatInteger, formatSeconds, significant } from "@nbit/torch/format";
import { escape } from "../html.js";
import { STYLE } from "../style.js";
import { checkStepPrecision, readStepPrecision } from "./data.js";
import type { ModulePrecision, NumberRange, OperatorUse, StepPrecisionData } from "./data.js";
import { gradientsOf, limitsOf, ordered, overall, splitOf } from "./figures.js";
import type { Limits } from "./figures.js";
import { axisLabels, axisOf, share, strip } from "./strip.js";
import type { Axis } from "./strip.js";
import { PRECISION_STYLE } from "./style.js";

export interface PrecisionPageOptions {
  /** Default: the model's name. */
  readonly title?: string;
}
const NAMES: OptionNames<PrecisionPageOptions> = { title: kinds.text };

/**
 * Draw what a step computed in as one HTML file: for each module, its time by dtype with the casts as seams, and how
 * its activations and gradients fit the compute dtype.
 *
 * The file needs no network, no other file and no script. Light or dark, as the reader's system is. Written whole or
 * not at all.
 *
 * @param source - What `PrecisionReport` wrote (`path`), or a `StepPrecision` itself.
 * @returns The absolute path of the file.
 * @throws {RunLogError} When the source is not such a report.
 * @example
 * writePrecisionReport("precision.html", "precision.json");
 */
export function writePrecisionReport(
  path: string,
  source: string | StepPrecisionData,
  options: PrecisionPageOptions = {},
): string {
  atMost("writePrecisionReport", arguments, 3);
  checkPath("writePrecisionReport", path);
  const target = resolve(path);
  const html = renderPrecisionReport(source, options);
  writeText("writePrecisionReport", target, html);
  return target;
}

/** As `writePrecisionReport`, but returns the page. */
export function renderPrecisionReport(source: string | StepPrecisionData, options: PrecisionPageOptions = {}): string {
  atMost("renderPrecisionReport", arguments, 2);
  checkOptions("renderPrecisionReport", options, NAMES);
  const data =
    typeof source === "string" ? readStepPrecision(source) : checkStepPrecision(source, "renderPrecisionReport");
  const limits = limitsOf(data.compute);
  const title = options.title ?? `${data.model} in ${data.precision}`;
  const subtitle = [
    `precision ${data.precision}`,
    `computes in ${data.compute}`,
    data.device,
    `step ${formatInteger(data.step)}`,
    data.lossScale === 1 ? "" : `loss scale ${formatInteger(data.lossScale)}`,
  ]
    .filter((part) => part !== "")
    .join(" · ");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escape(title)}</title>
<style>${STYLE}
${PRECISION_STYLE}</style>
</head>
<body>
<main>
<h1>${escape(title)}</h1>
<p class="sub">${escape(subtitle)}</p>
${tiles(data, limits)}
<h2>Module by module</h2>
${key(data)}
${map(data, limits)}
${operatorTable(data)}
<footer>Written by nbit. Times are those of the CPU; on a GPU they are the time of launching. This file needs no network.</footer>
</main>
</body>
</html>
`;
}

function tile(value: string, text: string, warn = false): string {
  return `<div class="tile${warn ? " warn" : ""}"><b>${escape(value)}</b><span>${escape(text)}</span></div>`;
}

function tiles(data: StepPrecisionData, limits: Limits): string {
  const all = splitOf(data.modules.flatMap((m) => m.operators));
  const inCompute = all.byDtype.get(data.compute) ?? 0;
  const activations = overall(data, (m) => m.activations, limits);
  const gradients = overall(data, gradientsOf, limits);
  const unscaled = overall(data, gradientsOf, limits, -Math.log2(data.lossScale));
  const fit = (shares: typeof activations): string =>
    shares.overflow > 0
      ? `${share(shares.overflow)} overflow`
      : shares.lost > 0
        ? `${share(shares.lost)} lost`
        : "all fit";
  const where = (shares: typeof activations, what: string): string =>
    shares.worst !== null && shares.lost + shares.overflow > 0
      ? `of ${what} in ${data.compute}, most in ${shares.worst}`
      : `${what} into ${data.compute}`;
  const scaled =
    data.lossScale === 1
      ? ""
      : unscaled.lost > gradients.lost
        ? `; without the loss scale ${share(unscaled.lost)} would be lost`
        : "";
  return `<div class="tiles">
${tile(share(inCompute / (all.seconds || 1)), `of the time computes in ${data.compute}`)}
${tile(formatInteger(all.casts), `casts between dtypes, ${share(all.castSeconds / (all.seconds || 1))} of the time`)}
${tile(fit(activations), where(activations, "activations"), activations.overflow > 0 || activations.lost > 0.01)}
${tile(fit(gradients), `${where(gradients, "gradients")}${scaled}`, gradients.overflow > 0 || gradients.lost > 0.01)}
</div>`;
}

function key(data: StepPrecisionData): string {
  const dtypes = ordered(data.modules.flatMap((m) => m.operators.map((o) => o.dtype ?? "other")));
  const swatches = dtypes
    .map((d) => `<span class="d-${escape(d)}"><i></i>${d === "other" ? "integers, views" : escape(d)}</span>`)
    .join("");
  return `<div class="key">${swatches}<span><i class="seam"></i>cast</span><span><i class="zone"></i>${escape(data.compute)} holds it</span><span><i class="weak"></i>with fewer digits</span><span><i class="out"></i>lost or overflows</span></div>`;
}

/** Rows from one axis to the next. */
const AXIS_EVERY = 10;

/** The picture: one row per module. */
function map(data: StepPrecisionData, limits: Limits): string {
  const rows = data.modules.filter((m) => m.operators.length > 0 || hasRows(data, m));
  const longest = Math.max(
    1e-12,
    ...rows.flatMap((m) =>
      (["forward", "backward"] as const).map((phase) => splitOf(m.operators.filter((o) => o.phase === phase)).seconds),
    ),
  );
  const working = rows.filter((m) => m.operators.length > 0);
  const activationAxis = axisOf(
    working.map((m) => m.activations).filter((r) => r !== null),
    limits,
  );
  const gradientAxis = axisOf(
    working.map(gradientsOf).filter((r) => r !== null),
    limits,
  );
  const axes = `<td></td><td>Full width: ${formatSeconds(longest)}</td><td class="numbers" data-label="Activations">${axisLabels(activationAxis)}</td><td class="numbers" data-label="Gradients">${axisLabels(gradientAxis)}</td>`;
  const body = rows
    .map((m, i) => {
      // Every screenful has its axis: the foot of a long table is out of sight.
      const repeated = i > 0 && i % AXIS_EVERY === 0 ? `<tr class="axes">${axes}</tr>\n` : "";
      return repeated + row(m, longest, activationAxis, gradientAxis);
    })
    .join("\n");
  return `<div class="card"><table class="map">
<thead><tr><th scope="col">Module</th><th scope="col">Time, forward and backward</th><th scope="col">Activations</th><th scope="col">Gradients${data.lossScale === 1 ? "" : ` × ${formatInteger(data.lossScale)}`}</th></tr></thead>
<tbody>
${body}
</tbody>
<tfoot><tr>${axes}</tr></tfoot>
</table></div>`;
}

function hasRows(data: StepPrecisionData, group: ModulePrecision): boolean {
  return group.name !== "" && data.modules.some((m) => m.name.startsWith(`${group.name}.`) && m.operators.length > 0);
}

function row(m: ModulePrecision, longest: number, activationAxis: Axis, gradientAxis: Axis): string {
  const depth = m.name === "" ? 0 : m.name.split(".").length - 1;
  const label = m.name === "" ? "step" : (m.name.split(".").at(-1) ?? m.name);
  const name = `<td class="name" style="padding-left:${14 + 18 * depth}px" title="${escape(m.name)}">${escape(label)}<small>${escape(m.type)}</small></td>`;
  if (m.operators.length === 0) return `<tr class="group">${name}<td colspan="3"></td></tr>`;
  const lanes = (["forward", "backward"] as const)
    .map((phase) =>
      lane(
        m.operators.filter((o) => o.phase === phase),
        phase,
        longest,
      ),
    )
    .join("");
  const { casts, castSeconds, seconds: spent } = splitOf(m.operators);
  const note =
    casts === 0
      ? ""
      : `<div class="note">${casts} cast${casts === 1 ? "" : "s"}, ${share(castSeconds / (spent || 1))} of its time</div>`;
  return `<tr>${name}<td class="flow">${lanes}${note}</td><td class="numbers" data-label="Activations">${strip(m.activations, activationAxis, `Activations of ${label}`)}</td><td class="numbers" data-label="Gradients">${strip(gradientsOf(m), gradientAxis, `Gradients of ${label}`)}</td></tr>`;
}

function lane(operators: readonly OperatorUse[], phase: "forward" | "backward", longest: number): string {
  const { byDtype, casts, castSeconds, seconds: total } = splitOf(operators);
  const width = (s: number): string => `width:${((100 * s) / longest).toFixed(2)}%`;
  const parts = ordered(byDtype.keys())
    .filter((d) => (byDtype.get(d) ?? 0) > 0)
    .map(
      (d) =>
        `<span class="d-${escape(d)}" style="${width(byDtype.get(d) ?? 0)}" title="${escape(d)}: ${formatSeconds(byDtype.get(d) ?? 0)}"></span>`,
    );
  if (casts > 0)
    parts.unshift(
      `<span class="seam" style="${width(castSeconds)}" title="${casts} casts: ${formatSeconds(castSeconds)}"></span>`,
    );
  const label = `${phase}: ${formatSeconds(total)}${casts > 0 ? `, ${casts} casts` : ""}`;
  return `<div class="lane"><span>${phase === "forward" ? "fwd" : "bwd"}</span><div class="track" role="img" aria-label="${label}">${parts.join("")}</div></div>`;
}

const REASONS: Readonly<Record<string, string>> = {
  lower: "autocast: 16 bits",
  float32: "autocast: float32",
  promote: "autocast: widest input",
  setOptDtype: "autocast: float32 sum",
  banned: "autocast: banned",
  none: "its inputs' dtype",
  input: "its inputs' dtype",
  cast: "a cast",
  backward: "as its forward",
};

function operatorTable(data: StepPrecisionData): string {
  const rows = data.modules.flatMap((m) =>
    m.operators.map((o, i) => {
      const range = (r: NumberRange | null): string => (r === null ? "" : `${formatInteger(r.count)} numbers`);
      const title = i === 0 ? ` title="${escape(range(m.activations))}"` : "";
      return `<tr${i === 0 ? ' class="first"' : ""}><td${title}>${i === 0 ? escape(m.name === "" ? "step" : m.name) : ""}</td><td>${escape(o.name)}</td><td class="d-${escape(o.dtype ?? "other")}"><i></i>${escape(o.dtype ?? "–")}</td><td>${escape(REASONS[o.reason] ?? o.reason)}</td><td>${formatInteger(o.calls)}</td><td>${formatInteger(o.casts)}</td><td>${significant(o.seconds * 1e6, 3)}</td></tr>`;
    }),
  );
  return `<details><summary>Every operator, with its dtype and the reason</summary><div class="card"><table class="ops"><thead><tr><th scope="col">Module</th><th scope="col">Operator</th><th scope="col">Computes in</th><th scope="col">Why</th><th scope="col">Calls</th><th scope="col">Casts</th><th scope="col">µs</th></tr></thead><tbody>${rows.join("")}</tbody></table></div></details>`;
}
