/** Distributions, transforms and divergences of the parity tables with everything on the GPU. */
import { after, before, describe, it } from "node:test";
import { setDefaultDevice } from "@nbit/torch";
import { checkRecord, records, titleOf } from "../parity/distributions/run.js";
import { options } from "./support.js";

describe("distributions on the GPU as PyTorch's", options, () => {
  before(() => setDefaultDevice("cuda"));
  after(() => setDefaultDevice(null));
  for (const record of records) it(titleOf(record), () => checkRecord(record));
});
