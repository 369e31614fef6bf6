/** Chips that are not there, as a device of steps: programs are compiled for them, and running one computes nothing. */
import type { Analysis } from "../executable.js";
import type { LoweredStep } from "../lower/index.js";
import type { XlaTopology } from "../topology.js";
import type { DeviceBuffer, DeviceProgram, StepDevice } from "./device.js";

/** One program that was compiled. */
export interface AheadProgram {
  readonly lowered: LoweredStep;
  /** Of compiling. */
  readonly seconds: number;
  readonly analysis: Analysis;
  /** How many of each kind are in the optimized program: `all-reduce`, `fusion` and so on. */
  readonly instructions: ReadonlyMap<string, number>;
}

/** The memory of nobody: the host keeps the values that it has. */
const NOWHERE: DeviceBuffer = { readInto: () => undefined, dispose: () => undefined };

export class AheadDevice implements StepDevice {
  readonly name: string;
  readonly count: number;
  readonly float64: boolean;
  /** Those that were compiled, in order. */
  readonly programs: AheadProgram[] = [];
  readonly topology: XlaTopology;
  readonly #onRun: (programs: readonly AheadProgram[]) => void;

  /** @param onRun - Told when a program would run; may throw. */
  constructor(topology: XlaTopology, onRun: (programs: readonly AheadProgram[]) => void) {
    this.topology = topology;
    this.name = topology.name;
    this.count = topology.devices.length;
    this.float64 = topology.platform !== "tpu";
    this.#onRun = onRun;
  }

  upload(): DeviceBuffer {
    return NOWHERE;
  }

  async compile(lowered: LoweredStep): Promise<DeviceProgram> {
    const { text, partitions, results } = lowered;
    const before = performance.now();
    using executable = await this.topology.compile(text, { partitions });
    const seconds = (performance.now() - before) / 1000;
    const analysis = await executable.analyse();
    this.programs.push({ lowered, seconds, analysis, instructions: await executable.countInstructions() });
    return {
      execute: (lists, states) => {
        this.#onRun(this.programs);
        const made = results.slice(states).map(() => NOWHERE);
        return { results: lists.map(() => made), done: () => Promise.resolve() };
      },
      analyse: () => Promise.resolve(analysis),
      dispose: () => undefined,
    };
  }
}
