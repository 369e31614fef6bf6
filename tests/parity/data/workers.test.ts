/**
 * Loaders with workers give what PyTorch's give, to the last bit of what each worker draws for itself. The fixtures are
 * made by make_workers.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DataLoader, isTensor, manualSeed, randn, type DataLoaderOptions, type Source } from "@nbit/torch";
import { camel } from "../../helpers/camel.js";
import * as sources from "./worker-sources.js";

interface Case {
  readonly source: "Noise" | "Shards";
  readonly kwargs: Readonly<Record<string, number | boolean | null>>;
  readonly passes: unknown;
  readonly after: unknown;
}
const folder = new URL("../../../parity/data/", import.meta.url);
const cases = readFileSync(new URL("workers.jsonl", folder), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);
const plain = (part: unknown): unknown => (isTensor(part) ? part.tolist() : part);

for (const { source, kwargs, passes, after } of cases)
  for (const sync of [true, false])
    test(`${source} ${JSON.stringify(kwargs)}, ${sync ? "waiting on the spot" : "in promises"}`, async () => {
      const options = Object.fromEntries(Object.entries(kwargs).map(([name, v]) => [camel(name), v]));
      manualSeed(7);
      const dataset = new sources[source]() as Source<unknown>;
      const loader = new DataLoader<unknown, unknown>(dataset, options as DataLoaderOptions<unknown, unknown>);
      const found: unknown[] = [];
      for (let pass = 0; pass < 2; pass++) {
        const batches: unknown[] = [];
        if (sync) for (const batch of loader) batches.push(batch);
        else for await (const batch of loader) batches.push(batch);
        found.push(batches.map((b) => (Array.isArray(b) ? b.map(plain) : [plain(b)])));
      }
      assert.deepEqual({ passes: found, after: randn([2]).tolist() }, { passes, after });
    });
