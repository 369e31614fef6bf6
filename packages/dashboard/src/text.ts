/** Text in columns of a terminal, where wide characters and emoji take two. */
import stringWidth from "string-width";

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

export function padded(text: string, width: number, align: "left" | "right" = "left"): string {
  const space = " ".repeat(Math.max(0, width - stringWidth(text)));
  return align === "left" ? text + space : space + text;
}

/** At most `most` columns: its beginning and its end, as names of a sweep differ in either. */
export function shortened(name: string, most: number): string {
  if (stringWidth(name) <= most) return name;
  const letters = [...graphemes.segment(name)].map(({ segment }) => segment);
  const end = Math.floor((most - 1) / 2);
  return `${fitting(letters, most - 1 - end).join("")}…${fitting(letters.toReversed(), end).toReversed().join("")}`;
}

function fitting(letters: readonly string[], most: number): string[] {
  const kept: string[] = [];
  let width = 0;
  for (const letter of letters) {
    width += stringWidth(letter);
    if (width > most) break;
    kept.push(letter);
  }
  return kept;
}

/** Lines of whole words. */
export function wrapped(text: string, most: number): string[] {
  return text.split(" ").reduce<string[]>((lines, word) => {
    const longer = lines.length === 0 ? word : `${lines.at(-1) ?? ""} ${word}`;
    return stringWidth(longer) <= most ? [...lines.slice(0, -1), longer] : [...lines, word];
  }, []);
}
