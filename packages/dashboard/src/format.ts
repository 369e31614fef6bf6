const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** `2¹⁶` */
export function powerOfTwo(exponent: number): string {
  const raised = [...String(Math.abs(exponent))].map((d) => SUPERSCRIPT[Number(d)] ?? "").join("");
  return `2${exponent < 0 ? "⁻" : ""}${raised}`;
}
