import { plainText } from "@nbit/torch";
import { formatMetric } from "@nbit/torch/format";
import { formatTable } from "./table.js";

/** The metrics of an evaluation: a line for each name, a column for each loader. */
export function evaluationTable(
  kind: "validate" | "test",
  results: readonly Readonly<Record<string, number>>[],
): string {
  const names = [...new Set(results.flatMap((each) => Object.keys(each)))];
  const columns = [
    { title: `${kind} metric` },
    ...results.map((_, i) => ({ title: results.length === 1 ? "value" : `loader ${i}`, align: "right" }) as const),
  ];
  const rows = names.map((name) => [
    plainText(name),
    ...results.map((each) => (each[name] === undefined ? "" : formatMetric(each[name]))),
  ]);
  return formatTable(columns, rows);
}
