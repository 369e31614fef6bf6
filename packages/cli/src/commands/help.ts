import type { Command } from "../command.js";

/** Lists `others`, and itself after them. */
export function helpOn(others: readonly Command[]): Command {
  const help: Command = {
    name: "help",
    summary: "show this list",
    options: new Map(),
    run() {
      const lines = ["Usage: nbit <command>", ""];
      for (const command of [...others, help]) {
        lines.push(`  ${command.name.padEnd(13)}${command.summary}`);
        for (const [flag, summary] of command.options) lines.push(`    ${flag.padEnd(12)}${summary}`);
      }
      console.log(lines.join("\n"));
      return Promise.resolve(0);
    },
  };
  return help;
}
