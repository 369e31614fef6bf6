/** What one rank is started with: its variables, and where its output goes. */
import { availableParallelism } from "node:os";
import type { LogFiles } from "./log-files.js";
import type { Start } from "./machines.js";
import type { Settings } from "./options.js";
import type { RankSetup, Sink } from "./rank-process.js";
import type { Screen } from "./screen.js";

/** The descriptor that rank 0 finds the store's socket at: the first after the standard ones. */
const STORE_FD = 3;

export function setupOf(
  settings: Settings,
  start: Start,
  localRank: number,
  command: readonly string[],
  screen: Screen,
  logs: LogFiles | null,
): RankSetup {
  const { listener } = start;
  const rank = start.firstRank + localRank;
  return {
    rank,
    command,
    cwd: settings.cwd,
    env: variablesOf(settings, start, localRank),
    stdin: rank === 0 ? "inherit" : "ignore",
    ...sinksOf(settings, start.worldSize, rank, screen, logs),
    storeFd: rank === 0 && listener !== null ? listener.fd : null,
  };
}

function variablesOf(settings: Settings, start: Start, localRank: number): Record<string, string | undefined> {
  const { port, restart, firstRank, worldSize } = start;
  const rank = firstRank + localRank;
  const { n, nnodes, nodeRank, masterAddr, maxRestarts } = settings;
  const given = { ...process.env, ...settings.env };
  return {
    ...given,
    OMP_NUM_THREADS: given["OMP_NUM_THREADS"] ?? String(Math.max(1, Math.floor(availableParallelism() / n))),
    RANK: String(rank),
    WORLD_SIZE: String(worldSize),
    LOCAL_RANK: String(localRank),
    LOCAL_WORLD_SIZE: String(n),
    GROUP_RANK: String(nodeRank),
    GROUP_WORLD_SIZE: String(nnodes),
    MASTER_ADDR: masterAddr,
    MASTER_PORT: String(port),
    TORCHELASTIC_RESTART_COUNT: String(restart),
    TORCHELASTIC_MAX_RESTARTS: String(maxRestarts),
    TORCHELASTIC_USE_AGENT_STORE: "False",
    NBIT_LAUNCHER: "1",
    NBIT_RUN_ID: settings.runId,
    // Undefined: another launcher's, around this one, does not count here.
    TORCHELASTIC_RUN_ID: undefined,
    NBIT_STORE_FD: rank === 0 ? String(STORE_FD) : undefined,
  };
}

/** Alone, a rank writes for itself. Rank 0 has the terminal's stdout, for its progress bar, unless that goes to a file, too. */
function sinksOf(
  { quiet }: Settings,
  worldSize: number,
  rank: number,
  screen: Screen,
  logs: LogFiles | null,
): { readonly stdout: Sink; readonly stderr: Sink } {
  if (logs === null && worldSize === 1) return { stdout: "inherit", stderr: "inherit" };
  const stderr: Sink = (lines) => {
    logs?.write(rank, lines);
    screen.stderr(rank, lines);
  };
  if (logs === null)
    return { stdout: rank === 0 ? "inherit" : quiet ? "ignore" : (lines) => screen.stdout(rank, lines), stderr };
  return {
    stdout: (lines) => {
      logs.write(rank, lines);
      if (rank === 0) screen.stdout(rank, lines);
    },
    stderr,
  };
}
