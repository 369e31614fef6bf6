import { getCpuKernels, getSwitch, setCpuKernels, setSwitch, useDeterministicAlgorithms } from "@nbit/torch";
import type { ResolvedOptions } from "../resolve-options.js";

/** Sets what holds for the whole process while a run lasts. @returns what puts it back. */
export function setSwitches({ deterministic, benchmark, cpuKernels }: ResolvedOptions): () => void {
  const before = {
    deterministic: getSwitch("deterministicAlgorithms"),
    benchmark: getSwitch("cudnnBenchmark"),
    cpuKernels: getCpuKernels(),
  };
  if (deterministic !== false) useDeterministicAlgorithms(true, { warnOnly: deterministic === "warn" });
  if (benchmark !== undefined) setSwitch("cudnnBenchmark", benchmark);
  if (cpuKernels !== undefined) setCpuKernels(cpuKernels);
  return () => {
    if (deterministic !== false) useDeterministicAlgorithms(before.deterministic);
    if (benchmark !== undefined) setSwitch("cudnnBenchmark", before.benchmark);
    if (cpuKernels !== undefined) setCpuKernels(before.cpuKernels);
  };
}
