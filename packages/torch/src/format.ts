/**
 * Numbers as people read them, in terminals and on pages. Widths stay put from one refresh to the next where that is
 * possible. Loads no native code.
 */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** `1536` → `"1.50 KiB"`: three significant digits, binary units. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return String(bytes);
  let value = Math.abs(bytes);
  let unit = 0;
  // 1023.5 and more would print as 1024 of the smaller unit.
  while (value >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const sign = bytes < 0 ? "-" : "";
  return `${sign}${unit === 0 ? String(value) : significant(value, 3)} ${BYTE_UNITS[unit] ?? ""}`;
}

/** `25450` → `"25.4 K"`: three significant digits, thousands, millions, billions, trillions. */
export function formatCount(count: number): string {
  return inThousands(count, ["", " K", " M", " B", " T"]);
}

/** `7.06e12` → `"7.06 T"`, to stand before a unit: three significant digits, prefixes of the SI. */
export function formatPrefixed(value: number): string {
  return inThousands(value, [" ", " k", " M", " G", " T", " P"]);
}

function inThousands(count: number, units: readonly string[]): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? String(count) : significant(value, 3)}${units[unit] ?? ""}`;
}

/** `1234567` → `"1,234,567"`; rounds to an integer. */
export function formatInteger(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A clock: `"0:08"`, `"12:34"`, `"1:02:03"`. */
export function formatClock(seconds: number): string {
  if (!Number.isFinite(seconds)) return "-:--";
  const whole = Math.max(0, Math.round(seconds));
  const h = Math.floor(whole / 3600);
  const m = Math.floor((whole % 3600) / 60);
  const two = (n: number): string => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(whole % 60)}` : `${m}:${two(whole % 60)}`;
}

/** A measured time: `"840 µs"`, `"12.3 ms"`, `"8.40 s"`, and a clock from two minutes on. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return String(seconds);
  if (seconds >= 120) return formatClock(seconds);
  if (seconds >= 1) return `${significant(seconds, 3)} s`;
  if (seconds >= 1e-3) return `${significant(seconds * 1e3, 3)} ms`;
  return `${significant(seconds * 1e6, 3)} µs`;
}

/** Things per second; below one per second the inverse is easier to read: `"2.50 s/it"`. */
export function formatRate(perSecond: number, unit: string): string {
  if (!Number.isFinite(perSecond) || perSecond <= 0) return `– ${unit}/s`;
  if (perSecond < 1) return `${significant(1 / perSecond, 3)} s/${unit}`;
  return `${perSecond >= 999.5 ? formatInteger(perSecond) : significant(perSecond, 3)} ${unit}/s`;
}

/**
 * A metric at a glance: four decimals below 1, four digits above. Whole numbers are given in full; not-a-number and
 * infinities by name.
 *
 * Trailing zeros stay (`0.1000`), so that a value that changes does not make the line jump. The log has the exact
 * numbers.
 */
export function formatMetric(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return formatInteger(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(2);
  return size < 1 ? value.toFixed(4) : significant(value, 4);
}

/** `0.98765` → `"98.77 %"`. */
export function formatPercent(fraction: number, decimals = 2): string {
  return `${(100 * fraction).toFixed(decimals)} %`;
}

/** So many significant digits, without an exponent unless it would be beyond -100. */
export function significant(value: number, digits: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  // Rounding first: 9.996 has one integer digit, its rounded form has two.
  const rounded = Number(value.toPrecision(digits));
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(rounded))));
  return decimals > 100 ? rounded.toExponential(digits - 1) : rounded.toFixed(decimals);
}
