/**
 * Names that a person or a file gave, as they may be shown: in a terminal, a log or a message they are letters, never
 * commands.
 */

/**
 * What would steer a terminal, break a line or turn the direction of writing: C0 and C1 controls (ESC and CSI among
 * them), DEL, separators of lines and paragraphs, marks, embeddings, overrides and isolates of direction, the byte
 * order mark, invisible tags, and halves of surrogate pairs.
 */
const UNSEEN =
  // eslint-disable-next-line no-control-regex -- control characters are what this looks for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|\p{Cs}/gu;
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * A text with everything that cannot be seen written out: `"\x1b[2J"` becomes `\u001b[2J`. Text of any language and
 * emoji stay as they are.
 *
 * @param text - Anything; what is no string is made one.
 * JSON that is passed through stays JSON of the same value.
 *
 * @param keep - Characters to leave, such as "\n" in a text of several lines.
 * @example plainText("loss\u001b[31m"); // "loss\\u001b[31m"
 */
export function plainText(text: unknown, keep = ""): string {
  return asString(text).replace(UNSEEN, (c) => (keep !== "" && keep.includes(c) ? c : (SHORT[c] ?? writtenOut(c))));
}

/** As JSON and JavaScript write it: what is beyond 16 bits, in two halves. */
function writtenOut(c: string): string {
  return Array.from({ length: c.length }, (_, i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, "0")}`).join("");
}

/** A text in quotes, as JSON has it and with nothing unseen. */
export function quoted(text: string): string {
  return plainText(JSON.stringify(text));
}

function asString(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    return String(value);
  } catch {
    // An object that cannot be made a string.
    return typeof value;
  }
}
