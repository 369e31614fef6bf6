import { plainText } from "@nbit/torch/messages";
import type { PluginReport } from "@nbit/xla/setup";
import { lastOf, type Command } from "../command.js";

/**
 * Everything that matters for running here, and how to repair what is missing. Imports no addon before it has looked.
 */
export const doctor: Command = {
  name: "doctor",
  summary: "say whether everything is in place; show libtorch, processor, GPU, plugins, what each precision runs on",
  usage: "[--json] [--xla]",
  words: { most: 0, what: "flags alone" },
  groups: [
    {
      title: "Flags",
      flags: new Map([
        ["json", { summary: "print the report as JSON", takes: ["switch"] }],
        [
          "xla",
          {
            summary: "train a small model on a TPU, or on XLA's device for CPUs, and compare with the host",
            takes: ["switch"],
          },
        ],
      ]),
    },
  ],
  async run({ flags }) {
    const given = lastOf(flags);
    const asJson = given.get("json") === true;
    if (given.get("xla") === true) return tried(asJson);
    const { examine, renderReport } = await import("@nbit/native/doctor");
    const { examinePlugins } = await import("@nbit/xla/setup");
    const [report, plugins] = [await examine(), await examinePlugins()];
    console.log(
      asJson
        ? JSON.stringify({ ...report, xla: plugins }, null, 2)
        : [renderReport(report), "", ...sectionOf(plugins)].join("\n").trimEnd(),
    );
    return report.problems.length === 0 ? 0 : 1;
  },
};

/** Trains for a minute or so. 1: there is no device, or it does not train as the host does. */
async function tried(asJson: boolean): Promise<number> {
  const { tryXla, trialText } = await import("../xla/trial.js"); // loads libtorch
  const trial = await tryXla();
  if (typeof trial === "string") {
    console.error(plainText(trial));
    return 1;
  }
  console.log(asJson ? JSON.stringify(trial, null, 2) : plainText(trialText(trial), "\n"));
  return trial.agrees ? 0 : 1;
}

function sectionOf(plugins: readonly PluginReport[]): string[] {
  const width = Math.max(...plugins.map(({ platform }) => (platform ?? "any").length));
  const line = ({ platform, place, found, api, problem }: PluginReport): string => {
    const state = problem ?? (api === null ? found : `${found}, PJRT API ${api.major}.${api.minor}`);
    return `  ${(platform ?? "any").padEnd(width)}  ${plainText(state)}: ${plainText(place)}`;
  };
  return ["Plugins of XLA's", ...plugins.map(line), ""];
}
