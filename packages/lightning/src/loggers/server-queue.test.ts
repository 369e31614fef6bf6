import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerQueue } from "./server-queue.js";

/** A queue whose server fails as often as `failures` says, and keeps what it took. */
function queueOf({ failures = 0, most = 1000, perSend = 3 }): {
  queue: ServerQueue<number>;
  taken: number[];
  sizes: number[];
} {
  let left = failures;
  const taken: number[] = [];
  const sizes: number[] = [];
  const queue = new ServerQueue<number>({
    name: "Test",
    send: (items) => {
      if (left-- > 0) return Promise.reject(new Error("away"));
      if (items.includes(-1)) return Promise.reject(new Error("refused"));
      taken.push(...items);
      sizes.push(items.length);
      return Promise.resolve();
    },
    worthRetrying: (error) => (error as Error).message === "away",
    perSend,
    most,
    retrySeconds: 0.001,
  });
  return { queue, taken, sizes };
}
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

test("all arrives in order, in pieces, however often the server is away", async () => {
  for (const failures of [0, 1, 4]) {
    const { queue, taken, sizes } = queueOf({ failures });
    queue.add(upTo(5));
    queue.add([5, 6, 7]);
    assert.equal(await queue.drained(10), true);
    assert.deepEqual(taken, upTo(8));
    assert.ok(sizes.every((size) => size <= 3));
    queue.add([8]);
    assert.equal(await queue.drained(10), true);
    assert.deepEqual(taken, upTo(9));
  }
});

test("what is refused is dropped, and the rest goes on", async () => {
  const { queue, taken } = queueOf({ perSend: 1 });
  queue.add([1, -1, 2]);
  assert.equal(await queue.drained(10), true);
  assert.deepEqual(taken, [1, 2]);
});

test("it is bounded: the oldest go, and are counted", async () => {
  const { queue, taken } = queueOf({ failures: 2, most: 10 });
  queue.add(upTo(25));
  assert.ok(queue.length <= 10);
  assert.equal(await queue.drained(10), true);
  assert.equal(queue.dropped, 15);
  assert.deepEqual(taken, upTo(25).slice(15));
});

test("waiting for it has an end, and stopping says what is lost", async () => {
  const { queue, taken } = queueOf({ failures: Infinity });
  queue.add(upTo(4));
  assert.equal(await queue.drained(0.02), false);
  assert.equal(queue.stop(), 4);
  assert.equal(await queue.drained(10), true);
  assert.deepEqual(taken, []);
});
