/** How much is fetched and kept, known before: measured of 2.13.0 (CPU) and 2.14.1 (CUDA 13); other versions differ by a tenth. */
import { megabytes } from "./progress.mjs";

/**
 * Bytes of the wheels (`fetched`, with NVIDIA's libraries where it is a build for CUDA) and of what is `kept` of them;
 * `headers` besides, on the disk, where the addon is compiled here.
 */
const MEASURED = {
  cpu: { fetched: 192e6, kept: 438e6, headers: 62e6 },
  cuda: { fetched: 2760e6, kept: 4090e6, headers: 95e6 },
};

/** @param {boolean} cuda */
export function sizeOfBuild(cuda) {
  return MEASURED[cuda ? "cuda" : "cpu"];
}

/** While it unpacks, wheels and what comes out of them are there at a time, and pip copies each when it has come. */
export function spaceFor(cuda, headers) {
  const { fetched, kept, headers: more } = sizeOfBuild(cuda);
  return fetched * (cuda ? 1.2 : 2) + kept + (headers ? more : 0);
}

export function sizeText(cuda, headers) {
  const { fetched, kept, headers: more } = sizeOfBuild(cuda);
  return `about ${megabytes(fetched)} to fetch, ${megabytes(kept + (headers ? more : 0))} on the disk`;
}
