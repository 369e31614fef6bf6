import { XlaError } from "./errors.js";
import { fieldsOf } from "./proto.js";

const decoder = new TextDecoder();

/**
 * Instructions by kind in an optimized program. Fused ones count, in the computations that fusions call.
 *
 * @param format - `hlo`, a `HloModuleProto`, or `hlo_with_config`, which has one in field 1.
 * @throws {XlaError} `XLA_PROGRAM_FORMAT` for another format, or bytes that are not what it says.
 */
export function countInstructions(bytes: Uint8Array, format: string): Map<string, number> {
  if (format !== "hlo" && format !== "hlo_with_config")
    throw new XlaError(
      `countInstructions: expected the format hlo or hlo_with_config. Received: ${format}.`,
      "XLA_PROGRAM_FORMAT",
    );
  const counts = new Map<string, number>();
  try {
    const module = format === "hlo" ? bytes : nested(bytes, 1).next().value;
    for (const computation of nested(module ?? new Uint8Array(), 3))
      for (const instruction of nested(computation, 2))
        for (const opcode of nested(instruction, 2)) {
          const name = decoder.decode(opcode);
          counts.set(name, (counts.get(name) ?? 0) + 1);
        }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new XlaError(`countInstructions: ${error.message}.`, "XLA_PROGRAM_FORMAT", { cause: error });
  }
  return counts;
}

function* nested(bytes: Uint8Array, wanted: number): Generator<Uint8Array, undefined> {
  for (const { field, value } of fieldsOf(bytes)) if (field === wanted && typeof value !== "bigint") yield value;
}
