/** The network by which overhead shows best. */
import type { ModelSpec } from "./models/index.js";

export function smallMlp(batch: number, width = 64, hiddenLayers = 2): ModelSpec {
  const hidden = new Array<number>(hiddenLayers).fill(width);
  return { model: "mlp", batch, sizes: [32, ...hidden, 10], loss: "crossEntropy" };
}
export const SMALL_MLP = smallMlp(8);
