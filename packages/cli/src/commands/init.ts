import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { plainText } from "@nbit/torch/messages";
import type { Command } from "../command.js";
import { CommandError } from "../errors.js";

/** `nbit init`: a project that runs. */
export const init: Command = {
  name: "init",
  summary: "write a small project that trains, validates and predicts, to begin with",
  usage: "[FOLDER]",
  about:
    "Write a project into a folder; default: the working directory. It has a model, a data module, settings and a README that says what to run. Files that are there already are left alone, and then nothing is written.",
  words: { most: 1, what: "one folder", files: true },
  groups: [],
  async run({ words }) {
    const { projectFiles } = await import("../init/files.js");
    const folder = resolve(words[0] ?? ".");
    const files = projectFiles(packageName(folder), ownVersion());
    const there = [...files.keys()].filter((name) => existsSync(join(folder, name)));
    if (there.length > 0)
      throw new CommandError(
        "ERR_FILE",
        `nbit init: expected a folder without ${there.join(", ")}. Received: ${folder}. Nothing was written.`,
      );
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of files) writeFileSync(join(folder, name), text, { flag: "wx" });
    console.log(plainText(`Wrote ${[...files.keys()].join(", ")} in ${folder}.`));
    console.log(
      plainText(
        `Next: ${words[0] === undefined ? "" : `cd ${words[0]} && `}npm install && npx nbit setup && npm run fit`,
      ),
    );
    return 0;
  },
};

/** What npm takes for a name. */
function packageName(folder: string): string {
  const name = basename(folder)
    .toLowerCase()
    .replaceAll(/[^a-z\d._-]+/g, "-")
    .replace(/^[._-]+|-+$/g, "");
  return name === "" || name === "nbit" ? "my-nbit-project" : name;
}

function ownVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    readonly version: string;
  };
  return manifest.version;
}
