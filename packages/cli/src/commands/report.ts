import type { Command } from "../command.js";

/** `nbit report`: the page of runs, from the logs that fits have left. */
export const report: Command = {
  name: "report",
  summary: "draw the curves of one run or of several as a page, from the logs that fits leave",
  usage: "[FOLDER…] [--out FILE] [--last N] [--open]",
  about: `Reads every run.jsonl in the folders and beneath them, compares their runs here, and writes one HTML file with their curves. It needs neither the program that trained nor a network.

  FOLDER  of a run, or of many; a log itself; default: the working directory`,
  words: { most: Infinity, what: "folders, or logs", files: true },
  groups: [
    {
      title: "Flags",
      flags: new Map([
        ["out", { summary: "the page to write", takes: ["text"], short: "o", value: "FILE", otherwise: "report.html" }],
        ["title", { summary: "its heading", takes: ["text"], value: "TEXT", otherwise: "the folder's name" }],
        ["last", { summary: "only the newest runs, so many", takes: ["number"], value: "N", otherwise: "all" }],
        ["unit", { summary: "what an element of a batch is", takes: ["text"], value: "WORD", otherwise: "samples" }],
        ["open", { summary: "show the page in the browser", takes: ["switch"] }],
      ]),
    },
  ],
  async run(call) {
    const { draw } = await import("../report/draw.js");
    return draw(call);
  },
};
