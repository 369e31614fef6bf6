/** How many processes a Trainer trains in, and which device is this one's. */
import { verbatim } from "@nbit/torch";
import { clusterEnvironment } from "@nbit/torch/distributed";
import type { Accelerator } from "../accelerators/accelerator.js";
import { resolveDevices } from "../accelerators/registry.js";
import { MisconfigurationError } from "../errors.js";
import type { Precision } from "../precision/precision.js";
import type { Strategy } from "./strategy.js";

export interface Processes {
  readonly count: number;
  /** The device of this process. */
  readonly deviceIndex: number;
  /** Nobody has started the others: so many are to be started on this machine. Null: they are there, or there are none. */
  readonly toLaunch: number | null;
  /** Indices of the devices of this machine that are used, by local rank. */
  readonly onMachine: readonly number[];
  /** Devices that this process uses; -1: all that it finds. */
  readonly devices: number;
}

export interface ProcessOptions {
  readonly devices: string | number | readonly number[];
  readonly numNodes: number;
  readonly strategy: string | Strategy;
}

/**
 * From a launcher's variables where there are some; else from `devices`, whose processes the Trainer starts itself.
 *
 * @throws {MisconfigurationError} ERR_DEVICES, ERR_NUM_NODES: where options and launcher contradict each other.
 */
export function resolveProcesses(options: ProcessOptions, accelerator: Accelerator): Processes {
  if (accelerator.drivesAllDevices === true) return inOneProcess(options, accelerator);
  const usable = accelerator.missing() === null;
  const cluster = clusterEnvironment();
  const alone = options.strategy === "single_device";
  if (cluster === null || cluster.worldSize === 1 || alone) {
    const indices = usable ? resolveDevices(options.devices, accelerator) : [0];
    if (alone && indices.length > 1) throw oneDevice(options.devices);
    return fromOptions(indices, options.numNodes);
  }
  const { localRank, localWorldSize, numNodes, worldSize } = cluster;
  if (options.numNodes !== 1 && options.numNodes !== numNodes)
    throw new MisconfigurationError(
      "Trainer",
      `numNodes to be ${numNodes}, as the launcher has it`,
      options.numNodes,
      "Leave it out.",
      "ERR_NUM_NODES",
    );
  const indices = !usable
    ? [0]
    : options.devices === "auto"
      ? Array.from({ length: localWorldSize }, (_, i) => i)
      : resolveDevices(options.devices, accelerator);
  if (usable && indices.length !== localWorldSize)
    throw new MisconfigurationError(
      "Trainer",
      `devices to be ${localWorldSize}, as many as processes that ${cluster.launcher} started on this machine`,
      options.devices,
      "Leave it out.",
      "ERR_DEVICES",
    );
  const deviceIndex = accelerator.isShared === true ? 0 : (indices[localRank] ?? 0);
  if (usable && accelerator.isShared !== true && deviceIndex >= accelerator.deviceCount())
    throw new MisconfigurationError(
      "Trainer",
      `at most ${accelerator.deviceCount()} processes on this machine, one for each device`,
      verbatim(`${localWorldSize}, of which this one has local rank ${localRank}`),
      undefined,
      "ERR_DEVICES",
    );
  return { count: worldSize, deviceIndex, toLaunch: null, onMachine: indices, devices: 1 };
}

/** @throws {MisconfigurationError} ERR_DEVICES: a launcher has started several. */
function inOneProcess({ devices }: ProcessOptions, accelerator: Accelerator): Processes {
  const cluster = clusterEnvironment();
  if (cluster !== null && cluster.worldSize > 1)
    throw new MisconfigurationError(
      "Trainer",
      `one process with accelerator ${JSON.stringify(accelerator.name)}, which drives all devices`,
      verbatim(`${cluster.worldSize}, started by ${cluster.launcher}`),
      "Start the program itself. Several machines are not supported.",
      "ERR_DEVICES",
    );
  const all = Number(devices) === -1;
  const usable = accelerator.missing() === null;
  const count = all ? -1 : usable ? resolveDevices(devices, accelerator).length : 1;
  const onMachine = Array.from({ length: all ? accelerator.deviceCount() : count }, (_, i) => i);
  return { count: 1, deviceIndex: 0, toLaunch: null, onMachine, devices: count };
}

function fromOptions(indices: readonly number[], numNodes: number): Processes {
  if (numNodes > 1)
    throw new MisconfigurationError(
      "Trainer",
      "a launcher that starts the processes of all machines",
      verbatim(`numNodes: ${numNodes} without one`),
      `On each machine: nbit run -n ${indices.length} --nnodes ${numNodes} --node-rank <0…> --master-addr <the first machine> script.ts; or torchrun, or srun.`,
      "ERR_NUM_NODES",
    );
  return {
    count: indices.length,
    deviceIndex: indices[0] ?? 0,
    toLaunch: indices.length > 1 ? indices.length : null,
    onMachine: indices,
    devices: 1,
  };
}

function oneDevice(devices: unknown): MisconfigurationError {
  return new MisconfigurationError(
    "Trainer",
    'one device with strategy "single_device"',
    devices,
    'Use strategy: "ddp" or "auto".',
    "ERR_DEVICES",
  );
}

/** For `explain`, which a precision answers: what one of these processes will hold. */
export function tellOfProcesses(precision: Precision, strategy: Strategy, count: number): void {
  const { context } = precision;
  const worldSize = Math.max(count, strategy.worldSize);
  if (context === null || worldSize === 1 || strategy.forecast === undefined) return;
  precision.context = {
    ...context,
    processForecast: (module, whole) => {
      const forecast = strategy.forecast?.(module, whole, worldSize) ?? null;
      return forecast === null ? null : { ...forecast, strategy: strategy.name, worldSize, rank: strategy.globalRank };
    },
  };
}
