/** `nbit tune`: a learning rate and a batch size that suit, by trying. */
import { saysNothing, type Command, type Flag, type Flags } from "../command.js";
import { CONFIG_FLAGS, PARTS_FLAGS, SECTIONS, trainerGroups, VERBOSE } from "../run/flags.js";
import { FILE_EXPORTS } from "./run.js";

const number = (summary: string, otherwise: string): Flag => ({ summary, takes: ["number"], value: "N", otherwise });
const OWN: Flags = new Map<string, Flag>([
  ["lr", { summary: "look for a learning rate; so it is without --batchSize, too", takes: ["switch"] }],
  ["batchSize", { summary: "look for the largest batch size that memory suffices for", takes: ["switch"] }],
  ["minLr", number("rate to begin at", "1e-8")],
  ["maxLr", number("rate to end at", "1")],
  ["numTraining", number("steps of the search for a rate", "100")],
  [
    "lrMode",
    {
      summary: "how rates grow",
      takes: ["text"],
      choices: ["exponential", "linear"],
      values: "exponential or linear",
      otherwise: "exponential",
    },
  ],
  ["plot", { summary: "draw loss over rate", takes: ["text"], value: "FILE", values: "lr.svg" }],
  [
    "batchSizeMode",
    {
      summary: "how sizes grow",
      takes: ["text"],
      choices: ["power", "binsearch"],
      values: "power or binsearch",
      otherwise: "power",
    },
  ],
  ["initVal", number("batch size to begin at", "2")],
  ["maxTrials", number("how often the size grows", "25")],
  ["stepsPerTrial", number("steps with each size", "3")],
  [
    "save",
    { summary: "write the settings with what was found, for nbit fit --config", takes: ["text"], value: "FILE" },
  ],
]);

export const tune: Command = {
  name: "tune",
  summary: "look for a learning rate, or a batch size, by trying",
  usage: "FILE [--lr] [--batchSize] [--flag value]…",
  about: `Look for a learning rate, or the largest batch size that memory suffices for, and say which flags pass them on. Nothing is trained. FILE exports, as for nbit fit,

${FILE_EXPORTS}

The model has lr (or learningRate) as a field or a hyper-parameter; model or data have batchSize.`,
  words: { most: 1, what: "one file", files: true },
  sections: SECTIONS,
  groups: [
    { title: "What is looked for", flags: OWN },
    { title: "Settings", flags: CONFIG_FLAGS },
    { title: "Parts", flags: PARTS_FLAGS },
    ...trainerGroups(),
    { title: "This command", flags: VERBOSE },
  ],
  async help(call) {
    if (saysNothing(call, process.env)) return null;
    const { helpOnFile } = await import("../run/open.js");
    return helpOnFile("tune", call, [...OWN.keys()]);
  },
  async run(call) {
    const { tuneBy } = await import("../tune/tune.js");
    return tuneBy(call, [...OWN.keys()]);
  },
};
