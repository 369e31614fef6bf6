import { clusterEnvironment } from "./environment.js";
import { getRank, isInitialized } from "./group.js";

/** This process's rank among all: of the process group, or, before there is one, as the launcher has it; 0 alone. */
export function globalRank(): number {
  if (isInitialized()) return getRank();
  try {
    return clusterEnvironment()?.rank ?? 0;
  } catch {
    return 0; // variables that contradict each other: whoever needs them says so
  }
}
