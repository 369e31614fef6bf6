/** A picture of losses over learning rates, as SVG that follows the reader's light or dark. */
const WIDTH = 720;
const HEIGHT = 420;
const MARGIN = { left: 64, right: 20, top: 20, bottom: 48 };

interface Axis {
  readonly at: (value: number) => number;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
}

export function drawRange(
  { lr, loss }: { readonly lr: readonly number[]; readonly loss: readonly number[] },
  logarithmic: boolean,
  suggested: number | null,
): string {
  const points = lr.map((rate, i) => [rate, loss[i] ?? NaN] as const).filter(([, y]) => Number.isFinite(y));
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const x = (logarithmic ? decades : steps)(xs, MARGIN.left, WIDTH - MARGIN.right);
  const y = steps(ys, HEIGHT - MARGIN.bottom, MARGIN.top);
  const path = points.map(([a, b], i) => `${i === 0 ? "M" : "L"}${fixed(x.at(a))} ${fixed(y.at(b))}`).join("");
  const mark = points.find(([a]) => a === suggested);
  const [bottom, right] = [HEIGHT - MARGIN.bottom, WIDTH - MARGIN.right];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="12">
<title>Loss by learning rate${suggested === null ? "" : `; suggested: ${label(suggested)}`}</title>
<style>
  svg { --ink: #1f2328; --faint: #d1d9e0; --line: #0969da; --mark: #cf222e; background: #ffffff }
  @media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --faint: #3d444d; --line: #4493f8; --mark: #f85149; background: #0d1117 } }
  text { fill: var(--ink) } .grid { stroke: var(--faint) } .curve { stroke: var(--line); fill: none; stroke-width: 2 } .mark { fill: var(--mark) }
</style>
${x.ticks.map(({ value, label: text }) => `<path class="grid" d="M${fixed(x.at(value))} ${MARGIN.top}V${bottom}"/><text x="${fixed(x.at(value))}" y="${bottom + 18}" text-anchor="middle">${text}</text>`).join("\n")}
${y.ticks.map(({ value, label: text }) => `<path class="grid" d="M${MARGIN.left} ${fixed(y.at(value))}H${right}"/><text x="${MARGIN.left - 8}" y="${fixed(y.at(value) + 4)}" text-anchor="end">${text}</text>`).join("\n")}
<path class="curve" d="${path}"/>
${mark === undefined ? "" : `<circle class="mark" cx="${fixed(x.at(mark[0]))}" cy="${fixed(y.at(mark[1]))}" r="6"/><text x="${fixed(x.at(mark[0]) + 10)}" y="${fixed(y.at(mark[1]) - 8)}">${label(mark[0])}</text>`}
<text x="${(MARGIN.left + right) / 2}" y="${HEIGHT - 10}" text-anchor="middle">learning rate</text>
<text x="14" y="${(MARGIN.top + bottom) / 2}" text-anchor="middle" transform="rotate(-90 14 ${(MARGIN.top + bottom) / 2})">loss</text>
</svg>
`;
}

function linear(low: number, high: number, from: number, to: number): (value: number) => number {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}
function ends(values: readonly number[]): readonly [low: number, high: number] {
  return values.length === 0 ? [0, 1] : [Math.min(...values), Math.max(...values)];
}

/** Ticks at 1, 2 or 5 times powers of ten. */
function steps(values: readonly number[], from: number, to: number): Axis {
  const [low, high] = ends(values);
  const rough = (high - low || Math.abs(high) || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((n) => n * power >= rough) ?? 10) * power;
  const ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high; n++) ticks.push({ value: n * step, label: label(n * step) });
  return { at: linear(low, high, from, to), ticks };
}

/** Ticks at powers of ten. */
function decades(values: readonly number[], from: number, to: number): Axis {
  const [low, high] = ends(values.map((value) => Math.log10(value)));
  const at = linear(low, high, from, to);
  const ticks = [];
  for (let n = Math.ceil(low); n <= high; n++) ticks.push({ value: 10 ** n, label: `1e${n}` });
  return { at: (value) => at(Math.log10(value)), ticks };
}

function label(value: number): string {
  return String(Number(value.toPrecision(3)));
}
function fixed(value: number): string {
  return String(Math.round(value * 100) / 100);
}
