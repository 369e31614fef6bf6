/** Numbers as the report shows them. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value: number): string {
  let size = value;
  let unit = 0;
  while (size >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? String(size) : digits(size, 3)} ${BYTE_UNITS[unit] ?? ""}`;
}

export function integer(value: number): string {
  return Number.isFinite(value)
    ? Math.round(value)
        .toString()
        .replace(/\B(?=(\d{3})+$)/g, ",")
    : String(value);
}

export function percent(fraction: number, decimals = 2): string {
  return `${(100 * fraction).toFixed(decimals)} %`;
}

/** `count` significant digits, without an exponent unless it would be beyond -100. */
export function digits(value: number, count: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const rounded = Number(value.toPrecision(count));
  const decimals = Math.max(0, count - 1 - Math.floor(Math.log10(Math.abs(rounded))));
  return decimals > 100 ? rounded.toExponential(count - 1) : rounded.toFixed(decimals);
}

export function seconds(value: number): string {
  if (value >= 120) {
    const whole = Math.round(value);
    return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  }
  return value >= 1 ? `${digits(value, 3)} s` : `${digits(value * 1000, 3)} ms`;
}

/** A metric: four significant digits, an exponent only where it is needed. */
export function metric(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e9) return integer(value);
  return size < 1e-4 || size >= 1e6 ? value.toExponential(2) : digits(value, 4);
}

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** `2¹⁶` */
export function powerOfTwo(exponent: number): string {
  const raised = [...String(Math.abs(exponent))].map((d) => SUPERSCRIPT[Number(d)] ?? "").join("");
  return `2${exponent < 0 ? "⁻" : ""}${raised}`;
}
