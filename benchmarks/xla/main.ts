/**
 * Steps of the CPU benchmark's models, compiled by XLA: `node benchmarks/dist/xla/main.js --model=gpt [--precision=bf16]
 * [--steps=60] [--plugin=FILE|host] [--losses]`. Prints one line of JSON. `host` trains by libtorch on this machine.
 *
 * JAX's own jit of the same model, from the same weights, is python/jax_side.py of the CPU benchmark; on a GPU, run it
 * with JAX's CUDA plugin, and this with `--plugin` naming that plugin's file.
 */
import { Callback, LightningModule, Logger, Trainer, XLAAccelerator, type Metrics } from "@nbit/lightning";
import { keep, optim, seedEverything, type Tensor } from "@nbit/torch";
import { build, type ModelSpec } from "../cpu/models/index.js";
import { flagsOf } from "../flags.js";

const MODELS: Readonly<Record<string, ModelSpec>> = {
  mlp: { model: "mlp", batch: 32, sizes: [32, 64, 64, 10], loss: "crossEntropy" },
  gpt: { model: "transformer", batch: 8, context: 256, vocabulary: 65, width: 384, heads: 6, layers: 6 },
  gpt2: { model: "transformer", batch: 8, context: 1024, vocabulary: 50304, width: 768, heads: 12, layers: 12 },
  resnet18: { model: "resnet18", batch: 32 },
};

class Rows extends Logger {
  readonly name = "rows";
  readonly version = 0;
  readonly losses: number[] = [];
  override logMetrics(metrics: Metrics): void {
    if (metrics["loss"] !== undefined) this.losses.push(metrics["loss"]);
  }
}

async function main(): Promise<void> {
  const flags = flagsOf(["model", "precision", "steps", "plugin", "losses"], process.argv.slice(2));
  const name = flags.get("model") ?? "mlp";
  const model = MODELS[name];
  if (model === undefined)
    throw new Error(`expected --model among ${Object.keys(MODELS).join(", ")}. Received: ${name}`);
  const steps = Number(flags.get("steps") ?? 60);
  const plugin = flags.get("plugin");
  const logs = flags.has("losses");
  seedEverything(42);
  const workload = build(model);
  const times: number[] = [];
  class Timer extends Callback {
    override onTrainBatchEnd(): void {
      times.push(performance.now());
    }
  }
  class Module extends LightningModule {
    readonly net = workload.net;
    override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
      const loss = workload.loss(this.net.forward(x), y);
      if (logs) this.log("loss", loss);
      return loss;
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.AdamW(this.parameters(), { lr: 1e-3, fused: true });
    }
  }
  const rows = new Rows();
  const pair = [keep(workload.x), keep(workload.y)];
  const trainer = new Trainer({
    accelerator: plugin === "host" ? "cpu" : new XLAAccelerator(plugin === undefined ? {} : { plugin }),
    precision: flags.get("precision") === "bf16" ? "bf16" : 32,
    maxSteps: steps,
    maxEpochs: 1,
    logger: logs ? rows : false,
    logEveryNSteps: 1,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    callbacks: new Timer(),
  });
  await trainer.fit(new Module(), { trainDataloaders: Array.from({ length: steps }, () => pair) });
  // The first steps run on the host, are recorded and compiled.
  const from = Math.min(10, times.length - 2);
  const each = times.slice(from + 1).map((t, i) => t - (times[from + i] as number));
  const mean = ((times.at(-1) as number) - (times[from] as number)) / each.length;
  const median = each.sort((a, b) => a - b)[each.length >> 1];
  const said = trainer.precision.explain({ print: false }).steps;
  console.log(
    JSON.stringify({ model: name, precision: flags.get("precision") ?? "32", mean, median, losses: rows.losses, said }),
  );
}

await main();
