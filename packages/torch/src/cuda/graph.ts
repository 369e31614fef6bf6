/** CUDA graphs: a region recorded once and replayed by one launch. */
import { callable } from "../kinds.js";
import { ArgumentError, NbitError } from "../errors.js";
import { advanceWeightsEpoch, noteOtherMemory } from "../weights-epoch.js";
import { cudaFunction } from "./native.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";

const registry = new FinalizationRegistry<number>((id) => cudaFunction("graphFree", "CudaGraph")(id));

export interface CudaGraphOptions {
  /** A graph, not disposed of, whose memory pool and recording stream this one shares. Default: a pool of its own. */
  readonly pool?: CudaGraph;
}
const NAMES: OptionNames<CudaGraphOptions> = { pool: true };

/**
 * Work on a device, recorded once and replayed as a whole: one launch instead of hundreds.
 *
 * While recording nothing runs; nothing may wait for the device or allocate outside its pool. A replay reads and writes
 * the same memory as the recording did: copy new inputs into the tensors that were recorded (`x.copy_(next)`), and read
 * results from those that it made.
 *
 * Graphs that share a pool (`new CudaGraph({ pool: other })`) hold the room of one, where each alone would hold its
 * own. For that they must never run at the same time: replay them on one stream. A tensor made by one recording is not
 * touched by recordings made after it while it lives, but any graph recorded before it may write its temporaries there:
 * read such a result, or copy it, before the next replay of another graph of the pool. What must outlast replays
 * (weights, gradients, state) is made before the first recording.
 *
 * @example
 * const first = new cuda.CudaGraph();
 * const second = new cuda.CudaGraph({ pool: first });
 */
export class CudaGraph {
  readonly #id: number;
  /** The pool's first graph lives as long as any of them: a pool that no graph has is given back. */
  readonly #pool: CudaGraph | null;
  #recorded = false;
  #disposed = false;

  /** @throws {ArgumentError} `CudaGraph: expected pool to be a CudaGraph that is not disposed of. Received: …` */
  constructor(options: CudaGraphOptions = {}) {
    atMost("cuda.CudaGraph", arguments, 1);
    checkOptions("CudaGraph", options, NAMES);
    const pool: unknown = options.pool;
    if (pool !== undefined && !(pool instanceof CudaGraph && !pool.#disposed))
      throw new ArgumentError("CudaGraph", "pool to be a CudaGraph that is not disposed of", pool);
    this.#pool = pool ?? null;
    this.#id = cudaFunction("graphCreate", "CudaGraph")(this.#pool === null ? 0 : this.#pool.#id);
    registry.register(this, this.#id, this);
  }
  /**
   * Run `fn` eagerly on the stream that the recording will use: lazy initialization (cuBLAS workspaces, autotuning,
   * gradients) must be over before it.
   */
  warmUp<T>(fn: () => T): T {
    atMost("CudaGraph.warmUp", arguments, 1);
    checkArguments("CudaGraph.warmUp", { fn }, { fn: callable });
    const side = cudaFunction("graphSideStream", "CudaGraph");
    side(this.#id, true);
    try {
      return fn();
    } finally {
      side(this.#id, false);
    }
  }
  /** Record `fn`. @throws the error of whatever could not be recorded; the graph is then unusable. */
  capture<T>(fn: () => T): T {
    atMost("CudaGraph.capture", arguments, 1);
    checkArguments("CudaGraph.capture", { fn }, { fn: callable });
    if (this.#recorded)
      throw new NbitError(
        "CudaGraph.capture: expected a graph that has not recorded yet. Received: a second capture. Make a new CudaGraph.",
        "CUDA_GRAPH_CAPTURED",
      );
    cudaFunction("graphBegin", "CudaGraph")(this.#id);
    // What is derived from weights is recorded too, and nothing that was recorded is taken for a value afterwards. Casts
    // that are kept (WeightCasts) are not recorded: they are those of the weights before every replay.
    noteOtherMemory();
    let result: T;
    try {
      result = fn();
    } catch (error) {
      try {
        cudaFunction("graphEnd", "CudaGraph")(this.#id);
      } catch {
        // The capture is invalid: the first error says why.
      }
      advanceWeightsEpoch(); // what was derived while recording has never run
      throw error;
    }
    cudaFunction("graphEnd", "CudaGraph")(this.#id);
    advanceWeightsEpoch();
    this.#recorded = true;
    return result;
  }
  /** Launch the recording. Does not wait. */
  replay(): void {
    atMost("CudaGraph.replay", arguments, 0);
    if (!this.#recorded)
      throw new NbitError(
        "CudaGraph.replay: expected a recorded graph. Received: one without a capture. Call capture(fn) first.",
        "CUDA_GRAPH_EMPTY",
      );
    cudaFunction("graphReplay", "CudaGraph")(this.#id);
    noteOtherMemory();
  }
  /** Give back the recording, and its memory once no graph and no tensor of the pool has it. Waits for the device. */
  dispose(): void {
    atMost("CudaGraph.dispose", arguments, 0);
    if (this.#disposed) return;
    cudaFunction("cudaSynchronize", "CudaGraph")(cudaFunction("cudaCurrentDevice", "CudaGraph")());
    registry.unregister(this);
    cudaFunction("graphFree", "CudaGraph")(this.#id);
    this.#disposed = true;
    this.#recorded = false;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
