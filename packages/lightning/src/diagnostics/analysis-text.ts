/** What a compiler says of a program, in words. */
import type { Analysis, CompiledMemory } from "@nbit/xla";

export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** In thousands: "7.06 T". */
export function formatCount(count: number): string {
  const units = ["", " k", " M", " G", " T", " P"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)}${units[unit]}`;
}

export function memoryText({ peak, arguments: taken, outputs, aliased, temporaries, code }: CompiledMemory): string {
  const inPlace = aliased > 0 ? ` (${formatBytes(aliased)} of them in the arguments' memory)` : "";
  return `peak ${formatBytes(peak)}: arguments ${formatBytes(taken)}, outputs ${formatBytes(outputs)}${inPlace}, temporaries ${formatBytes(temporaries)}, code ${formatBytes(code)}`;
}

/** The phrase of a program in `explain`. */
export function analysisText({ memory, flops }: Analysis): string {
  const cost = flops === null ? "" : `, ${formatCount(flops)}FLOP`;
  return memory === null ? `memory unknown${cost}` : `${memoryText(memory)}${cost}`;
}
