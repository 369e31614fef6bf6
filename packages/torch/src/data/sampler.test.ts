import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DistributedSampler, RandomSampler, Sampler } from "./index.js";

void describe("samplers of any size", () => {
  void it("shares of all ranks together cover everything evenly", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 7 }),
        fc.boolean(),
        fc.boolean(),
        fc.nat(5),
        (n, numReplicas, shuffle, dropLast, epoch) => {
          const shares = Array.from({ length: numReplicas }, (_, rank) => {
            const s = new DistributedSampler({ length: n }, { numReplicas, rank, shuffle, dropLast });
            s.setEpoch(epoch);
            const all = [...s];
            assert.equal(all.length, s.length);
            return all;
          });
          assert.equal(new Set(shares.map((s) => s.length)).size, 1);
          const seen = new Set(shares.flat());
          if (dropLast) assert.equal(seen.size, shares.flat().length);
          else assert.equal(seen.size, n);
        },
      ),
      { numRuns: 200, seed: 1 },
    );
  });
  void it("a permutation holds every position once", () => {
    for (const n of [1, 2, 255, 256, 70000]) {
      const all = [...new RandomSampler({ length: n })];
      assert.deepEqual(all.length, n);
      assert.equal(new Set(all).size, n);
    }
    assert.ok(new RandomSampler({ length: 3 }) instanceof Sampler);
  });
});
