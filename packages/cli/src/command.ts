/** One command of `nbit`, a row of the table: a file each in `commands/`. Arguments, help, errors and completion are read from it. */
import type { FlagKind } from "@nbit/lightning/options"; // loads no libtorch

export type FlagValue = string | number | boolean | null;

/** What a flag is; its name is its key. */
export interface Flag {
  readonly summary: string;
  /** What it may be followed by, tried in this order. A switch is true alone. */
  readonly takes: readonly FlagKind[];
  /** One letter that stands for it, after one hyphen. */
  readonly short?: string;
  /** What its value is called in the help: FILE, N. */
  readonly value?: string;
  /** Values that are not obvious. */
  readonly values?: string;
  /** Words that completion offers. */
  readonly choices?: readonly string[];
  /** Its value when it is not given, in words. */
  readonly otherwise?: string;
}
export type Flags = ReadonlyMap<string, Flag>;

/** Flags under a heading of the help. */
export interface FlagGroup {
  readonly title: string;
  readonly flags: Flags;
}

/** A flag of a call, in the order in which they were given. */
export interface GivenFlag {
  /** As in the table; of what belongs to a section all of it: `model.lr`. */
  readonly name: string;
  /** Text where nobody knows yet what it will be: in sections, but for those of flags that the table has. */
  readonly value: FlagValue;
}

/** How a command was called, read by its row. */
export interface Call {
  readonly command: Command;
  /** All of it, as it was given. */
  readonly args: readonly string[];
  readonly help: boolean;
  /** What stands without a flag. */
  readonly words: readonly string[];
  readonly flags: readonly GivenFlag[];
  /** What stands behind `--`, or behind the first word of a command that passes on. */
  readonly rest: readonly string[];
}

export interface Command {
  readonly name: string;
  /** One line for `nbit help`. */
  readonly summary: string;
  /** What follows the name: `FILE [--flag value]…`. */
  readonly usage: string;
  /** Paragraphs of its help, before the flags. */
  readonly about?: string;
  /** Paragraphs behind them. */
  readonly notes?: string;
  readonly groups: readonly FlagGroup[];
  /** What it takes without a flag, in words, and at most how many. */
  readonly words: {
    readonly most: number;
    readonly what: string;
    readonly files?: boolean;
    readonly choices?: readonly string[];
    /** Words that only completion needs. */
    readonly more?: () => Promise<readonly string[]>;
  };
  /** Beginnings of flags that a program declares: `model` for `--model.lr`. */
  readonly sections?: readonly string[];
  /** All behind its first word belongs to the program of that name. */
  readonly passesOn?: true;
  /** It has arguments for a program behind `--`. */
  readonly takesRest?: true;
  /** The help of this very call, where that is more than the table knows; null: it is not. */
  help?(call: Call): Promise<string | null>;
  /** @returns The exit status. */
  run(call: Call): Promise<number>;
}

/** Every flag of a command, whatever its group. */
export function flagsOf({ groups }: Pick<Command, "groups">): Flags {
  return new Map(groups.flatMap(({ flags }) => [...flags]));
}

/** The last value of each flag. */
export function lastOf(flags: readonly GivenFlag[]): ReadonlyMap<string, FlagValue> {
  return new Map(flags.map(({ name, value }) => [name, value]));
}

/** Neither an argument nor a variable of the environment has any setting. */
export function saysNothing(
  { command, words, flags }: Call,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  const prefix = `NBIT_${command.name.toUpperCase()}__`;
  return words.length === 0 && flags.length === 0 && !Object.keys(env).some((name) => name.startsWith(prefix));
}
