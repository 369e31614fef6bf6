import type { Command } from "../command.js";

export const help: Command = {
  name: "help",
  summary: "show this list",
  options: new Map(),
  async run() {
    const { commands } = await import("./index.js"); // help is itself in the list
    const lines = ["Usage: nbit <command>", ""];
    for (const command of commands.values()) {
      lines.push(`  ${command.name.padEnd(10)}${command.summary}`);
      for (const [flag, summary] of command.options) lines.push(`    ${flag.padEnd(8)}${summary}`);
    }
    console.log(lines.join("\n"));
    return 0;
  },
};
