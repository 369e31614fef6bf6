/** What a compiler says of a program, in words. */
import { formatBytes, formatPrefixed } from "@nbit/torch/format";
import type { Analysis, CompiledMemory } from "@nbit/xla";

export function memoryText({ peak, arguments: taken, outputs, aliased, temporaries, code }: CompiledMemory): string {
  const inPlace = aliased > 0 ? ` (${formatBytes(aliased)} of them in the arguments' memory)` : "";
  return `peak ${formatBytes(peak)}: arguments ${formatBytes(taken)}, outputs ${formatBytes(outputs)}${inPlace}, temporaries ${formatBytes(temporaries)}, code ${formatBytes(code)}`;
}

/** The phrase of a program in `explain`. */
export function analysisText({ memory, flops }: Analysis): string {
  const cost = flops === null ? "" : `, ${formatPrefixed(flops)}FLOP`;
  return memory === null ? `memory unknown${cost}` : `${memoryText(memory)}${cost}`;
}
