/** Values that a file name may show. */
export type NameValues = Readonly<Record<string, number>>;

/**
 * Fill in a template: `{epoch}`, `{val_loss:.2f}`, `{epoch:03d}`. With `insertNames`, a value is preceded by its name and "=".
 *
 * @example formatName("{epoch}-{val_loss:.2f}", { epoch: 2, val_loss: 0.123456 }, true); // "epoch=2-val_loss=0.12"
 */
export function formatName(template: string, values: NameValues, insertNames: boolean): string {
  return template.replaceAll(/\{([^{}:]+)(?::([^{}]*))?\}/g, (_whole, name: string, spec: string | undefined) => {
    const text = formatValue(values[name] ?? 0, spec ?? "");
    return insertNames ? `${name}=${text}` : text;
  });
}

/** The part of Python's format language that file names use: an optional zero fill and width, then `d`, `.nf`, `.ne` or nothing. */
function formatValue(value: number, spec: string): string {
  const match = /^(0?)(\d*)(?:\.(\d+))?([dfeg]?)$/.exec(spec);
  if (match === null) return String(value);
  const [, fill, width, digits, kind] = match;
  let text: string;
  if (kind === "d") text = String(Math.trunc(value));
  else if (kind === "f") text = value.toFixed(digits === undefined ? 6 : Number(digits));
  else if (kind === "e") text = value.toExponential(digits === undefined ? 6 : Number(digits));
  else text = digits === undefined ? String(value) : value.toPrecision(Number(digits));
  return text.padStart(Number(width), fill === "0" ? "0" : " ");
}
