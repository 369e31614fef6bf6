/** What a precision has to say when CUDA graphs replay its steps. */
export interface GraphSupport {
  /**
   * Why graphs cannot replay windows of several batches, whose gradients they keep where they lie between batches;
   * null: they can.
   */
  readonly unsupportedReason: string | null;
  /**
   * A step is about to be recorded by a graph, whose replays tell on the device only what they did. What earlier steps
   * left there is read.
   */
  beginReplays(): void;
}

/** Of precisions with nothing to say. */
export const ANY_GRAPH: GraphSupport = Object.freeze({ unsupportedReason: null, beginReplays: () => undefined });
