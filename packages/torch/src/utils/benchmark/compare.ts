/** Measurements side by side, as torch.utils.benchmark.Compare. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, iterable } from "../../kinds.js";
import { atMost, checkArguments } from "../../options.js";
import { signature } from "../../signature.js";
import { Measurement, selectUnit, trimSigfig, UNIT_WORDS } from "./measurement.js";

type Colors = "none" | "columnwise" | "rowwise";
const PAINT = {
  best: "\u001b[92m\u001b[1m",
  good: "\u001b[34m\u001b[1m",
  bad: "\u001b[2m\u001b[91m",
  worst: "\u001b[31m\u001b[1m",
};
const END = "\u001b[0m";

const readColorize = signature("Compare.colorize", { rowwise: byDefault(false, flag) });

/**
 * Tables of measurements: one for each label, a row for each sub-label, a column for each description, medians of
 * repetitions.
 *
 * @example console.log(String(new Compare([a.blockedAutorange(), b.blockedAutorange()])));
 */
export class Compare {
  readonly #results: Measurement[] = [];
  #trims = false;
  #colors: Colors = "none";
  #warns = false;

  constructor(results: Iterable<Measurement>) {
    atMost("Compare", arguments, 1);
    this.#add("Compare", results);
  }
  extendResults(results: Iterable<Measurement>): void {
    atMost("Compare.extendResults", arguments, 1);
    this.#add("Compare.extendResults", results);
  }
  #add(fn: string, results: Iterable<Measurement>): void {
    checkArguments(fn, { results }, { results: iterable });
    for (const each of results) {
      if (!(each instanceof Measurement)) throw new ArgumentError(fn, "results to be Measurements", each);
      this.#results.push(each);
    }
  }
  /** Show only digits that mean something. */
  trimSignificantFigures(): void {
    atMost("Compare.trimSignificantFigures", arguments, 0);
    this.#trims = true;
  }
  /** Colour times by how they compare with the best of their column (or row). */
  colorize(...given: readonly [rowwise?: boolean] | readonly [options: { readonly rowwise?: boolean }]): void {
    this.#colors = readColorize(given).rowwise ? "rowwise" : "columnwise";
  }
  /** Mark measurements whose spread is large. */
  highlightWarnings(): void {
    atMost("Compare.highlightWarnings", arguments, 0);
    this.#warns = true;
  }
  print(): void {
    atMost("Compare.print", arguments, 0);
    process.stdout.write(`${this.toString()}\n`);
  }
  toString(): string {
    const groups = new Map<string | null, Measurement[]>();
    for (const each of Measurement.merge(this.#results)) {
      const known = groups.get(each.label);
      if (known === undefined) groups.set(each.label, [each]);
      else known.push(each);
    }
    return [...groups].map(([label, results]) => this.#table(label ?? "", results)).join("\n");
  }

  #table(label: string, results: readonly Measurement[]): string {
    const { unit, scale } = selectUnit(Math.min(...results.map((r) => r.median)));
    const columns = [...new Set(results.map((r) => r.description ?? ""))];
    const showsEnv = new Set(results.map((r) => r.env)).size > 1;
    const rows = rowsOf(results, showsEnv);
    const cells = rows.map(({ results: own }) =>
      columns.map((column) => own.find((r) => (r.description ?? "") === column) ?? null),
    );
    const figure = (m: Measurement): string => {
      const value = m.median / scale;
      const text = this.#trims
        ? shortNumber(trimSigfig(value, m.significantFigures), m.significantFigures)
        : value.toFixed(1);
      return this.#warns && m.hasWarnings ? `${text} (! ${((m.iqr / m.median) * 100).toFixed(0)}%)` : text;
    };
    const texts = cells.map((row) => row.map((m) => (m === null ? "" : figure(m))));
    const widths = columns.map((title, i) => Math.max(title.length, ...texts.map((row) => row[i]?.length ?? 0)));
    const front = Math.max(0, ...rows.map(({ name }) => name.length));
    const line = (name: string, row: readonly string[]): string =>
      [name.padEnd(front), ...row.map((text, i) => text.padStart(widths[i] as number))].join("  |  ").trimEnd();
    const head = line("", columns);
    const width = Math.max(head.length, label.length + 6);
    const lines: string[] = [`[${centered(` ${label} `, width - 2)}]`, head];
    let threads = -1;
    rows.forEach(({ name, numThreads }, i) => {
      if (numThreads !== threads) lines.push(`${numThreads} threads: `.padEnd(width, "-"));
      threads = numThreads;
      const group = cells.filter((_, j) => rows[j]?.numThreads === numThreads);
      const row = cells[i] as readonly (Measurement | null)[];
      const padded = (texts[i] as readonly string[]).map((text, c) => text.padStart(widths[c] as number));
      lines.push(
        [
          name.padEnd(front),
          ...padded.map((text, c) =>
            this.#painted(
              text,
              row[c] ?? null,
              row,
              group.map((r) => r[c] ?? null),
            ),
          ),
        ]
          .join("  |  ")
          .trimEnd(),
      );
    });
    lines.push("", `Times are in ${UNIT_WORDS[unit]} (${unit}).`);
    if (this.#warns && results.some((r) => r.hasWarnings))
      lines.push("(! XX%): the measurement varied; XX is the interquartile range as a share of the median.");
    return `${lines.join("\n")}\n`;
  }

  #painted(
    text: string,
    m: Measurement | null,
    row: readonly (Measurement | null)[],
    column: readonly (Measurement | null)[],
  ): string {
    if (m === null || this.#colors === "none") return text;
    const others = (this.#colors === "rowwise" ? row : column).filter((r) => r !== null);
    const best = Math.min(...others.map((r) => r.median));
    if (m.median <= best * 1.01 || m.median <= best + 100e-9) return PAINT.best + text + END;
    if (m.median <= best * 1.1) return PAINT.good + text + END;
    if (m.median >= best * 5) return PAINT.worst + text + END;
    return m.median >= best * 2 ? PAINT.bad + text + END : text;
  }
}

interface Row {
  readonly name: string;
  readonly numThreads: number;
  readonly results: readonly Measurement[];
}
/** In the order of threads, then of what came first. */
function rowsOf(results: readonly Measurement[], showsEnv: boolean): Row[] {
  const rows = new Map<
    string,
    { readonly name: string; readonly numThreads: number; readonly results: Measurement[] }
  >();
  for (const each of results) {
    const name = `  ${showsEnv ? `(${each.env ?? "no env"})  ` : ""}${each.asRowName}`;
    const key = `${each.numThreads} ${name}`;
    const known = rows.get(key);
    if (known === undefined) rows.set(key, { name, numThreads: each.numThreads, results: [each] });
    else known.results.push(each);
  }
  return [...rows.values()].sort((a, b) => a.numThreads - b.numThreads);
}

function centered(text: string, width: number): string {
  const left = Math.max(0, Math.floor((width - text.length) / 2));
  return ("-".repeat(left) + text).padEnd(width, "-");
}
/** As many decimals as the digits that count need. */
function shortNumber(value: number, figures: number): string {
  const before = value === 0 ? 1 : Math.floor(Math.log10(Math.abs(value))) + 1;
  return value.toFixed(Math.max(0, Math.min(20, figures - before)));
}
