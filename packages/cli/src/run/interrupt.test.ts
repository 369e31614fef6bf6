import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../bin/nbit.mjs", import.meta.url));
const build = fileURLToPath(new URL("../../../../build", import.meta.url)); // inside the workspace, where @nbit/… is found
mkdirSync(build, { recursive: true });
const folder = mkdtempSync(join(build, "cli-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/**
 * Trains until it is stopped, and says when the third step has ended. `TALK`: and more after each. `WAIT`: then it
 * waits for what never comes. `STOP`: it ends after one more step.
 */
writeFileSync(
  join(folder, "endless.mjs"),
  `
import { LightningModule } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Endless extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(x) { return this.layer.forward(x).square().mean(); }
  configureOptimizers() { return new optim.SGD(this.parameters(), { lr: 0.1 }); }
  onTrainStart() { console.log("from", this.trainer.globalStep); }
  onTrainBatchEnd() {
    if (process.env.STOP === "1") this.trainer.shouldStop = true;
    if (process.env.TALK === "1") process.stdout.write("more\\n");
    if (this.trainer.globalStep !== 3) return;
    console.log("ready");
    if (process.env.WAIT === "1") return new Promise((resolve) => setTimeout(resolve, 1e9));
  }
  onFitEnd() { console.log("steps", this.trainer.globalStep); }
}
export const model = Endless;
export const trainDataloaders = () => Array.from({ length: 4 }, () => ones([1, 2]));
export const trainer = { accelerator: "cpu", maxEpochs: -1, enableProgressBar: false, enableModelSummary: false, logger: false };
`,
);

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}
/** Runs the command; `onText` sees all that it has written so far, whenever it writes. */
function nbit(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  onText: (child: ChildProcess, stdout: string, stderr: string) => void,
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [bin, ...args], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const written = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].setEncoding("utf8").on("data", (text: string) => {
        written[name] += text;
        onText(child, written.stdout, written.stderr);
      });
    child.on("close", (status, signal) => resolve({ status, signal, ...written }));
  });
}
/** Does something the first time that a condition holds. */
function once(act: () => void): (holds: boolean) => void {
  let done = false;
  return (holds) => {
    if (done || !holds) return;
    done = true;
    act();
  };
}

const SIGNALS: readonly (readonly [NodeJS.Signals, status: number, says: string])[] = [
  ["SIGINT", 130, "Interrupted: ending after this batch. Press Ctrl-C again to quit at once."],
  ["SIGTERM", 143, "Interrupted by SIGTERM: ending after this batch. A second signal ends at once."],
  ["SIGHUP", 129, "Interrupted by SIGHUP: ending after this batch. A second signal ends at once."],
];

for (const [signal, status, says] of SIGNALS)
  test(`${signal} ends a fit after its batch, with status ${status}, a checkpoint, and the command that goes on from it`, async () => {
    let interrupt: ((holds: boolean) => void) | null = null;
    const ended = await nbit(
      ["fit", "endless.mjs", "--seed", "7", "--ckptPath=last", "--gradientClipVal", "1"],
      {},
      (child, stdout) => {
        interrupt ??= once(() => child.kill(signal));
        interrupt(stdout.includes("ready"));
      },
    );
    assert.deepEqual([ended.status, ended.signal], [status, null], ended.stderr);
    const checkpoint = join(folder, "checkpoints", "interrupted.ckpt");
    assert.ok(existsSync(checkpoint));
    assert.ok(ended.stderr.includes(`\n${says}\n`), ended.stderr);
    assert.ok(
      ended.stderr.endsWith(
        `nbit fit: interrupted. Go on with: nbit fit endless.mjs --seed 7 --gradientClipVal 1 --ckptPath ${checkpoint}\n`,
      ),
      ended.stderr,
    );
    assert.doesNotMatch(ended.stdout, /steps/); // it did not end as if it were done

    const resumed = await nbit(["fit", "endless.mjs", "--ckptPath", checkpoint], { STOP: "1" }, () => {});
    assert.equal(resumed.status, 0, resumed.stderr);
    const from = Number(/^from (\d+)$/m.exec(resumed.stdout)?.[1]);
    assert.ok(from >= 3, resumed.stdout);
    assert.match(resumed.stdout, new RegExp(`^steps ${from + 1}$`, "m"));
    rmSync(join(folder, "checkpoints"), { recursive: true }); // --ckptPath=last would find what is left
  });

test("a run whose terminal is gone ends in order all the same", async () => {
  let hangUp: ((holds: boolean) => void) | null = null;
  const ended = await nbit(["fit", "endless.mjs", "--enableProgressBar", "true"], { TALK: "1" }, (child, stdout) => {
    hangUp ??= once(() => {
      child.stdout?.destroy();
      child.stderr?.destroy();
      setTimeout(() => child.kill("SIGHUP"), 100);
    });
    hangUp(stdout.includes("ready"));
  });
  const checkpoint = join(folder, "checkpoints", "interrupted.ckpt");
  assert.deepEqual([ended.status, ended.signal, existsSync(checkpoint)], [129, null, true]);
  rmSync(join(folder, "checkpoints"), { recursive: true });
});

for (const [then] of SIGNALS)
  test(`a second signal, ${then}, ends it at once`, async () => {
    let first: ((holds: boolean) => void) | null = null;
    let second: ((holds: boolean) => void) | null = null;
    const ended = await nbit(["fit", "endless.mjs"], { WAIT: "1" }, (child, stdout, stderr) => {
      first ??= once(() => child.kill("SIGINT"));
      second ??= once(() => child.kill(then));
      first(stdout.includes("ready"));
      second(stderr.includes("Press Ctrl-C again"));
    });
    assert.deepEqual([ended.status, ended.signal], [null, then], ended.stderr);
  });
