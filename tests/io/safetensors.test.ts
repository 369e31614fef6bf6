/** Files exchanged with Python's safetensors; see make_fixtures.py. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  arange,
  empty,
  loadSafetensors,
  parseSafetensors,
  SafetensorsFile,
  saveSafetensors,
  serializeSafetensors,
  tensor,
  type Tensor,
} from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const fixtures = new URL("../../io/fixtures/", import.meta.url);
const python = readFileSync(new URL("python.safetensors", fixtures));
const ours = readFileSync(new URL("nbit.safetensors", fixtures));
const folder = temporaryFolder("io");

/** What make_fixtures.py expects to find in nbit.safetensors. */
function ourTensors(): Record<string, Tensor> {
  return {
    weight: arange(6).div(4).reshape([2, 3]).t(),
    half: arange(4).half(),
    brain: arange(4).bfloat16(),
    flag: tensor([true, false, true]),
    count: tensor(9007199254740993n),
    wide: tensor([18446744073709551615n], { dtype: "uint64" }),
    wave: tensor(new Float32Array([1, 2, 0, -0.5]))
      .view([2, 2])
      .view("complex64")
      .view([2]),
    eight: tensor([0.5, 448]).to("float8_e4m3fn"),
    empty: empty([0, 2]),
    "größe/層": arange(3, { dtype: "uint8" }),
  };
}
const metadata = { format: "pt", note: 'line\n"quoted" ü' };

void describe("safetensors and Python", () => {
  void it("reads every dtype that Python writes, and writes the same bytes", () => {
    const tensors = parseSafetensors(python);
    assert.equal(Object.keys(tensors).length, 25);
    const dtypes = Object.keys(tensors).filter((n) => n.startsWith("t."));
    assert.equal(dtypes.length, 20);
    for (const name of dtypes) {
      const t = tensors[name] as Tensor;
      assert.equal(t.dtype, name.slice(2));
      assert.equal(t.shape[0], 2);
      assert.equal(t.nbytes, 48);
      assert.deepEqual(
        [...new Uint8Array(t.toBytes())],
        Array.from({ length: 48 }, (_, i) => (t.dtype === "bool" ? i % 2 : i)),
      );
    }
    assert.equal(tensors["scalar"]?.item(), 1.5);
    assert.deepEqual(tensors["scalar"]?.shape, []);
    assert.deepEqual(tensors["empty"]?.shape, [0, 3]);
    assert.deepEqual(tensors["größe/層"]?.tolist(), [0, 1, 2]);
    assert.deepEqual(tensors['quote"back\\slash']?.tolist(), [0, 1]);
    assert.deepEqual(Reflect.get(tensors, "__proto__"), tensors["__proto__"]);
    assert.ok(
      Buffer.from(serializeSafetensors(Object.entries(tensors), { metadata: { format: "pt" } })).equals(python),
    );
  });

  void it("writes what Python has read", () => {
    assert.ok(
      Buffer.from(serializeSafetensors(ourTensors(), { metadata })).equals(ours),
      "run make_fixtures.py again after a change of the writer",
    );
    const path = join(folder, "ours.safetensors");
    saveSafetensors(path, new Map(Object.entries(ourTensors())), { metadata });
    assert.ok(readFileSync(path).equals(ours));
  });

  void it("reads selected tensors lazily", () => {
    const path = join(folder, "python.safetensors");
    writeFileSync(path, python);
    const file = SafetensorsFile.open(path);
    assert.deepEqual({ ...file.metadata }, { format: "pt" });
    assert.equal(file.names.length, 25);
    assert.deepEqual(file.info("t.float64").shape, [2, 3]);
    assert.deepEqual(file.get("größe/層").tolist(), [0, 1, 2]);
    file.close();
    file.close();
    assert.throws(() => file.get("scalar"), { code: "SAFETENSORS_CLOSED" });
    const some = loadSafetensors(path, { names: ["scalar"] });
    assert.deepEqual(Object.keys(some), ["scalar"]);
    assert.throws(() => loadSafetensors(path, { names: ["none"] }), { code: "SAFETENSORS_MISSING" });
  });
});
