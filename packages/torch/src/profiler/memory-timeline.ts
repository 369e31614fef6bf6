/** Memory over the time of a trace. */
import type { MemoryRecord } from "./parse.js";

export interface MemoryTimeline {
  readonly device: string;
  /** Microseconds since the profiler began. */
  readonly times: readonly number[];
  /** Bytes of tensors from that time on. */
  readonly bytes: readonly number[];
  readonly peak: number;
}

/** @param base - Bytes when the profiler began. */
export function timelineOf(records: readonly MemoryRecord[], device: string, base: number): MemoryTimeline {
  const [type, index] = device.split(":");
  const times = [0];
  const bytes = [base];
  let now = base;
  let peak = base;
  for (const record of records) {
    if (record.deviceType !== type || (type !== "cpu" && record.deviceIndex !== Number(index ?? 0))) continue;
    now += record.bytes;
    peak = Math.max(peak, now);
    times.push(record.time);
    bytes.push(now);
  }
  return { device, times, bytes, peak };
}

/** A page with the curve, which needs nothing else: one path in SVG, and what it means in words. */
export function timelineHtml({ device, times, bytes, peak }: MemoryTimeline): string {
  const [width, height] = [1000, 320];
  const end = times.at(-1) ?? 1;
  const x = (time: number): string => ((time / Math.max(end, 1)) * width).toFixed(1);
  const y = (value: number): string => (height - (value / Math.max(peak, 1)) * (height - 20)).toFixed(1);
  let path = `M0 ${height}`;
  let before = 0;
  times.forEach((time, i) => {
    path += `L${x(time)} ${y(before)}L${x(time)} ${y(bytes[i] ?? 0)}`;
    before = bytes[i] ?? 0;
  });
  path += `L${width} ${y(before)}L${width} ${height}Z`;
  const mib = (value: number): string => `${(value / 2 ** 20).toFixed(2)} MiB`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Memory of ${device}</title>
<style>body{font:14px system-ui;margin:2rem;color-scheme:light dark}svg{width:100%;height:auto}path{fill:#2a7de1;opacity:.75}</style>
<h1>Memory of tensors on ${device}</h1>
<p>${mib(bytes[0] ?? 0)} at the beginning, ${mib(peak)} at most, ${mib(before)} at the end, ${(end / 1e3).toFixed(1)} ms later.</p>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Bytes over time"><path d="${path}"/></svg>
</html>
`;
}
