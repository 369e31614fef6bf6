/** What a wheel requires on this machine: requirements of Python's packages with their conditions, as far as libtorch's go. */

const ARCHITECTURES = { x64: "x86_64", arm64: "aarch64" };
/** The Python that wheels are asked for; nothing of it is run. */
export const WHEEL_PYTHON = "3.11";

const here = {
  os_name: "posix",
  sys_platform: "linux",
  platform_system: "Linux",
  platform_machine: ARCHITECTURES[process.arch] ?? process.arch,
  python_version: WHEEL_PYTHON,
  python_full_version: `${WHEEL_PYTHON}.0`,
  implementation_name: "cpython",
  platform_python_implementation: "CPython",
};

/** @typedef {{ name: string, extras: string[], text: string }} Requirement `text` without its condition. */

/**
 * The requirements in a wheel's METADATA that hold here.
 *
 * @param {string} metadata
 * @param {readonly string[]} [extras] Of its own that are asked for: `cublas` of `cuda-toolkit[cublas]`.
 * @returns {Requirement[]}
 */
export function requirementsOf(metadata, extras = []) {
  return [...metadata.matchAll(/^Requires-Dist:\s*([^;\r\n]+?)\s*(?:;\s*(.+?)\s*)?$/gm)]
    .filter(([, , marker]) => marker === undefined || ["", ...extras].some((extra) => holds(marker, extra)))
    .map(([, text]) => {
      const [, name, wanted] = /^([\w.-]+)\s*(?:\[([^\]]*)\])?/.exec(text) ?? [null, text, undefined];
      return { name, extras: wanted?.split(",").map((each) => each.trim()) ?? [], text: text.replace(/\s+/g, "") };
    });
}

/** Whether a condition holds on this machine; one that cannot be read does. */
export function holds(marker, extra = "") {
  const tokens = marker.match(/'[^']*'|"[^"]*"|\(|\)|[<>=!~]=?=?|\w+/g) ?? [];
  let at = 0;
  const values = { ...here, extra };
  const value = () => {
    const token = tokens[at++] ?? "''";
    return /^['"]/.test(token) ? token.slice(1, -1) : (values[token] ?? "");
  };
  const operator = () => {
    const token = tokens[at++];
    return token === "not" ? `not ${tokens[at++]}` : token;
  };
  const term = () => {
    if (tokens[at] !== "(") return compare(value(), operator(), value());
    at++;
    const inside = either();
    at++;
    return inside;
  };
  /** Every operand is read, whatever the first ones say. */
  const chain = (word, operand) => {
    const values = [operand()];
    while (tokens[at] === word) {
      at++;
      values.push(operand());
    }
    return values;
  };
  const both = () => chain("and", term).every(Boolean);
  const either = () => chain("or", both).some(Boolean);
  return either();
}

function compare(left, operator, right) {
  switch (operator) {
    case "==":
    case "===":
      return left === right;
    case "!=":
      return left !== right;
    case "in":
      return right.includes(left);
    case "not in":
      return !right.includes(left);
    case "<":
      return order(left, right) < 0;
    case "<=":
      return order(left, right) <= 0;
    case ">":
      return order(left, right) > 0;
    case ">=":
      return order(left, right) >= 0;
    default:
      return true;
  }
}

function order(a, b) {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
