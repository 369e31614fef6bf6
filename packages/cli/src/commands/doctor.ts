import { examine, renderReport } from "@nbit/native/doctor";
import { plainText } from "@nbit/torch/files";
import { examinePlugins, type PluginReport } from "@nbit/xla/setup";
import type { Command } from "../command.js";

/**
 * Everything that matters for running here, and how to repair what is missing. Imports no addon before it has looked.
 */
export const doctor: Command = {
  name: "doctor",
  summary: "show Node.js, libtorch, processor, GPU, plugins of XLA's, and what each precision runs on",
  options: new Map([
    ["--json", "print the report as JSON"],
    ["--xla", "train a small model on a TPU, or on XLA's device for CPUs, and compare with the host"],
  ]),
  async run(args) {
    if (args.includes("--xla")) return tried(args.includes("--json"));
    const [report, plugins] = [await examine(), await examinePlugins()];
    console.log(
      args.includes("--json")
        ? JSON.stringify({ ...report, xla: plugins }, null, 2)
        : [...sectionOf(plugins), renderReport(report)].join("\n"),
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
