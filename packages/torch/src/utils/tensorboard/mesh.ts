/** Points and triangles in space. */
import { ArgumentError } from "../../errors.js";
import { Message } from "../../io/protobuf.js";
import type { Tensor } from "../../tensor/tensor.js";
import { doublesOf } from "./numbers.js";
import { floatTensor, metadataOf, summary } from "./summary.js";

/** `ContentType` of the parts, by name. */
const PARTS = { VERTEX: 1, FACE: 2, COLOR: 3 } as const;

export interface MeshParts {
  /** `[B, N, 3]`: coordinates. */
  readonly vertices: Tensor;
  /** `[B, N, 3]`: 0 … 255. */
  readonly colors: Tensor | null;
  /** `[B, M, 3]`: which vertices a triangle has. */
  readonly faces: Tensor | null;
  /** For Three.js. */
  readonly config: object | null;
}

export function meshSummary(fn: string, tag: string, { vertices, colors, faces, config }: MeshParts): Message {
  const given = [
    ["VERTEX", vertices],
    ["FACE", faces],
    ["COLOR", colors],
  ] as const;
  const parts = given.flatMap(([name, tensor]) => (tensor === null ? [] : [{ name, tensor }]));
  const components = parts.reduce((bits, { name }) => bits | (1 << PARTS[name]), 0);
  return summary(
    parts.map(({ name, tensor }) => {
      if (tensor.ndim !== 3 || tensor.size(2) !== 3)
        throw new ArgumentError(fn, `${name.toLowerCase()} to be [B, N, 3]`, tensor);
      const content = new Message()
        .text(2, tag)
        .int(3, PARTS[name])
        .text(5, config === null ? "{}" : JSON.stringify(config))
        .ints(6, tensor.shape)
        .int(7, components);
      return {
        tag: `${tag}_${name}`,
        content: { tensor: floatTensor(tensor.shape, doublesOf(fn, name, tensor)) },
        metadata: metadataOf("mesh", content),
      };
    }),
  );
}
