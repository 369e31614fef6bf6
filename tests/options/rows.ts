/**
 * How to call what takes options, or looks at its first arguments before it counts them: the arguments that come before
 * the options.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initialize } from "@nbit/apex";
import * as lightning from "@nbit/lightning";
import { SGD8bit } from "@nbit/lowbit";
import * as torch from "@nbit/torch";
import { nn, ones, optim, type Tensor } from "@nbit/torch";
import { LightningArgumentParser } from "nbit";
import { LOGGING } from "./rows-logging.js";
import { LOSSES } from "./rows-losses.js";
import { PROFILING } from "./rows-profiling.js";
import { UTILS } from "./rows-utils.js";
import { METRICS } from "./rows-metrics.js";
import { OPTIM_ROWS } from "./rows-optim.js";

export interface Row {
  /** Before the options. */
  readonly args: readonly unknown[];
  readonly self?: object;
}
const row = (...args: readonly unknown[]): Row => ({ args });
const of = (self: object, ...args: readonly unknown[]): Row => ({ self, args });

class Net extends nn.Module {
  readonly a = new nn.Linear(16, 16);
  forward(x: Tensor): Tensor {
    return this.a.forward(x);
  }
}
class Lit extends lightning.LightningModule {
  readonly a = new nn.Linear(16, 16);
}
const x = ones([2, 2]);
const leaf = ones([1], { requiresGrad: true });
const sgd = (): optim.Optimizer => new optim.SGD([new nn.Parameter(ones([1]))], { lr: 0.1 });
const sized = { length: 3 };
const noop = (): void => undefined;

/** One whose folder is gone: no row comes as far as to read it. */
function sharded(): torch.ShardedCheckpoint {
  const folder = mkdtempSync(join(tmpdir(), "nbit-options-"));
  const shard = torch.writeShard(folder, "0123456789abcdef", 0, [{ name: "a", start: 0, end: 4, data: x }]);
  torch.writeManifest(folder, [shard], { tensors: { a: { dtype: x.dtype, shape: [4] } }, json: "{}" });
  const open = torch.ShardedCheckpoint.open(folder);
  rmSync(folder, { recursive: true });
  return open;
}

