/** Every distribution, transform and divergence of the tables against PyTorch's record. make_fixtures.py makes it. */
import { incomparable } from "../../helpers/reproducible.js";
import { describe, it } from "node:test";
import { cpuCapability, setNumThreads, versions } from "@nbit/torch";
import { checkRecord, origin, records, titleOf } from "./run.js";

setNumThreads(1);
const reason = incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });

describe(`distributions as PyTorch ${origin.torch}'s`, { skip: reason ?? false }, () => {
  for (const record of records) it(titleOf(record), () => checkRecord(record));
});
