/**
 * Writes every case as a model, its inputs and its outputs, for check.py to run:
 *
 *     node tests/dist/onnx/write.js FOLDER && python tests/onnx/check.py FOLDER
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isTensor, NbitError, noGrad, numpy, onnx, scope, type Tensor } from "@nbit/torch";
import { CASES, made, type Case } from "./cases.js";

const [folder = "build/onnx", only = ""] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const tensorsIn = (v: unknown): Tensor[] => (isTensor(v) ? [v] : Array.isArray(v) ? v.flatMap(tensorsIn) : []);
/** NumPy has no bfloat16. */
const plain = (t: Tensor): Tensor => (t.dtype === "bfloat16" ? t.float() : t);

function write(one: Case, index: number): void {
  const { model, args } = made(one);
  const base = join(folder, String(index).padStart(3, "0"));
  const { dynamicAxes = null, opsetVersion = null } = one;
  onnx.export(model, args, `${base}.onnx`, { dynamicAxes, opsetVersion });
  const outputs = noGrad(() => tensorsIn(Reflect.apply(model.forward, model, [...args])));
  numpy.savez(`${base}-inputs.npz`, ...args.flat().map(plain));
  numpy.savez(`${base}-outputs.npz`, ...outputs.map(plain));
}

const failed: string[] = [];
CASES.forEach((one, index) => {
  if (!one.name.includes(only)) return;
  try {
    scope(() => write(one, index));
  } catch (error) {
    failed.push(`${one.name}: ${error instanceof NbitError ? error.message : String((error as Error).stack)}`);
  }
});
writeFileSync(join(folder, "names.json"), JSON.stringify(CASES.map((c) => c.name)));
for (const line of failed) console.error(line);
console.log(`${CASES.length - failed.length} of ${CASES.length} models written to ${folder}`);
if (failed.length > 0) process.exitCode = 1;
