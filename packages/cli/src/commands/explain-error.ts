/** `nbit explain-error`: the documentation's section of a code, without network. */
import type { Command } from "../command.js";
import { CommandError } from "../errors.js";
import { columns, wrap } from "../help/text.js";
import { nearest } from "@nbit/torch/names";

// Read when it is asked for: every other command starts without.
const table = () => import("../codes/index.js");

export const explainError: Command = {
  name: "explain-error",
  summary: "say what the code of an error means, and what to do; without a code, list all",
  usage: "[CODE]",
  about:
    "Say what the code of an error or a warning means, what usually leads to it, and what to do. No network is needed.\n\n" +
    "  nbit explain-error ERR_LOSS_GRAPH\n  nbit explain-error scaler   # codes with this word",
  words: { most: 1, what: "a code", more: async () => (await table()).allCodes() },
  groups: [],
  async run({ words: [given] }) {
    const { allCodes, FAMILIES, findCode } = await table();
    const { sectionText } = await import("../codes/section.js");
    if (given === undefined) {
      const lists = FAMILIES.map(({ title, codes }) =>
        [title, ...wrap(Object.keys(codes).join(", "), columns(), 2)].join("\n"),
      );
      console.log([...lists, "`nbit explain-error CODE` explains one."].join("\n\n"));
      return 0;
    }
    const code = given
      .trim()
      .toUpperCase()
      .replace(/-/g, "_")
      .replace(/[:\][]/g, "");
    const found = findCode(code);
    if (found !== null) {
      console.log(sectionText(code, found.family, found.row, columns()));
      return 0;
    }
    const all = allCodes();
    const near = nearest(code, all);
    const like = all.filter((name) => name.split("_").some((word) => word.startsWith(code)));
    if (near === null && like.length > 0) {
      console.log(wrap(like.join(", "), columns()).join("\n"));
      return 0;
    }
    throw new CommandError(
      "ERR_ARGUMENTS",
      `nbit explain-error: expected ${near ?? "a code of nbit"}. Received: ${JSON.stringify(given)}. \`nbit explain-error\` lists all; codes without an underscore, such as ENOENT, are the operating system's.`,
    );
  },
};
