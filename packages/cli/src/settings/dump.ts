/** Settings as YAML that `--config` reads again. */
import { stringify } from "yaml";
import { defaultText, TRAINER_OPTIONS } from "@nbit/lightning/options";
import { isPlain } from "@nbit/torch/realm";
import type { Values } from "./fill.js";
import type { ClassChoice } from "./given.js";

/** All that repeats a run; a name without a value is left out. */
export interface Config {
  readonly file?: string | undefined;
  readonly seed?: number | undefined;
  readonly ckptPath?: string | undefined;
  /** What can be written of the Trainer's options. */
  readonly trainer: Values;
  /** Arguments, or a class with its own. */
  readonly model?: Values | ClassChoice | undefined;
  readonly data?: Values | ClassChoice | undefined;
  readonly optimizer?: ClassChoice | undefined;
  readonly lrScheduler?: ClassChoice | undefined;
  /** What a program's own command line adds. */
  readonly [name: string]: unknown;
}

const OPTIONS = { lineWidth: 0, aliasDuplicateObjects: false } as const;

/** @param header - Lines of a comment above it. */
export function configText(config: Config, header: readonly string[] = []): string {
  const kept = Object.entries(config).flatMap(([name, value]: [string, unknown]) => {
    const plain = writable(value);
    return plain === undefined || (isPlain(plain) && Object.keys(plain).length === 0) ? [] : [[name, plain] as const];
  });
  const comment = header.map((line) => `# ${line.replaceAll(/[\n\r]+/g, " ")}\n`).join("");
  return comment + (kept.length === 0 ? "{}\n" : stringify(Object.fromEntries(kept), OPTIONS));
}

/** The same with every option of the Trainer that it leaves at its default, in comments: a file to begin with. */
export function configTemplate(config: Config, header: readonly string[] = []): string {
  const rest = Object.entries(TRAINER_OPTIONS).flatMap(([name, row]) =>
    name in config.trainer || row.flag === null ? [] : [`  # ${name}: ${defaultText(row)}   (${row.summary})\n`],
  );
  const text = configText(config, header);
  const trainer = /^trainer:\n(?: .*\n)*/m;
  if (trainer.test(text)) return text.replace(trainer, (lines) => lines + rest.join(""));
  return `${text === "{}\n" ? "" : text.replace(/^\{\}\n$/m, "")}trainer:\n${rest.join("")}`;
}

/** Without what no text can say: tensors, loaders, instances of classes. Undefined: nothing of it can. */
export function writable(value: unknown): unknown {
  if (value === null || ["string", "number", "boolean"].includes(typeof value)) return value;
  if (Array.isArray(value)) {
    const items = value.map(writable);
    return items.includes(undefined) ? undefined : items;
  }
  if (!isPlain(value)) return undefined;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, each]) => {
      const plain = writable(each);
      return plain === undefined ? [] : [[name, plain] as const];
    }),
  );
}