/** Factories, so that a row costs nothing until it is used. */
export const ROWS: Readonly<Record<string, () => Row>> = {
  ...LOGGING,
  ...LOSSES,
  ...UTILS,
  ...PROFILING,
  ...OPTIM_ROWS,
  ...METRICS,
  "metrics.MetricCollection": () => row([]),
  "torch.seedEverything": () => row(1, false, false),
  "torch.CombinedLoader": () => row([]),
  "torch.func.debugUnwrap": () => row(x),
  "torch.nn.modules.module.registerModuleForwardHook": () => row(noop),
  "torch.DataLoader": () => row([1, 2]),
  "torch.DataLoader#stateDict": () => of(new torch.DataLoader([1])),
  "torch.DistributedSampler": () => row(sized),
  "torch.DistributedSamplerWrapper": () => row([0, 1]),
  "torch.IterableDatasetShard": () => row(new Set([1])),
  "torch.UnrepeatedDistributedSampler": () => row([0, 1]),
  "torch.GradScaler": () => row(),
  "torch.compile": () => row(noop),
  "torch.cuda.amp.GradScaler": () => row(),
  "torch.cuda.amp.autocast": () => row(),
  "torch.random.forkRng": () => row(noop),
  "torch.RandomSampler": () => row(sized),
  "torch.SubsetRandomSampler": () => row([0]),
  "torch.WeightedRandomSampler": () => row([1, 1], 2),
  "torch.SafetensorsFile#get": () => of(torch.SafetensorsFile.over(torch.serializeSafetensors({ a: x })), "a"),
  "torch.SafetensorsFile#read": () => of(torch.SafetensorsFile.over(torch.serializeSafetensors({ a: x })), "a", 0, 1),
  "torch.Tensor#backward": () => of(leaf.sum()),
  "torch.Tensor#to": () => of(x),
  "torch.amp.customFwd": () => row(noop),
  "torch.amp.autocast": () => row(),
  "torch.autograd.detectAnomaly": () => row(noop),
  "torch.autograd.backward": () => row(leaf.sum(), null),
  "torch.collate": () => row(),
  "torch.accelerator.Graph": () => row(),
  "torch.cuda.Event": () => row(),
  "torch.cuda.Stream.create": () => row(),
  "torch.program.RecordedStep": () => row(),
  "torch.program.Transcript": () => row(),
  "torch.formatTensor": () => row(x),
  "torch.full": () => row([2], 1),
  "torch.autograd.grad": () => row(leaf.sum(), leaf),
  "torch.loadCheckpoint": () => row("nowhere.ckpt"),
  "torch.onnx.export": () => row(new nn.Linear(2, 2), x, "nowhere/a.onnx"),
  "torch.load": () => row("nowhere.pt"),
  "torch.save": () => row({ a: x }, "nowhere/a.pt"),
  "torch.numpy.load": () => row("nowhere.npy"),
  "torch.numpy.savez": () => row("nowhere/a.npz", x),
  "torch.numpy.savezCompressed": () => row("nowhere/a.npz", x),
  "torch.loadIdx": () => row("nowhere.idx"),
  "torch.loadSafetensors": () => row("nowhere.safetensors"),
  "torch.autograd.graph.saveOnCpu": () => row(noop),
  "torch.nn.AvgPool1d": () => row(2),
  "torch.nn.AvgPool2d": () => row(2),
  "torch.nn.AvgPool3d": () => row(2),
  "torch.nn.BatchNorm1d": () => row(4),
  "torch.nn.BatchNorm2d": () => row(4),
  "torch.nn.BatchNorm3d": () => row(4),
  "torch.nn.Conv1d": () => row(2, 2, 1),
  "torch.nn.Conv2d": () => row(2, 2, 1),
  "torch.nn.Conv3d": () => row(2, 2, 1),
  "torch.nn.Embedding": () => row(2, 2),
  "torch.nn.GroupNorm": () => row(1, 2),
  "torch.nn.LayerNorm": () => row(2),
  "torch.nn.LayerNorm#addTo": () => of(new nn.LayerNorm(2), x, null),
  "torch.nn.Linear": () => row(2, 2),
  "torch.nn.MaxPool1d": () => row(2),
  "torch.nn.MaxPool2d": () => row(2),
  "torch.nn.MaxPool3d": () => row(2),
  "torch.nn.Module#loadStateDict": () => of(new Net(), {}),
  "torch.nn.Module#namedModules": () => of(new Net()),
  "torch.nn.Module#stateDict": () => of(new Net()),
  "torch.nn.Module#setSubmodule": () => of(new Net(), "fc", new nn.ReLU()),
  "torch.nn.Module#toEmpty": () => of(new Net()),
  "torch.nn.Module#registerForwardPreHook": () => of(new Net(), noop),
  "torch.nn.Module#registerForwardHook": () => of(new Net(), noop),
  "torch.nn.Module#registerFullBackwardHook": () => of(new Net(), noop),
  "torch.nn.Module#registerFullBackwardPreHook": () => of(new Net(), noop),
  "torch.nn.Module#namedBuffers": () => of(new Net()),
  "torch.nn.Module#namedParameters": () => of(new Net()),
  "torch.nn.Module#registerBuffer": () => of(new Net(), "b", x),
  "torch.nn.Module#to": () => of(new Net()),
  "torch.nn.Module#zeroGrad": () => of(new Net()),
  "torch.nn.PReLU": () => row(1, 0.25),
  "torch.nn.Parameter": () => row(x),
  "torch.nn.RMSNorm": () => row(2),
  "torch.nn.RMSNorm#addTo": () => of(new nn.RMSNorm(2), x, null),
  "torch.nn.SyncBatchNorm": () => row(4),
  "torch.nn.SyncBatchNorm#thenRelu": () => of(new nn.SyncBatchNorm(2), x, null),
  "torch.nn.SyncBatchNorm#thenReluForBranches": () => of(new nn.SyncBatchNorm(2), x, null),
  "torch.nn.functional.addLayerNorm": () => row(x, null, [2], null, null),
  "torch.nn.functional.addRmsNorm": () => row(x, null, [2], null),
  "torch.nn.functional.batchNormRelu": () => row(x, null, null, null, null),
  "torch.nn.functional.batchNormReluForBranches": () => row(x, null, null, null, null),
  "torch.nn.functional.biasGelu": () => row(x, null),
  "torch.nn.functional.fusedLinearCrossEntropy": () => row(x, x, ones([2])),
  "torch.nn.functional.splitHeads": () => row(ones([1, 2, 6]), 2),
  "torch.nn.GRU": () => row(2, 2),
  "torch.nn.GRUCell": () => row(2, 2),
  "torch.nn.LSTM": () => row(2, 2),
  "torch.nn.LSTMCell": () => row(2, 2),
  "torch.nn.MultiheadAttention": () => row(4, 2),
  "torch.nn.MultiheadAttention#forward": () => of(new nn.MultiheadAttention(4, 2), x, x, x),
  "torch.nn.Transformer": () => row(4, 2),
  "torch.nn.Transformer.generateSquareSubsequentMask": () => row(2),
  "torch.nn.TransformerDecoder": () => row(new nn.TransformerDecoderLayer(4, 2), 1),
  "torch.nn.TransformerDecoderLayer": () => row(4, 2),
  "torch.nn.TransformerEncoder": () => row(new nn.TransformerEncoderLayer(4, 2), 1),
  "torch.nn.TransformerEncoderLayer": () => row(4, 2),
  "torch.nn.functional.multiHeadAttentionForward": () => row(x, x, x, 2, 1, null, null, null, null, false, 0, x, null),
  "torch.nn.TransformerEncoder#forward": () =>
    of(new nn.TransformerEncoder(new nn.TransformerEncoderLayer(4, 2), 1), x),
  "torch.nn.TransformerEncoderLayer#forward": () => of(new nn.TransformerEncoderLayer(4, 2), x),
  "torch.nn.TransformerDecoder#forward": () =>
    of(new nn.TransformerDecoder(new nn.TransformerDecoderLayer(4, 2), 1), x, x),
  "torch.nn.TransformerDecoderLayer#forward": () => of(new nn.TransformerDecoderLayer(4, 2), x, x),
  "torch.nn.Transformer#forward": () => of(new nn.Transformer(4, 2, 1, 1), x, x),
  "torch.nn.attention.sdpaKernel": () => row(0, noop),
  "torch.nn.RNN": () => row(2, 2),
  "torch.nn.RNNBase": () => row("GRU", 2, 2),
  "torch.nn.RNNCell": () => row(2, 2),
  "torch.nn.RNNCellBase": () => row(2, 2, true, 1),
  "torch.nn.utils.rnn.PackedSequence": () => row(x, ones([1])),
  "torch.nn.utils.rnn.packPaddedSequence": () => row(ones([2, 1]), [2]),
  "torch.nn.utils.rnn.packSequence": () => row([x]),
  "torch.nn.utils.rnn.padPackedSequence": () => row(nn.utils.rnn.packSequence([x])),
  "torch.nn.utils.rnn.padSequence": () => row([x]),
  "torch.nn.utils.rnn.unpadSequence": () => row(ones([2, 1]), [2]),
  "torch.parseSafetensors": () => row(torch.serializeSafetensors({ a: x })),
  "torch.randomSplit": () => row([1, 2, 3], [1, 2]),
  "torch.ShardedCheckpoint#get": () => of(sharded(), "a"),
  "torch.ShardedCheckpoint#read": () => of(sharded(), "a", 0, 1),
  "torch.ShardedCheckpoint#state": () => of(sharded()),
  "torch.consolidateCheckpoint": () => row("nowhere", "nowhere.ckpt"),
  "torch.saveCheckpoint": () => row("nowhere/a.ckpt", {}),
  "torch.saveSafetensors": () => row("nowhere/a.safetensors", { a: x }),
  "torch.serializeSafetensors": () => row({ a: x }),
  "torch.setPrintOptions": () => row(),
  "torch.tensor": () => row([1]),
  "torch.traceOperators": () => row(noop),
  "torch.useDeterministicAlgorithms": () => row(false),
  "torch.saveSharded": () => row("nowhere/a", {}, 1),
  "torch.writeAtomically": () => row("nowhere/a", noop),
  "lightning.ApexPrecision": () => row(),
  "cli.LightningArgumentParser": () => row(),
  "cli.LightningArgumentParser#addArgument": () => of(new LightningArgumentParser(), "experiment"),
  "cli.LightningCLI": () => row(null, null),
  "cli.SaveConfigCallback": () => row(""),
  "lightning.AsyncCheckpointIO#loadCheckpoint": () => of(new lightning.AsyncCheckpointIO(), "nowhere"),
  "lightning.TorchCheckpointIO": () => row(),
  "lightning.TorchCheckpointIO#loadCheckpoint": () => of(new lightning.TorchCheckpointIO(), "nowhere"),
  "lightning.BackboneFinetuning": () => row(),
  "lightning.BaseFinetuning.filterParams": () => row(new Net()),
  "lightning.BaseFinetuning.freeze": () => row(new Net()),
  "lightning.BaseFinetuning.unfreezeAndAddParamGroup": () => row(new Net(), sgd()),
  "lightning.BasePredictionWriter": () => row(),
  "lightning.BatchSizeFinder": () => row(),
  "lightning.EMAWeightAveraging": () => row(),
  "lightning.LRFinder#plot": () => of(new lightning.LRFinder("linear", 0.1, 1, 3)),
  "lightning.LRFinder#suggestion": () => of(new lightning.LRFinder("linear", 0.1, 1, 3)),
  "lightning.LambdaCallback": () => row(),
  "lightning.LearningRateFinder": () => row(),
  "lightning.ModelPruning": () => row("l1_unstructured"),
  "lightning.OnExceptionCheckpoint": () => row("nowhere"),
  "lightning.RichModelSummary": () => row(),
  "lightning.RichProgressBar": () => row(),
  "lightning.SpikeDetection": () => row(),
  "lightning.StochasticWeightAveraging": () => row(0.1),
  "lightning.TQDMProgressBar": () => row(),
  "lightning.Tuner#lrFind": () => of(new lightning.Tuner(new lightning.Trainer({ logger: false })), new Lit()),
  "lightning.Tuner#scaleBatchSize": () => of(new lightning.Tuner(new lightning.Trainer({ logger: false })), new Lit()),
  "lightning.WeightAveraging": () => row(),
  "lightning.CSVLogger": () => row("logs"),
  "lightning.EarlyStopping": () => row(),
  "lightning.Float8Precision": () => row(),
  "lightning.LearningRateMonitor": () => row(),
  "lightning.LightningModule.loadFromCheckpoint": () => of(Lit, "nowhere.ckpt", {}),
  "lightning.LightningDataModule.fromDatasets": () => of(lightning.LightningDataModule, [1]),
  "lightning.LightningDataModule.loadFromCheckpoint": () => of(lightning.LightningDataModule, "nowhere.ckpt", {}),
  "lightning.LightningDataModule#saveHyperparameters": () => of(new lightning.LightningDataModule(), {}),
  "lightning.LightningModule#allGather": () => of(new Lit(), x),
  "lightning.LightningModule#toOnnx": () => of(new Lit(), "nowhere.onnx", x),
  "lightning.LightningModule#clipGradients": () => of(new Lit(), sgd()),
  "lightning.LightningModule#log": () => of(new Lit(), "a", 1),
  "lightning.LightningModule#logDict": () => of(new Lit(), { a: 1 }),
  "lightning.LightningModule#saveHyperparameters": () => of(new Lit(), {}),
  "lightning.LightningOptimizer#zeroGrad": () =>
    of(new lightning.LightningOptimizer(sgd(), { stepOptimizer: noop, module: new Lit() })),
  "lightning.LossScaleMonitor": () => row(),
  "lightning.MixedPrecision": () => row(),
  "lightning.ModelCheckpoint": () => row(),
  "lightning.ModelSummary": () => row(),
  "lightning.PerModulePrecision": () => row({ a: 32 }),
  "lightning.explainOn": () => row(new Lit()),
  "lightning.registerPrecision": () => row(),
  "lightning.Precision#explain": () => of(new lightning.FullPrecision()),
  "lightning.PrecisionLint": () => row(),
  "lightning.PrecisionReport": () => row(),
  "lightning.PrecisionSearch": () => row(),
  "lightning.PrecisionSearch#run": () => of(new lightning.PrecisionSearch(), new Lit()),
  "lightning.ProgressBar": () => row(),
  "lightning.QuantizedPrecision": () => row("nf4"),
  "lightning.RunLog": () => row(),
  "lightning.Timer": () => row(),
  "lightning.Trainer": () => row(),
  "lightning.Trainer#events": () => of(new lightning.Trainer({ logger: false })),
  "lightning.Trainer#fit": () => of(new lightning.Trainer({ logger: false }), new Lit()),
  "lightning.Trainer#predict": () => of(new lightning.Trainer({ logger: false }), new Lit()),
  "lightning.Trainer#saveCheckpoint": () => of(new lightning.Trainer({ logger: false }), "nowhere.ckpt"),
  "lightning.Trainer#test": () => of(new lightning.Trainer({ logger: false }), new Lit()),
  "lightning.Trainer#validate": () => of(new lightning.Trainer({ logger: false }), new Lit()),
  "lightning.precisionFor": () => row({ a: 32 }),
  "lightning.readCheckpoint": () => row("nowhere.ckpt"),
  "lightning.summarize": () => row(new Net()),
  "lightning.forecastRank": () => row(new Net(), []),
  "apex.Amp#scaleLoss": () => of(initialize(new Net(), [], { enabled: false }), leaf.sum(), [], noop),
  "apex.LossScaler": () => row("dynamic"),
  "apex.initialize": () => row(new Net(), []),
  "apex.resolveOptLevel": () => row("O1"),
  "xla.ExecutableCache": () => row(),
  "xla.XlaClient#compile": () => row("module {}"),
  "xla.XlaClient#fromHost": () => row(new Uint8Array()),
  "xla.XlaClient#load": () => row(new Uint8Array()),
  "xla.XlaExecutable#execute": () => row([]),
  "xla.XlaExecutable#executeOn": () => row([]),
  "xla.XlaTopology#compile": () => row("module {}"),
  "lowbit.Float8Linear": () => row(16, 16),
  "lowbit.Float8Linear.from": () => row(new nn.Linear(16, 16)),
  "lowbit.LoRALinear": () => row(new nn.Linear(16, 16)),
  "lowbit.QuantizedLinear.from": () => row(new nn.Linear(16, 16)),
  "lowbit.addLora": () => row(new Net()),
  "lowbit.convertToFloat8": () => row(new Net()),
  "lowbit.dequantizeBlockwise": () => row(x),
  "lowbit.mergeLora": () => row(new Net()),
  "lowbit.quantizeBlockwise": () => row(x),
  "lowbit.quantizeWeight": () => row(x),
  "lowbit.quantizeWeights": () => row(new Net()),
  "xla.lower": () =>
    row({ format: "nbit.step", version: 1, buffers: [], values: [], operators: [], inputs: {}, results: {} }),
  "dashboard.comparisonText": () => row([]),
  "dashboard.renderPrecisionReport": () => row("nowhere.json"),
  "dashboard.renderReport": () => row(),
  "dashboard.writePrecisionReport": () => row("nowhere.html", "nowhere.json"),
  "dashboard.writeReport": () => row("nowhere.html"),
};
for (const name of [
  "AdEMAMix32bit",
  "AdEMAMix8bit",
  "Adagrad32bit",
  "Adagrad8bit",
  "Adam32bit",
  "Adam4bit",
  "Adam8bit",
  "AdamFp8",
  "AdamW32bit",
  "AdamW8bit",
  "LAMB32bit",
  "LAMB8bit",
  "LARS32bit",
  "LARS8bit",
  "Lion32bit",
  "Lion8bit",
  "RMSprop32bit",
  "RMSprop8bit",
  "SGD32bit",
  "SGD8bit",
])
  Object.assign(ROWS, { [`lowbit.${name}`]: () => row([leaf]) });
const low = (): optim.Optimizer => new SGD8bit([new nn.Parameter(ones([1]))]);
/** Of a parameter, which is looked for before the call begins. */
const ofParameter = (): Row => {
  const optimizer = low();
  return of(optimizer, optimizer.paramGroups[0]?.params[0]);
};
Object.assign(ROWS, {
  "lowbit.LowBitOptimizer": () => row([leaf], "adam", null),
  "lowbit.LowBitOptimizer#isLowBit": ofParameter,
  "lowbit.LowBitOptimizer#expectedStateBytes": ofParameter,
});
