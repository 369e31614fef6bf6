/**
 * Names of checkpoint files, from a template and the values of metrics. A name stays in its folder, whatever the
 * template, the metrics and their values are.
 */
import { Buffer } from "node:buffer";
import { plainText } from "@nbit/torch";

/** Values that a file name may show. */
export type NameValues = Readonly<Record<string, number>>;

const PLACEHOLDER = /\{([^{}:]+)(?::([^{}]*))?\}/g;
/**
 * Python's format language as far as file names use it: an optional zero fill and width, then `d`, `.nf`, `.ne`, `.ng`
 * or nothing.
 */
const SPEC = /^(0?)(\d{0,2})(?:\.(\d{1,2}))?([dfeg]?)$/;
/** Bytes of one name that every common file system takes, with room for a version and an extension. */
const LONGEST = 200;

/**
 * What is wrong with a template, in words that end "expected filename …"; null when nothing is.
 *
 * Folders are allowed below `dirpath` ("{epoch}/model"); each part of the path must be a name.
 */
export function templateProblem(template: unknown, insertNames: boolean): string | null {
  if (typeof template !== "string" || template === "") return 'to be a template, such as "{epoch}-{val_loss:.2f}"';
  for (const [, , spec] of template.matchAll(PLACEHOLDER))
    if (spec !== undefined && !SPEC.test(spec))
      return `to format values as :d, :.2f, :.2e, :03d or the like, not as ${JSON.stringify(spec)}`;
  return nameProblem(formatName(template, {}, insertNames));
}

function nameProblem(name: string): string | null {
  if (plainText(name) !== name || name.includes("\\")) return "without control characters and backslashes";
  for (const part of name.split("/")) {
    if (part === "" || part === "." || part === "..")
      return 'to stay in dirpath: a name, or names joined by single "/", none of them "." or ".."';
    // A trailing dot or space is cut off by Windows; its names of devices are devices with any extension.
    if (/[. ]$/.test(part) || /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(part))
      return "to be of names that every system allows, which do not end in a dot or a space, and are no names of devices";
  }
  const last = name.split("/").at(-1) ?? "";
  if (Buffer.byteLength(last) > LONGEST || Buffer.byteLength(name) > 4 * LONGEST)
    return `to give names of at most ${LONGEST} bytes`;
  return null;
}

/**
 * Fill in a template: `{epoch}`, `{val_loss:.2f}`, `{epoch:03d}`. With `insertNames`, a value is preceded by its name
 * and "=". Characters of a metric's name that do not belong in the name of a file become "_".
 *
 * @example formatName("{epoch}-{val_loss:.2f}", { epoch: 2, val_loss: 0.123456 }, true); // "epoch=2-val_loss=0.12"
 */
export function formatName(template: string, values: NameValues, insertNames: boolean): string {
  return template.replaceAll(PLACEHOLDER, (_whole, name: string, spec: string | undefined) => {
    const text = formatValue(Object.hasOwn(values, name) ? (values[name] ?? 0) : 0, spec ?? "");
    return insertNames ? `${fileWord(name)}=${text}` : text;
  });
}

function fileWord(name: string): string {
  return Array.from(name, (c) => (plainText(c) !== c || '/\\:*?"<>|'.includes(c) ? "_" : c)).join("");
}

function formatValue(value: number, spec: string): string {
  const match = SPEC.exec(spec);
  if (match === null) return String(value);
  const [, fill, width, digits, kind] = match;
  let text: string;
  if (kind === "d") text = String(Math.trunc(value));
  else if (kind === "f") text = value.toFixed(digits === undefined ? 6 : Number(digits));
  else if (kind === "e") text = value.toExponential(digits === undefined ? 6 : Number(digits));
  else text = digits === undefined ? String(value) : value.toPrecision(Math.max(1, Number(digits)));
  return text.padStart(Number(width), fill === "0" ? "0" : " ");
}
