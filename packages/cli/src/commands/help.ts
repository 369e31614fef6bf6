import type { Command } from "../command.js";
import { CommandError } from "../errors.js";
import { nearest } from "@nbit/torch/names";
import { helpText, overview } from "../help/text.js";

/** Lists `others`, and itself after them; of one of them, all of its flags. */
export function helpOn(others: readonly Command[]): Command {
  const all = (): readonly Command[] => [...others, help];
  const help: Command = {
    name: "help",
    summary: "show this list, or the flags of a command",
    usage: "[COMMAND]",
    words: { most: 1, what: "the name of a command", choices: others.map(({ name }) => name) },
    groups: [],
    run({ words: [name] }) {
      const found = all().find((command) => command.name === name);
      if (name !== undefined && found === undefined) throw unknownCommand(name, all());
      console.log(found === undefined ? overview(all()) : helpText(found));
      return Promise.resolve(0);
    },
  };
  return help;
}

export function unknownCommand(name: string, commands: Iterable<Pick<Command, "name">>): CommandError {
  const names = [...commands].map((command) => command.name);
  const near = nearest(name, names);
  return new CommandError(
    "ERR_COMMAND",
    `nbit: expected ${near ?? `a command of ${names.join(", ")}`}. Received: ${JSON.stringify(name)}. \`nbit help\` lists them.`,
  );
}
