/**
 * NanoGPT on the characters of Moby Dick; it goes on from checkpoints of PyTorch's, and writes such.
 *
 *     node examples/dist/nanogpt/main.js [--precision 32|bf16|16] [--steps 240]
 *         [--resume examples/nanogpt/checkpoint.pt] [--out ckpt.pt] [--sample 200]
 */
import { runOptionsAnd } from "../shared/options.js";
import { train } from "./train.js";

const [run, own] = runOptionsAnd("resume", "out", "sample");
const [resume, out] = [own.get("resume"), own.get("out")];
train({
  ...run,
  ...(resume === undefined ? {} : { resume }),
  ...(out === undefined ? {} : { out }),
  sample: Number(own.get("sample") ?? 200),
});
