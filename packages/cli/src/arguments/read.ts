/**
 * Arguments by a command's row. Node's own `util.parseArgs` splits them; what a flag takes, which flags there are, and
 * what is said of one that is not, comes from the row.
 */
import { parseArgs } from "node:util";
import { nearest } from "@nbit/torch/names";
import { flagsOf, type Call, type Command, type Flag, type Flags, type GivenFlag } from "../command.js";
import { CommandError } from "../errors.js";
import { isNumber, readValue, switchTakes } from "./value.js";

/**
 * Reads `WORD --name value --name=value --name -n value`, in any order.
 *
 * @throws {CommandError} `ERR_FLAG` for an unknown flag, `ERR_FLAG_VALUE` for a value of another type, `ERR_ARGUMENTS`
 * for a word too many.
 */
export function readArguments(command: Command, args: readonly string[]): Call {
  const flags = flagsOf(command);
  const end = command.passesOn === true ? -1 : args.indexOf("--");
  if (end !== -1 && command.takesRest !== true && end < args.length - 1)
    throw new CommandError(
      "ERR_ARGUMENTS",
      `nbit ${command.name}: expected nothing behind --. Received: ${args.slice(end + 1).join(" ")}.`,
    );
  const own = end === -1 ? args : args.slice(0, end);
  const reader = new Reader(command, flags, own);
  const stopped = reader.read();
  return {
    command,
    args,
    help: reader.help,
    words: reader.words,
    flags: reader.flags,
    rest: stopped !== null ? args.slice(stopped) : end === -1 ? [] : args.slice(end + 1),
  };
}

/** `--config FILE` may stand before the command, too. */
export function commandFirst(args: readonly string[]): readonly string[] {
  let at = 0;
  for (let arg = args[at]; arg !== undefined && /^(--config|-c)(=|$)/.test(arg); arg = args[at])
    at += arg.includes("=") ? 1 : 2;
  const name = args[at];
  return at === 0 || name === undefined ? args : [name, ...args.slice(0, at), ...args.slice(at + 1)];
}

const HELP: Flag = { summary: "show this", takes: ["switch"], short: "h" };

class Reader {
  help = false;
  readonly words: string[] = [];
  readonly flags: GivenFlag[] = [];
  readonly #command: Command;
  readonly #flags: Flags;
  readonly #args: readonly string[];

  constructor(command: Command, flags: Flags, args: readonly string[]) {
    this.#command = command;
    this.#flags = flags;
    this.#args = args;
  }

