/** Where the processes that train together meet. */
import { ArgumentError, DistributedError } from "../errors.js";
import { clusterEnvironment, type ClusterEnvironment } from "./environment.js";

/** How the others are found: a launcher's variables, or what a program says itself. */
export interface RendezvousOptions {
  readonly initMethod?: string;
  readonly rank?: number;
  readonly worldSize?: number;
}

export interface Rendezvous {
  readonly rank: number;
  readonly worldSize: number;
  readonly host: string;
  readonly port: number;
  /** This process holds the store that the others connect to. */
  readonly hostsStore: boolean;
  /** Whether it is rank 0's process that holds the store; else the launcher does. */
  readonly rank0HasStore: boolean;
  /** A socket that listens already, for the store; -1: none. */
  readonly listenFd: number;
  /** Of all keys in the store: attempts of an elastic run must not see each other's. */
  readonly attempt: string;
}

/** @throws {DistributedError} ERR_DIST_CONNECT where nobody says who this process is. */
export function rendezvous(fn: string, options: RendezvousOptions): Rendezvous {
  const cluster = clusterEnvironment();
  const { rank, worldSize } = place(fn, options, cluster);
  const attempt = `attempt_${cluster?.restartCount ?? 0}`;
  const { initMethod = "env://" } = options;
  if (initMethod !== "env://") {
    const { host, port } = parseAddress(fn, initMethod);
    return { rank, worldSize, host, port, hostsStore: rank === 0, rank0HasStore: true, listenFd: -1, attempt };
  }
  const host = cluster?.masterAddr ?? process.env.MASTER_ADDR;
  const port = cluster?.masterPort ?? Number(process.env.MASTER_PORT ?? NaN);
  if (host === undefined || !Number.isInteger(port))
    throw new ArgumentError(
      fn,
      "MASTER_ADDR and MASTER_PORT to say where rank 0 listens",
      "neither",
      'Set them, or initMethod: "tcp://host:port".',
    );
  const rank0HasStore = !launcherHasStore(cluster);
  return {
    rank,
    worldSize,
    host,
    port,
    hostsStore: rank === 0 && rank0HasStore,
    rank0HasStore,
    listenFd: takeSocket(cluster?.storeFd ?? -1),
    attempt,
  };
}

/** torchrun's own process holds the store, where it says so. */
function launcherHasStore(cluster: ClusterEnvironment | null): boolean {
  return cluster?.launcher === "torchrun" && process.env.TORCHELASTIC_USE_AGENT_STORE?.toLowerCase() === "true";
}

let socketTaken = false;
/** A socket that the launcher gave: whoever opens a store with it closes it in the end, so it serves once. */
function takeSocket(fd: number): number {
  if (fd === -1 || socketTaken) return -1;
  socketTaken = true;
  return fd;
}

function place(
  fn: string,
  { rank, worldSize }: RendezvousOptions,
  cluster: ClusterEnvironment | null,
): { readonly rank: number; readonly worldSize: number } {
  if ((rank === undefined) !== (worldSize === undefined))
    throw new ArgumentError(
      fn,
      "rank and worldSize, both or neither",
      rank === undefined ? "worldSize alone" : "rank alone",
    );
  const mine = { rank: rank ?? cluster?.rank, worldSize: worldSize ?? cluster?.worldSize };
  if (mine.rank === undefined || mine.worldSize === undefined)
    throw new DistributedError(
      `${fn}: expected a launcher's RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, or the options rank and worldSize. Received: neither. Start the script with nbit run -n 2, torchrun or srun.`,
      "ERR_DIST_CONNECT",
    );
  if (mine.rank >= mine.worldSize) throw new ArgumentError(fn, `rank to be from 0 to ${mine.worldSize - 1}`, mine.rank);
  return { rank: mine.rank, worldSize: mine.worldSize };
}

function parseAddress(fn: string, initMethod: string): { readonly host: string; readonly port: number } {
  const match = /^tcp:\/\/\[?([^\]/]+?)\]?:(\d{1,5})$/.exec(initMethod);
  if (match?.[1] === undefined || Number(match[2]) > 65535)
    throw new ArgumentError(fn, 'initMethod to be "env://" or "tcp://host:port"', initMethod);
  return { host: match[1], port: Number(match[2]) };
}
