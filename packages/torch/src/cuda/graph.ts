/** CUDA graphs: a region recorded once and replayed by one launch. */
import { NbitError } from "../errors.js";
import { advanceWeightsEpoch } from "../weights-epoch.js";
import { cudaFunction } from "./native.js";

const registry = new FinalizationRegistry<number>((id) => cudaFunction("graphFree", "CudaGraph")(id));

/**
 * Work on a device, recorded once and replayed as a whole: one launch instead of hundreds.
 *
 * While recording nothing runs; nothing may wait for the device or allocate outside its pool. A replay reads and writes the same memory as the recording did: copy new inputs
 * into the tensors that were recorded (`x.copy_(next)`), and read results from those that it made.
 */
export class CudaGraph {
  readonly #id: number;
  #recorded = false;

  constructor() {
    this.#id = cudaFunction("graphCreate", "CudaGraph")();
    registry.register(this, this.#id);
  }
  /** Run `fn` eagerly on the stream that the recording will use: lazy initialization (cuBLAS workspaces, autotuning, gradients) must be over before it. */
  warmUp<T>(fn: () => T): T {
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
    if (this.#recorded) throw new NbitError("CudaGraph.capture: expected a graph that has not recorded yet. Received: a second capture. Make a new CudaGraph.", "CUDA_GRAPH_CAPTURED");
    cudaFunction("graphBegin", "CudaGraph")(this.#id);
    // What is derived from weights is recorded too, and nothing that was recorded is taken for a value afterwards.
    advanceWeightsEpoch();
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
    if (!this.#recorded) throw new NbitError("CudaGraph.replay: expected a recorded graph. Received: one without a capture. Call capture(fn) first.", "CUDA_GRAPH_EMPTY");
    cudaFunction("graphReplay", "CudaGraph")(this.#id);
    advanceWeightsEpoch();
  }
}