  /** @returns where the arguments of another program begin; null: there are none. */
  read(): number | null {
    let taken = -1; // arguments up to here are read
    for (const token of this.#tokens()) {
      const arg = this.#args[token.index] ?? "";
      if (token.index <= taken) continue; // the value of a flag, or letters behind the first
      if (token.kind === "option-terminator") {
        if (this.#command.passesOn !== true) continue;
        const script = this.#args[token.index + 1];
        if (script !== undefined) this.words.push(script);
        return token.index + 2;
      }
      if (token.kind === "positional") {
        this.#word(arg);
        taken = token.index;
        if (this.#command.passesOn === true) return token.index + 1;
        continue;
      }
      taken = this.#flag(token.rawName, token.value, token.inlineValue === true, token.index);
    }
    return null;
  }

  #tokens() {
    return parseArgs({ args: [...this.#args], options: this.#declared(), strict: false, tokens: true }).tokens;
  }

  /** What Node must know: which flags take the next argument, whatever that is. */
  #declared(): Record<string, { readonly type: "string" | "boolean"; readonly short?: string }> {
    const declared: Record<string, { type: "string" | "boolean"; short?: string }> = {};
    for (const [name, { takes, short }] of [["help", HELP] as const, ...this.#flags])
      for (const spelling of new Set([name, name.replaceAll("-", "_")]))
        declared[spelling] = {
          type: takes.includes("switch") ? "boolean" : "string",
          ...(short === undefined || spelling !== name ? {} : { short }),
        };
    this.#args.forEach((arg, i) => {
      const name = /^--([^=]+)$/.exec(arg)?.[1];
      if (name === undefined || Object.hasOwn(declared, name) || !this.#isInSection(name)) return;
      declared[name] = { type: isValue(this.#args[i + 1]) ? "string" : "boolean" };
    });
    return declared;
  }

  #isInSection(name: string): boolean {
    const [section = ""] = name.split(/[.+]/);
    return this.#command.sections?.includes(section) === true;
  }

  #word(arg: string): void {
    const { name, words, passesOn } = this.#command;
    if (this.words.length >= words.most)
      throw new CommandError(
        "ERR_ARGUMENTS",
        `nbit ${name}: expected ${words.what}. Received: ${[...this.words, arg].join(" and ")}.`,
      );
    if (passesOn !== true && arg === "")
      throw new CommandError("ERR_ARGUMENTS", `nbit ${name}: expected ${words.what}. Received: "".`);
    this.words.push(arg);
  }

  /** @returns the last argument that it took. */
  #flag(written: string, text: string | undefined, inline: boolean, index: number): number {
    const bare = written.replace(/^--?/, "").replaceAll("+", "");
    if (bare === "help" || written === "-h") {
      this.help = true;
      return index;
    }
    const [name, flag] = this.#find(bare, written);
    if (flag === null) {
      this.flags.push({ name, value: text ?? true });
      return text === undefined || inline ? index : index + 1;
    }
    if (text !== undefined && (inline || isValue(text))) {
      this.flags.push({ name, value: readValue(this.#command.name, shown(written, name), flag, text) });
      return inline ? index : index + 1;
    }
    const next = this.#args[index + 1];
    if (!flag.takes.includes("switch"))
      throw new CommandError(
        "ERR_FLAG_VALUE",
        `nbit ${this.#command.name}: expected a value after ${shown(written, name)} (${flag.values ?? flag.summary}). Received: ${text ?? next ?? "the end of the line"}.`,
      );
    const takes = next !== undefined && isValue(next) && switchTakes(flag, next);
    this.flags.push({ name, value: takes ? readValue(this.#command.name, `--${name}`, flag, next) : true });
    return takes ? index + 1 : index;
  }

  /** By its name, its letter, or with underscores as torchrun has them. Null: what its section declares. */
  #find(bare: string, written: string): [name: string, flag: Flag | null] {
    for (const [name, flag] of this.#flags)
      if (bare === name || bare === name.replaceAll("-", "_") || written === `-${flag.short ?? ""}`)
        return [name, flag];
    if (this.#isInSection(bare)) return [bare, null];
    const received = written.startsWith("--")
      ? written
      : (this.#args.find((arg) => arg.startsWith(written)) ?? written);
    throw unknownFlag(this.#command, received.split("=")[0] ?? received, [
      ...this.#flags.keys(),
      ...(this.#command.sections ?? []),
    ]);
  }
}

const shown = (written: string, name: string): string => (written.startsWith("--") ? `--${name}` : written);

/** Not the name of a flag. */
function isValue(text: string | undefined): text is string {
  return text !== undefined && (!text.startsWith("-") || text === "-" || isNumber(text));
}

/** What Lightning's command, or many a script, calls a flag of ours. */
const LIGHTNINGS: ReadonlyMap<string, string> = new Map([
  ["seedEverything", "seed"],
  ["epochs", "maxEpochs"],
  ["gpus", "devices"],
  ["resume", "ckptPath"],
  ["checkpoint", "ckptPath"],
  ["out", "output"],
]);

export function unknownFlag(
  command: Pick<Command, "name" | "passesOn">,
  received: string,
  known: Iterable<string>,
): CommandError {
  const [name = "", ...path] = received.replace(/^--?/, "").split(".");
  const names = new Set(known);
  const other = LIGHTNINGS.get(nearest(name, LIGHTNINGS.keys(), 0) ?? "");
  const nearby = other !== undefined && names.has(other) ? other : nearest(name, names);
  const near = nearby === null ? null : [nearby, ...path].join(".");
  return new CommandError(
    "ERR_FLAG",
    `nbit ${command.name}: expected ${near === null ? "a flag that it knows" : `--${near}`}. Received: ${received}. \`nbit ${command.name} --help\` lists them${command.passesOn === true ? "; flags of the script come after it" : ""}.`,
  );
}
