/** What became of the tables on a GPU, a line for each row that differs: node tests/dist/parity/toolbox/tell-gpu.js */
import { onGpu } from "./on-gpu.js";

const counts = new Map<string, [all: number, equal: number, excepted: number]>();
for (const { area, name, mode, differences, exception } of onGpu(process.env["NBIT_PARITY_ONLY"])) {
  const count = counts.get(area) ?? [0, 0, 0];
  counts.set(area, count);
  count[0]++;
  if (differences.length === 0) count[1]++;
  else if (exception !== null) count[2]++;
  if (differences.length > 0)
    console.log(
      `${area} | ${name} | ${mode} | ${exception ?? "DIFFERS"} | ${differences.slice(0, 2).join("; ").slice(0, 240)}`,
    );
}
console.log("area: rows and modes, as PyTorch's on a CPU, excepted");
for (const [area, count] of counts) console.log(`${area}: ${count.join(", ")}`);
