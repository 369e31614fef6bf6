/** Values as PyTorch prints them between the parentheses of a module. */

export const bool = (value: boolean): string => (value ? "True" : "False");

/** A number that is a float in PyTorch: `1.0`, `1e-05`. */
export function float(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16))
    return value.toExponential().replace(/e([+-])(\d)$/, (_, sign: string, digit: string) => `e${sign}0${digit}`);
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** `(1, 2)`, `(1,)`. */
export function tuple(values: readonly unknown[]): string {
  return `(${values.map(String).join(", ")}${values.length === 1 ? "," : ""})`;
}

/** One number where all are equal, as most are written. */
export function sizes(values: readonly unknown[]): string {
  return values.every((each) => each === values[0]) ? String(values[0]) : tuple(values);
}

/** `inplace=True` where it is, after what stands before it. */
export function withInplace(text: string, inplace: boolean): string {
  return inplace ? `${text}${text === "" ? "" : ", "}inplace=True` : text;
}
