/** All that was given, in order, becomes one set of settings: what comes later wins. */
import { ROWS, TRAINER_OPTIONS } from "@nbit/lightning/options"; // loads no libtorch
import { nearest } from "@nbit/torch/names";
import { readValue } from "../arguments/value.js";
import { refusal, unknownName, type ClassChoice, type Given } from "./given.js";
import { asClassChoice } from "./yaml.js";

/** A class by name, and what its constructor is given. Null choice: whoever asks has a class. */
export interface Part {
  readonly choice: Given | null;
  /** Paths begin below the class. */
  readonly args: readonly Given[];
}
/** Parts that a command has one of. */
export const PARTS = ["model", "data", "optimizer", "lrScheduler"] as const;
export type PartName = (typeof PARTS)[number];
/** Options of the Trainer whose values are objects: a class is chosen by name. */
export const CLASS_OPTIONS = ["callbacks", "logger"] as const;
export type ClassOption = (typeof CLASS_OPTIONS)[number];

export interface Settings {
  /** Of the command itself: `seed`, `ckptPath`, `file`, by name. */
  readonly own: ReadonlyMap<string, Given>;
  /** Of the Trainer, by name; without those of {@link CLASS_OPTIONS} that are classes. */
  readonly trainer: ReadonlyMap<string, unknown>;
  readonly callbacks: readonly Part[];
  /** Null: as the Trainer's option says. */
  readonly loggers: readonly Part[];
  readonly parts: Readonly<Record<PartName, Part>>;
  /** Of a command line that has sections of its own. */
  readonly sections: ReadonlyMap<string, Part>;
  /** Sections that stood in files of their own, by name. */
  readonly files: ReadonlyMap<string, string>;
}

const NOTHING: Part = { choice: null, args: [] };

/**
 * @param own - Names of the command's own settings, beside `trainer` and the parts.
 * @param sections - Names of more parts.
 * @throws {CommandError} `ERR_FLAG` for a name that nobody knows, `ERR_FLAG_VALUE` for a value that it cannot have.
 */
export function settle(
  command: string,
  given: readonly Given[],
  own: readonly string[],
  sections: readonly string[] = [],
): Settings {
  const settler = new Settler(command, own, sections);
  for (const each of given) settler.take(each);
  return settler.settings;
}

class Settler {
  readonly #command: string;
  readonly #names: readonly string[];
  readonly #own = new Map<string, Given>();
  readonly #trainer = new Map<string, unknown>();
  readonly #parts: Record<PartName, Part> = { model: NOTHING, data: NOTHING, optimizer: NOTHING, lrScheduler: NOTHING };
  readonly #lists: Record<ClassOption, Part[]> = { callbacks: [], logger: [] };

  readonly #sections: Map<string, Part>;

  constructor(command: string, own: readonly string[], sections: readonly string[]) {
    this.#command = command;
    this.#names = own;
    this.#sections = new Map(sections.map((name) => [name, NOTHING]));
  }
  get settings(): Settings {
    return {
      own: this.#own,
      trainer: this.#trainer,
      callbacks: this.#lists.callbacks,
      loggers: this.#lists.logger,
      parts: this.#parts,
      sections: this.#sections,
      files: new Map(),
    };
  }

