import { getSwitch, setSwitch, useDeterministicAlgorithms } from "@nbit/torch";
import type { ResolvedOptions } from "../resolve-options.js";

/** Sets what holds for the whole process while a run lasts. @returns what puts it back. */
export function setSwitches({ deterministic, benchmark }: ResolvedOptions): () => void {
  const before = { deterministic: getSwitch("deterministicAlgorithms"), benchmark: getSwitch("cudnnBenchmark") };
  if (deterministic !== false) useDeterministicAlgorithms(true, { warnOnly: deterministic === "warn" });
  if (benchmark !== undefined) setSwitch("cudnnBenchmark", benchmark);
  return () => {
    if (deterministic !== false) useDeterministicAlgorithms(before.deterministic);
    if (benchmark !== undefined) setSwitch("cudnnBenchmark", before.benchmark);
  };
}
