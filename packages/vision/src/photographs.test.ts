/** JPEG files take a way of their own to a tensor: to the bits that sharp gives, and none of its own where it is not sure. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import sharp, { type Sharp } from "sharp";
import { memory, tensor, type Tensor } from "@nbit/torch";
import { decodePicture } from "@nbit/torch/media";
import { io, VisionError } from "./index.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-photographs-"));
after(() => {
  rmSync(folder, { recursive: true, force: true });
});
const noise = (width: number, height: number): Sharp =>
  sharp(
    Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 37 + (i >> 3) * 11 + (i >> 9) * 5) % 256),
    { raw: { width, height, channels: 3 } },
  );
const planes = (pixels: Tensor): unknown => pixels.permute([1, 2, 0]).contiguous().tolist();
const bySharp = async (bytes: Uint8Array): Promise<unknown> => {
  const { data, info } = await sharp(bytes, { ignoreIcc: true }).raw().toBuffer({ resolveWithObject: true });
  return tensor(new Uint8Array(data)).view([info.height, info.width, info.channels]).tolist();
};
const kinds: readonly (readonly [string, (image: Sharp) => Sharp])[] = [
  ["4:2:0", (image) => image.jpeg({ quality: 90 })],
  ["4:4:4", (image) => image.jpeg({ quality: 75, chromaSubsampling: "4:4:4" })],
  ["progressive", (image) => image.jpeg({ progressive: true })],
  ["with a colour profile", (image) => image.jpeg().withIccProfile("p3")],
  ["with an orientation", (image) => image.jpeg().withMetadata({ orientation: 6 })],
];

test("every kind of photograph, by its path and its bytes, as sharp reads it", async () => {
  for (const [name, made] of kinds)
    for (const [width, height] of [
      [1, 1],
      [17, 63],
      [64, 64],
      [130, 129],
    ] as const) {
      const bytes = await made(noise(width, height)).toBuffer();
      const path = join(folder, "a photograph é.jpg");
      writeFileSync(path, bytes);
      const expected = await bySharp(bytes);
      for (const source of [path, bytes, new Uint8Array(bytes)]) {
        const pixels = await decodePicture(source);
        assert.ok(pixels, `${name}, ${width} × ${height}: not by this way`);
        assert.deepEqual([pixels.dtype, pixels.shape], ["uint8", [3, height, width]]);
        assert.deepEqual(planes(pixels), expected, `${name}, ${width} × ${height}`);
        pixels.dispose();
      }
      assert.deepEqual(planes(await io.readImage(path, "RGB")), expected, name);
      assert.deepEqual(planes(await io.decodeImage(bytes)), expected, name);
    }
});

test("what is no photograph of three channels is sharp's", async () => {
  const grey = await noise(20, 10).toColourspace("b-w").jpeg().toBuffer();
  const inks = await noise(20, 10).toColourspace("cmyk").jpeg().toBuffer();
  const png = await noise(20, 10).png().toBuffer();
  for (const bytes of [grey, inks, png, new Uint8Array(), Buffer.from([0xff, 0xd8, 0xff])]) {
    assert.equal(await decodePicture(bytes), null);
    const path = join(folder, "other");
    writeFileSync(path, bytes);
    assert.equal(await decodePicture(path), null);
  }
  for (const path of ["", "\0", join(folder, "none"), folder]) assert.equal(await decodePicture(path), null);
  assert.deepEqual((await io.decodeImage(grey)).shape, [1, 10, 20]);
  assert.deepEqual((await io.decodeImage(grey, "RGB")).shape, [3, 10, 20]);
  assert.deepEqual((await io.decodeImage(inks, "RGB")).shape, [3, 10, 20]);
});

test("damaged photographs are errors, and memory that is given away meanwhile is none", async () => {
  const whole = await noise(200, 150).jpeg().toBuffer();
  for (let length = 4; length < whole.length; length += Math.ceil(whole.length / 40)) {
    const bytes = whole.subarray(0, length);
    assert.equal(await decodePicture(bytes), null, `${length} of ${whole.length} bytes`);
    await assert.rejects(io.decodeImage(bytes), VisionError);
  }
  const copy = new Uint8Array(whole);
  const decoding = decodePicture(copy);
  structuredClone(copy.buffer, { transfer: [copy.buffer] });
  assert.deepEqual((await decoding)?.shape, [3, 150, 200]);
});

test("many at once leave nothing behind", async () => {
  const bytes = await noise(50, 40).jpeg().toBuffer();
  const before = memory().unreleased;
  const all = await Promise.all(Array.from({ length: 40 }, () => decodePicture(bytes)));
  for (const pixels of all) pixels?.dispose();
  assert.equal(memory().unreleased, before);
});