  take(given: Given): void {
    const [written = "", ...rest] = given.path;
    const known = ["trainer", ...PARTS, ...this.#names, ...this.#sections.keys()];
    const first = known.includes(written) ? written : sameName(written, known);
    if (first === "trainer") this.#takeOption(given, rest);
    else if (first !== null && isPart(first)) this.#parts[first] = this.#added(this.#parts[first], given, rest);
    else if (first !== null && this.#sections.has(first))
      this.#sections.set(first, this.#added(this.#sections.get(first) ?? NOTHING, given, rest));
    else if (first !== null && rest.length === 0) this.#own.set(first, given);
    else if (sameName(written, Object.keys(ROWS)) !== null) this.#takeOption(given, given.path);
    else throw unknownName(this.#command, given, known, nearest(written, [...known, ...Object.keys(ROWS)]));
  }

  /** A class by name forgets the arguments of the one before it. */
  #added(part: Part, given: Given, path: readonly string[]): Part {
    if (path.length > 0) return { choice: part.choice, args: [...part.args, { ...given, path }] };
    const chosen = asClassChoice(given.value);
    if (chosen === null) throw refusal(this.#command, given, "the name of a class, or a file and a name: net.ts#Net");
    if (part.choice !== null && asClassChoice(part.choice.value)?.classPath === chosen.classPath)
      return { choice: given, args: [...part.args, ...argsOf(given, chosen)] };
    return { choice: given, args: argsOf(given, chosen) };
  }

  #takeOption(given: Given, path: readonly string[]): void {
    const [written = "", ...rest] = path;
    const names = Object.keys(ROWS);
    const name = sameName(written, names);
    if (name === null) throw unknownName(this.#command, given, names, prefixed(given, nearest(written, names)));
    if ((name === "callbacks" || name === "logger") && this.#takeClass(name, given, rest)) return;
    if (rest.length > 0) {
      const before = this.#trainer.get(name);
      const value: object = typeof before === "object" && before !== null ? before : {};
      this.#trainer.set(name, withValue(value, rest, given.value));
      return;
    }
    const value = this.#optionValue(name as keyof typeof ROWS, given);
    if (value === undefined) this.#trainer.delete(name);
    else this.#trainer.set(name, value);
  }

  /** Undefined: as if it had not been given. */
  #optionValue(name: keyof typeof ROWS, given: Given): unknown {
    const { flag } = TRAINER_OPTIONS[name];
    const row: { readonly words: string; accepts(value: unknown): boolean } = ROWS[name];
    if (given.isText && typeof given.value === "string") {
      if (flag === null) throw refusal(this.#command, given, "left to the program: no word can express it");
      return readValue(this.#command, given.from, { takes: flag, summary: "" }, given.value);
    }
    if (given.value === null && !row.accepts(null)) return undefined;
    if (!given.isText && !row.accepts(given.value)) throw refusal(this.#command, given, row.words);
    return given.value;
  }

  /** @returns whether it was about a class. */
  #takeClass(name: ClassOption, given: Given, path: readonly string[]): boolean {
    const list = this.#lists[name];
    if (path.length > 0) {
      const last = list.pop();
      if (last === undefined)
        throw refusal(
          this.#command,
          { ...given, value: path.join(".") },
          `behind a class: --trainer.${name} NAME comes first`,
        );
      list.push(this.#added(last, given, path));
      return true;
    }
    const { value } = given;
    if (name === "logger" && (typeof value === "boolean" || value === null || value === "true" || value === "false")) {
      list.length = 0;
      return false;
    }
    const single = asClassChoice(value);
    const chosen = single !== null ? [single] : Array.isArray(value) ? value.map(asClassChoice) : [null];
    // A flag adds one more; a file says them all.
    if (!given.isText || name === "logger") list.length = 0;
    if (name === "logger") this.#trainer.delete(name);
    for (const each of chosen) {
      if (each === null)
        throw refusal(this.#command, given, "the name of a class, or a list of them with classPath and initArgs");
      list.push({ choice: { ...given, value: each.classPath }, args: argsOf(given, each) });
    }
    return true;
  }
}

const isPart = (name: string): name is PartName => (PARTS as readonly string[]).includes(name);

/** Of an environment variable: without regard to case. */
function sameName(written: string, known: readonly string[]): string | null {
  return known.includes(written) ? written : written.toLowerCase() === written ? null : nearest(written, known, 0);
}
function prefixed({ path }: Given, near: string | null): string | null {
  return near === null || path[0] !== "trainer" ? near : `trainer.${near}`;
}

function argsOf(given: Given, { initArgs }: ClassChoice): Given[] {
  return Object.entries(initArgs).map(([name, value]) => ({
    path: [name],
    value,
    isText: false,
    from: `${name} of ${given.from}`,
  }));
}

/** A copy with a value deep inside. */
export function withValue(
  object: object,
  [name = "", ...rest]: readonly string[],
  value: unknown,
): Record<string, unknown> {
  const before: unknown = Reflect.get(object, name);
  const inner = typeof before === "object" && before !== null ? before : {};
  return { ...object, [name]: rest.length === 0 ? value : withValue(inner, rest, value) };
}
