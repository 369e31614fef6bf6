/**
 * Run by a test in a process of its own: an index that is out of range on the GPU, and what can still be done after it.
 * Prints what happened as one line of JSON.
 */
import { join } from "node:path";
import {
  autocast,
  crossEntropyLoss,
  cuda,
  embedding,
  loadSafetensors,
  nn,
  ones,
  randn,
  saveSafetensors,
  tensor,
  type Tensor,
} from "@nbit/torch";

const device = "cuda";
const index = (n: number): Tensor => tensor([0, n], { dtype: "int64", device });
const wrong: Readonly<Record<string, () => void>> = {
  embedding: () => void embedding(randn([4, 8], { device }), index(7)),
  labels: () => void crossEntropyLoss(randn([2, 3], { device }), index(3)),
  "labels of 16-bit logits": () =>
    void autocast({ deviceType: device, dtype: "bfloat16" }, () =>
      nn.functional.crossEntropy(
        nn.functional.linear(randn([2, 16], { device }), randn([8, 16], { device, requiresGrad: true })),
        index(9),
      ),
    ),
};

const [what = "", folder = ""] = process.argv.slice(2);
const onHost = ones([3]);
const onDevice = ones([3], { device });
cuda.synchronize();
const seen: Record<string, unknown> = {};
const caught = (fn: () => unknown): unknown => {
  try {
    return fn();
  } catch (error) {
    return error instanceof Error
      ? { name: error.name, code: (error as { readonly code?: string }).code, message: error.message }
      : String(error);
  }
};
seen["error"] = caught(() => {
  wrong[what]?.();
  cuda.synchronize();
  return "no error";
});
seen["again"] = caught(() => onDevice.add(1).item());
const path = join(folder, "host.safetensors");
seen["saved"] = caught(() => {
  saveSafetensors(path, { onHost });
  return loadSafetensors(path)["onHost"]?.tolist();
});
seen["savedFromDevice"] = caught(() => {
  saveSafetensors(join(folder, "device.safetensors"), { onDevice });
  return "no error";
});
seen["computes"] = caught(() => onHost.add(1).tolist());
console.log(JSON.stringify(seen));
