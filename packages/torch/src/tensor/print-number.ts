/**
 * Numbers as Python's format specifications `.4f`, `.4e` and `.0f` write them: correctly rounded, ties to even.
 * JavaScript rounds ties away from zero.
 */

function special(value: number): string | null {
  if (Number.isNaN(value)) return "nan";
  if (value === Infinity) return "inf";
  if (value === -Infinity) return "-inf";
  return null;
}

/**
 * Drop the last digit of decimal digits that end in an exact tie, rounding to even. `up` is the same number rounded
 * away from zero.
 */
function tieToEven(exact: string, up: string): string {
  const down = exact.replace(/\.?\d$/, "");
  return "02468".includes(down.at(-1) ?? "") ? down : up;
}

/** `f"{value:.{digits}f}"`. */
export function fixed(value: number, digits: number): string {
  const word = special(value);
  if (word !== null) return word;
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const size = Math.abs(value);
  // From 1e21 on toFixed gives up; such doubles are whole.
  if (size >= 1e21) return `${sign}${BigInt(size)}${digits > 0 ? `.${"0".repeat(digits)}` : ""}`;
  const up = size.toFixed(digits);
  // A double is half-way between two decimals of n digits exactly when it is an odd multiple of 2^-(n+1).
  const scaled = size * 2 ** (digits + 1);
  if (digits < 100 && Number.isSafeInteger(scaled) && scaled % 2 === 1)
    return sign + tieToEven(size.toFixed(digits + 1), up);
  return sign + up;
}

/** `f"{value:.{digits}e}"`. */
export function scientific(value: number, digits: number): string {
  const word = special(value);
  if (word !== null) return word;
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const size = Math.abs(value);
  let [mantissa = "", exponent = ""] = size.toExponential(digits).split("e");
  // 25 more digits settle whether the rest is exactly a half: no double lies that near to a short decimal without being
  // it.
  const exact = size.toExponential(Math.min(100, digits + 26));
  const rest = exact.slice(digits === 0 ? 2 : digits + 2, exact.indexOf("e"));
  if (/^50*$/.test(rest)) {
    const [downMantissa = "", downExponent = ""] = exact.split("e");
    const down = downMantissa.slice(0, digits === 0 ? 1 : digits + 2);
    if ("02468".includes(down.at(-1) ?? "")) [mantissa, exponent] = [down, downExponent];
  }
  const power = Number(exponent);
  return `${sign}${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}
