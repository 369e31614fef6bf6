import { readFileSync } from "node:fs";
import { arch, cpus } from "node:os";

let known: string | null = null;
/** The processor and its instructions: compiled code of a CPU plugin runs on no other. */
export function hostCpu(): string {
  if (known !== null) return known;
  let flags = "";
  try {
    flags = /^(?:flags|Features)\s*:.*$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[0] ?? "";
  } catch {
    // no such file: the model says most
  }
  return (known = [arch(), cpus()[0]?.model ?? "", flags].join(" "));
}
