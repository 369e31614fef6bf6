import { readFileSync } from "node:fs";
import type { Command } from "../command.js";

export const version: Command = {
  name: "version",
  summary: "print the version of nbit",
  usage: "",
  words: { most: 0, what: "no arguments" },
  groups: [],
  async run() {
    const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    if (typeof manifest !== "object" || manifest === null || !("version" in manifest))
      throw new Error("nbit version: package.json has no version");
    console.log(String(manifest.version));
    return 0;
  },
};
