import { relaunch } from "@nbit/torch/distributed/run";

/**
 * This process was started alone and is to train in several: it runs the script once for each, watches over them, and
 * ends with their exit code.
 */
export async function superviseRanks(processes: number): Promise<never> {
  process.exit(await relaunch(processes));
}
