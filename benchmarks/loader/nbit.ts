/** One measurement of nbit's DataLoader: seconds of each pass, as JSON. Arguments: folder, workers, passes. */
import { DataLoader, manualSeed, setNumThreads } from "@nbit/torch";
import { Photos } from "./photos.js";

const [folder = "", workers = "0", passes = "1"] = process.argv.slice(2);
setNumThreads(1);
manualSeed(0);
const numWorkers = Number(workers);
const loader = new DataLoader(new Photos(folder), {
  batchSize: 32,
  shuffle: true,
  numWorkers,
  persistentWorkers: numWorkers > 0,
});
const times: number[] = [];
let images = 0;
for (let pass = 0; pass <= Number(passes); pass++) {
  const begin = performance.now();
  for await (const batch of loader) {
    images += batch.size(0);
    batch.dispose();
  }
  times.push((performance.now() - begin) / 1000);
}
console.log(JSON.stringify({ seconds: times.slice(1), images: images / (Number(passes) + 1) }));
