/** PyTorch's names, looked up in @nbit/torch as a program would: at run time, along dotted paths. */
import { camel } from "./camel.mjs";

const SPACES = {
  torch: "",
  Tensor: "Tensor.prototype.",
  "utils.data": ["utils.data.", ""],
  "utils.checkpoint": ["utils.checkpoint.", ""],
  random: ["random.", ""],
  serialization: ["serialization.", ""],
};

export const torch = {
  title: "PyTorch",
  of: "PyTorch's names",
  page: "names.md",
  collector: "collect.py",
  places: "places.json",
  rule: "A name in camelCase in the same namespace is the rule (`torch.nn.functional.batch_norm` is `nn.functional.batchNorm`; classes keep their names), and is not listed below.",
  titleOf: (space) =>
    space === "torch" ? "torch" : `torch.${space.replace(".prototype", "").replace("Tensor.__", "Tensor.__…__")}`,
  /** @returns A function that says whether a name of a namespace is there under its own name. */
  async finder() {
    const torch = await import("@nbit/torch");
    return (space, name) => candidates(space, name).some((path) => stands(torch, path));
  },
};

/** Paths below @nbit/torch where a name of a namespace may stand under its own name. */
function candidates(space, name) {
  const prefixes = SPACES[space] ?? [`${space.split(".").map(camel).join(".")}.`];
  return [prefixes].flat().map((prefix) => prefix + name.split(".").map(camel).join("."));
}

function stands(torch, path) {
  const parts = path.split(".");
  let found = torch;
  for (const [i, part] of parts.entries()) {
    if (found === null || (typeof found !== "object" && typeof found !== "function")) return false;
    if (!(part in found)) return false;
    // A getter of a prototype is there, and must not be called on it.
    if (i < parts.length - 1) found = found[part];
  }
  return true;
}
