/** Stop after two epochs, go on later: the weights are those of a run that was never stopped, to the last bit. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Trainer } from "@nbit/lightning";
import { seedEverything } from "@nbit/torch";
import { QUIET, Regressor, waves } from "./base.js";

const dir = mkdtempSync(join(tmpdir(), "nbit-resume-"));
try {
  seedEverything(1);
  const straight = new Regressor();
  await new Trainer({ ...QUIET, maxEpochs: 4 }).fit(straight, { trainDataloaders: waves(64) });

  seedEverything(1);
  const first = new Trainer({ ...QUIET, maxEpochs: 2 });
  await first.fit(new Regressor(), { trainDataloaders: waves(64) });
  first.saveCheckpoint(join(dir, "half.ckpt"));

  seedEverything(99); // whatever came in between
  const resumed = new Regressor();
  await new Trainer({ ...QUIET, maxEpochs: 4 }).fit(resumed, {
    trainDataloaders: waves(64),
    ckptPath: join(dir, "half.ckpt"),
  });

  const expected = straight.stateDict();
  const equal = [...resumed.stateDict()].every(([name, value]) => expected.get(name)?.equal(value) === true);
  console.log(equal ? "equal to the last bit" : "different");
  if (!equal) process.exitCode = 1;
} finally {
  rmSync(dir, { recursive: true });
}
