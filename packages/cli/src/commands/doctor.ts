import { examine, renderReport } from "@nbit/native/doctor";
import type { Command } from "../command.js";

/**
 * Everything that matters for running here, and how to repair what is missing. Imports no addon before it has looked.
 */
export const doctor: Command = {
  name: "doctor",
  summary: "show Node.js, libtorch, processor, GPU, and what each precision runs on",
  options: new Map([["--json", "print the report as JSON"]]),
  async run(args) {
    const report = await examine();
    console.log(args.includes("--json") ? JSON.stringify(report, null, 2) : renderReport(report));
    return report.problems.length === 0 ? 0 : 1;
  },
};
