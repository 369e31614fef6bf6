/**
 * nbit's DataLoader beside PyTorch's, reading photographs: decode, RandomResizedCrop, flip, ToTensor, Normalize, batches
 * of 32; by sharp's libvips here, by PIL there. Sides take turns, each measurement in a process of its own.
 *
 *     node benchmarks/dist/loader/main.js [--runs=5] [--workers=0,1,2] [--photos=512] [--out=benchmarks/results]
 *
 * Needs PyTorch, torchvision and Pillow in the Python of the other benchmarks. Writes <date>-loader.json and .md.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { manualSeed, rand, scope } from "@nbit/torch";
import { io, transforms } from "@nbit/vision";
import { findPython } from "../cpu/sides.js";
import { median } from "../cpu/statistics.js";

const PASSES = 2;
const option = (name: string, otherwise: string): string =>
  process.argv.find((a) => a.startsWith(`--${name}=`))?.slice(name.length + 3) ?? otherwise;
const runs = Number(option("runs", "5"));
const PHOTOS = Number(option("photos", "512"));
const workers = option("workers", "0,1,2").split(",").map(Number);

/** Photographs of 500 × 375 with the detail that photographs have: noise of several sizes. */
async function makePhotos(folder: string): Promise<void> {
  manualSeed(0);
  for (let i = 0; i < PHOTOS; i++) {
    const image = scope(() =>
      [6, 24, 96]
        .map((n) => transforms.functional.resize(rand([3, Math.ceil(n * 0.75), n]), [375, 500], "bicubic").div(3))
        .reduce((a, b) => a.add(b))
        .mul(255)
        .clamp(0, 255)
        .to("uint8"),
    );
    await io.writeJpeg(image, join(folder, `${String(i).padStart(4, "0")}.jpg`), 90);
    image.dispose();
  }
}

interface Measured {
  readonly seconds: readonly number[];
  readonly images: number;
}
function measure(program: string, args: readonly string[]): number {
  const { stdout, stderr, status } = spawnSync(program, args, {
    encoding: "utf8",
    env: { ...process.env, OMP_NUM_THREADS: "1" },
  });
  if (status !== 0) throw new Error(`${args[0] ?? program}: ${stderr.slice(-2000)}`);
  const { seconds, images } = JSON.parse(stdout) as Measured;
  return images / median(seconds);
}

const python = findPython();
if ("missing" in python) throw new Error(python.missing);
const folder = mkdtempSync(join(tmpdir(), "nbit-photos-"));
const here = fileURLToPath(new URL(".", import.meta.url));
const source = fileURLToPath(new URL("../../loader/", import.meta.url));
try {
  await makePhotos(folder);
  const rows = workers.map((n) => ({ workers: n, nbit: [] as number[], pytorch: [] as number[] }));
  for (let run = 0; run < runs; run++)
    for (const row of rows) {
      const args = [folder, String(row.workers), String(PASSES)];
      row.nbit.push(measure(process.execPath, [join(here, "nbit.js"), ...args]));
      row.pytorch.push(measure(python.python, [join(source, "peer.py"), ...args]));
      console.log(
        `run ${run + 1}, ${row.workers} workers: nbit ${row.nbit.at(-1)?.toFixed(0)}, PyTorch ${row.pytorch.at(-1)?.toFixed(0)} images/s`,
      );
    }
  const date = new Date().toISOString().slice(0, 10);
  const out = join(option("out", "benchmarks/results"), `${date}-loader`);
  const ratio = (row: (typeof rows)[number]): string => {
    const each = row.nbit.map((x, i) => x / (row.pytorch[i] as number));
    return `${median(each).toFixed(2)} (${Math.min(...each).toFixed(2)} to ${Math.max(...each).toFixed(2)})`;
  };
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}`;
  writeFileSync(`${out}.json`, `${JSON.stringify({ machine, photos: PHOTOS, runs, rows }, null, 2)}\n`);
  writeFileSync(
    `${out}.md`,
    `# DataLoader, ${date}

Photographs per second: ${PHOTOS} JPEG files of 500 × 375, decoded, RandomResizedCrop(224), RandomHorizontalFlip, ToTensor, Normalize, in batches of 32 by shuffled loaders with persistent workers. nbit decodes by sharp's libvips and transforms tensors; PyTorch decodes by PIL and transforms PIL's images, as its users do. Median of ${runs} runs, each of ${PASSES} passes after one that begins the workers; sides take turns. ${machine}.

| workers | nbit | PyTorch | nbit / PyTorch, run by run |
|---|---|---|---|
${rows.map((row) => `| ${row.workers} | ${median(row.nbit).toFixed(0)} | ${median(row.pytorch).toFixed(0)} | ${ratio(row)} |`).join("\n")}

Decoding runs on threads of libuv's, so that nbit without workers, and each worker, may use more than one core; one of PyTorch's uses one. \`node benchmarks/dist/loader/main.js\` measures this again.
`,
  );
  console.log(`${out}.md`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
