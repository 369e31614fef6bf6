/**
 * The colours of runs. The first twelve are told apart from each other, also by people with colour blindness (dichromacy
 * simulated), and from the card that they stand on (contrast ≥ 3:1); runs beyond them repeat the colours with dashes.
 */
export const LIGHT = [
  ...["#2563c9", "#c2570c", "#0f8a74", "#8b3fc7", "#b8336a", "#6b7a12"],
  ...["#3c243a", "#04068f", "#8b84ba", "#78276b", "#760a03", "#4934a3"],
];
export const DARK = [
  ...["#6ea8ff", "#ff9d57", "#3fcfb4", "#c792ff", "#ff7fab", "#c3d34d"],
  ...["#a8809a", "#6c5cff", "#dadaff", "#cc32b5", "#b95f45", "#567cd3"],
];

/** Empty: a whole line. */
const DASHES = ["", "7 4", "2 4", "10 4 2 4"];

/** How many runs look different: each colour with each dash. */
export const LOOKS = LIGHT.length * DASHES.length;

const colourOf = (run: number): number => run % LIGHT.length;
export const dashOf = (run: number): string => DASHES[Math.floor(run / LIGHT.length) % DASHES.length] ?? "";

/** The classes of what is drawn in the colour of a run: lines take `c`, areas `b`. */
export const lineClass = (run: number): string => `c${colourOf(run)}`;
export const areaClass = (run: number): string => `b${colourOf(run)}`;

/** A piece of the run's line, to stand before its name. */
export function swatch(run: number): string {
  const dash = dashOf(run);
  return dash === ""
    ? `<span class="swatch ${areaClass(run)}"></span>`
    : `<svg class="swatch ${lineClass(run)}" viewBox="0 0 18 10" aria-hidden="true"><path d="M0 5h18" stroke-width="3" stroke-dasharray="${dash.replaceAll("10", "6")}"/></svg>`;
}

const variables = (colours: readonly string[]): string => colours.map((c, i) => `--c${i}: ${c};`).join(" ");
/** The stylesheet's part of it. */
export const PALETTE_STYLE = `:root { ${variables(LIGHT)} }
@media (prefers-color-scheme: dark) { :root { ${variables(DARK)} } }
${LIGHT.map((_, i) => `.c${i} { color: var(--c${i}); } .b${i} { background: var(--c${i}); }`).join(" ")}`;
