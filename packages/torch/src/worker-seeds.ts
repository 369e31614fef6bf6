/** What threads of data loaders are seeded with. */

/** Whether the rank of a process is part of them; else they are as PyTorch has them. */
let mixed = false;

export function mixWorkerSeeds(on: boolean): void {
  mixed = on;
}
export function workerSeedsAreMixed(): boolean {
  return mixed;
}

const U64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/**
 * The seed of a thread, from its pass's and its number, and with a rank from that as well, by the finalizer of
 * MurmurHash3 and one step of a linear congruential generator: equal to Lightning's of the same three numbers.
 */
export function workerSeed(base: bigint, id: number, rank: number | null): bigint {
  if (rank === null) return U64(base + BigInt(id));
  let bits = (base << 32n) | (BigInt(id) << 16n) | BigInt(rank);
  bits ^= bits >> 33n;
  bits = U64(bits * 0xff51afd7ed558ccdn);
  bits ^= bits >> 33n;
  bits = U64(bits * 0xc4ceb9fe1a85ec53n);
  bits ^= bits >> 33n;
  return U64(bits * 6364136223846793005n + 1n);
}
