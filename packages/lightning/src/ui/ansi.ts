/** Escape sequences, and text measured without them. */
import stringWidth from "string-width";
import { kinds } from "@nbit/torch";

export type Colour = "dim" | "bold" | "red" | "green" | "yellow" | "blue" | "cyan";

const CODES: Readonly<Record<Colour, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  cyan: [36, 39],
};

/** Paints text; the plain painter returns it unchanged. */
export type Paint = (colour: Colour, text: string) => string;

export const plainPaint: Paint = (_colour, text) => text;

export const ansiPaint: Paint = (colour, text) => {
  const [open, close] = CODES[colour];
  return `\x1b[${open}m${text}\x1b[${close}m`;
};

/** What a painter needs to know of a stream. `process.stdout` is one. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): boolean;
}
export const streamKind: kinds.Kind<OutputStream> = kinds.such(
  "a stream such as process.stdout",
  (v) => typeof v === "object" && v !== null && typeof (v as Partial<OutputStream>).write === "function",
);

/** Is `stream` a terminal that understands cursor movement? `TERM=dumb` and CI logs are not. */
export function isInteractive(stream: OutputStream, env: NodeJS.ProcessEnv = process.env): boolean {
  return (
    stream.isTTY === true &&
    env["TERM"] !== "dumb" &&
    (env["CI"] === undefined || env["CI"] === "" || env["CI"] === "false")
  );
}

/** Colours for terminals, unless `NO_COLOR` is set (https://no-color.org); `FORCE_COLOR` asks for them elsewhere. */
export function paintFor(stream: OutputStream, env: NodeJS.ProcessEnv = process.env): Paint {
  const force = env["FORCE_COLOR"];
  if (force !== undefined && force !== "0" && force !== "false") return ansiPaint;
  if (env["NO_COLOR"] !== undefined && env["NO_COLOR"] !== "") return plainPaint;
  return isInteractive(stream, env) && force === undefined ? ansiPaint : plainPaint;
}

// eslint-disable-next-line no-control-regex -- escape sequences are what this looks for
const ESCAPES = /\x1b\[[0-9;]*m/g;

export function stripAnsi(text: string): string {
  return text.replace(ESCAPES, "");
}

const PLAIN = /^[\x20-\x7e]*$/;

/** Columns that `text` takes: wide characters and emoji two, marks that join others none, escape sequences none. */
export function visibleWidth(text: string): number {
  const bare = stripAnsi(text);
  return PLAIN.test(bare) ? bare.length : stringWidth(bare);
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Cut to `width` columns; escape sequences are kept whole and closed at the end. */
export function truncate(text: string, width: number): string {
  if (visibleWidth(text) <= width) return text;
  if (width <= 0) return "";
  let out = "";
  let used = 0;
  let painted = false;
  // eslint-disable-next-line no-control-regex -- same escape sequences, kept by the capture group
  for (const part of text.split(/(\x1b\[[0-9;]*m)/)) {
    if (part.startsWith("\x1b[")) {
      out += part;
      painted = true;
      continue;
    }
    for (const { segment } of graphemes.segment(part)) {
      const columns = visibleWidth(segment);
      if (used + columns > width - 1) return `${out}…${painted ? "\x1b[0m" : ""}`;
      out += segment;
      used += columns;
    }
  }
  return out;
}

/** Pad to `width` columns; text that is longer stays as it is. */
export function pad(text: string, width: number, align: "left" | "right" = "left"): string {
  const space = " ".repeat(Math.max(0, width - visibleWidth(text)));
  return align === "left" ? text + space : space + text;
}
