/** The benchmark's models and batches: the same layers, made and drawn in the same order as in torch_models.py. */
import { nn, randint, randn, type Tensor } from "@nbit/torch";
import { Cnn, ResNet18 } from "./convolutions.js";
import { Lstm } from "./lstm.js";
import { Transformer, Vit } from "./transformer.js";

interface Heads {
  readonly width: number;
  readonly heads: number;
  readonly layers: number;
}
/** A model with its sizes and its batch. */
export type ModelSpec = { readonly batch: number } & (
  | { readonly model: "mlp"; readonly sizes: readonly number[]; readonly loss: "crossEntropy" | "mse" }
  | { readonly model: "cnn" | "resnet18" }
  | {
      readonly model: "lstm";
      readonly inputs: number;
      readonly hidden: number;
      readonly layers: number;
      readonly length: number;
    }
  | (Heads & { readonly model: "transformer"; readonly vocabulary: number; readonly context: number })
  | (Heads & { readonly model: "vit" })
);

export interface Workload {
  readonly net: nn.Module & { forward(x: Tensor): Tensor };
  readonly x: Tensor;
  readonly y: Tensor;
  readonly loss: (output: Tensor, target: Tensor) => Tensor;
}

/** Linear layers with ReLU between them. */
function mlp(sizes: readonly number[]): nn.Sequential {
  return new nn.Sequential(
    ...sizes.slice(1).flatMap((outputs, i) => {
      const layer = new nn.Linear(sizes[i] as number, outputs);
      return i > 0 ? [new nn.ReLU(), layer] : [layer];
    }),
  );
}

const crossEntropy = (output: Tensor, target: Tensor): Tensor => nn.functional.crossEntropy(output, target);
const mse = (output: Tensor, target: Tensor): Tensor => nn.functional.mseLoss(output, target);

export function build(spec: ModelSpec): Workload {
  const { batch } = spec;
  switch (spec.model) {
    case "mlp": {
      const [inputs, outputs] = [spec.sizes[0] as number, spec.sizes.at(-1) as number];
      const [net, x] = [mlp(spec.sizes), randn([batch, inputs])];
      return spec.loss === "mse"
        ? { net, x, y: randn([batch, outputs]), loss: mse }
        : { net, x, y: randint(0, outputs, [batch]), loss: crossEntropy };
    }
    case "transformer": {
      const { vocabulary, context, width, heads, layers } = spec;
      const net = new Transformer(vocabulary, context, width, heads, layers);
      const x = randint(0, vocabulary, [batch, context]);
      return { net, x, y: randint(0, vocabulary, [batch * context]), loss: crossEntropy };
    }
    case "cnn":
      return ofTenClasses(new Cnn(), [batch, 1, 28, 28]);
    case "resnet18":
      return ofTenClasses(new ResNet18(), [batch, 3, 32, 32]);
    case "lstm":
      return ofTenClasses(new Lstm(spec.inputs, spec.hidden, spec.layers), [batch, spec.length, spec.inputs]);
    case "vit":
      return ofTenClasses(new Vit(spec.width, spec.heads, spec.layers), [batch, 3, 32, 32]);
  }
}

function ofTenClasses(net: Workload["net"], shape: readonly number[]): Workload {
  const x = randn(shape);
  return { net, x, y: randint(0, 10, [shape[0] as number]), loss: crossEntropy };
}
