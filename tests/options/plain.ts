import { DISTRIBUTIONS } from "./distributions.js";
import { LAYERS } from "./plain-layers.js";
import { TOPLEVEL } from "./toplevel.js";
import { VISION, VISION_FORWARDS } from "./vision.js";

/** What takes no options: whatever stands beyond its arguments is refused. By what comes before the names. */
import { PLAIN_LOGGING } from "./rows-logging.js";
import { LOSS_METHODS } from "./rows-losses.js";
import { PLAIN_METRICS } from "./rows-metrics.js";
import { PLAIN_PROFILING } from "./rows-profiling.js";
import { PLAIN_UTILS } from "./rows-utils.js";

const NAMES: Readonly<Record<string, string>> = {
  "apex.":
    "ampOf castTensors disableCasts floatFunction halfFunction isAffineBatchNorm o1Rules promoteFunction registerFloatFunction registerHalfFunction " +
    "registerPromoteFunction",
  "apex.Amp#":
    "run disableCasts preview scale begin settle unscale skipNext willSkip masterParams modelParams sync gradientOf setGradient stateDict loadStateDict dispose",
  "apex.LossScaler#": "update stateDict loadStateDict",
  "cli.": "main instantiateClass",
  "cli.LightningArgumentParser#":
    "addLightningClassArgs addOptimizerArgs addLrSchedulerArgs linkArguments setDefaults dump save",
  "cli.LightningCLI#": "run instantiate",
  "dashboard.": "baselineOf figuresOf findRunLogs parseRunLog parseRunLogs readRunLog readRunLogs readStepPrecision",
  "lightning.":
    "AsyncCheckpointIO BaseFinetuning Checkpoint CheckpointIO LRFinder Tuner Callback DeviceStatsMonitor DoublePrecision FullPrecision GradientAccumulationScheduler HalfPrecision LightningDataModule LightningModule LightningOptimizer Logger LossScaling Precision " +
    "TruePrecision availablePrecisions flawOf forecastMemory measureRange rangeOf rankZeroDeprecation rankZeroOnly rankZeroWarn findSharedParameters findUsableCudaDevices garbageCollectionCuda gradNorm isOverridden isolateRng " +
    "moveDataToDevice recursiveDetach setSharedParameters suggestedMaxNumWorkers recommend registerAmpBackend sharesIn writeCheckpoint",
  "lightning.BaseFinetuning.": "flattenModules makeTrainable freezeModule filterOnOptimizer",
  "lightning.AsyncCheckpointIO#": "saveCheckpoint removeCheckpoint",
  "lightning.TorchCheckpointIO#": "saveCheckpoint removeCheckpoint",
  "lightning.LRFinder#": "rateAt",
  "lightning.CSVLogger#": "save flush",
  "lightning.GradientAccumulationScheduler#": "batchesAt",
  "lightning.LightningDataModule#": "removeIgnoredHparams",
  "lightning.LightningModule#":
    "freeze unfreeze optimizers lrSchedulers manualBackward toggleOptimizer untoggleOptimizer toggledOptimizer removeIgnoredHparams",
  "lightning.LightningOptimizer#": "step toggled",
  "lightning.Logger#": "save",
  "lightning.Trainer#": "initModule",
  "lightning.Timer#": "timeElapsed timeRemaining",
  "lowbit.":
    "ConversionReport QuantizedLinear StableEmbedding WeightMemory amaxOf castFloat8 castReference dequantizeWeight dynamicMap dynamicMap4 emulated float8Support fp4Map " +
    "fromBitsandbytes keep32bit linearMap loadLoraStateDict loraParameters loraStateDict nf4Map quantizedBytes scaledMm weightMemory withFloat8Histories",
  "lowbit.Float8Linear#": "forward clearWeightCodes",
  "lowbit.LoRALinear#": "resetParameters forward delta mergedWeight merge unmerge",
  "lowbit.LowBitOptimizer#": "step keepRatesOn elementsPerEntry stateDict loadStateDict stateBytes",
  "lowbit.QuantizedLinear#": "quantized dequantize replaceCodes forward",
  "lowbit.StableEmbedding#": "forward",
  "xla.": "ExecutableCache.key XlaPlugin.load coveredOperators findPlugins mayHaveTpu pluginFor registerLowering",
  "xla.ExecutableCache#": "get put clear",
  "xla.XlaBuffer#": "toHost ready dispose",
  "xla.XlaClient#": "stats close",
  "xla.XlaExecutable#": "analyse optimizedProgram countInstructions serialize dispose",
  "xla.XlaPlugin#": "createClient topology",
  "xla.XlaTopology#": "dispose",
  "torch.":
    "BatchSampler ChainDataset Complex LoadedStorage ConcatDataset Dataset Device Generator IterableDataset SafetensorsFile.open SafetensorsFile.over Sampler SequentialSampler Slice " +
    "ShardedCheckpoint.open Subset TensorList.of TensorList.gradsOf addDescriber addMemoryExplainer checkpointSequential cpuCapability cudaAvailable cudaDeviceCount deepcopy defaultCollate defaultConvert device " +
    "finfo getCpuKernels getDefaultDtype getFloat32MatmulPrecision getNumThreads getPrintOptions getRngState getSwitch getWorkerInfo initialSeed isInferenceModeEnabled " +
    "isMkldnnBf16Supported isMkldnnFp16Supported itemSize keep loadPickle manualSeed memory operatorNames operators outsideScopes packState parseIdx readIdx removeSharded resetPeakMemory " +
    "scope setCacheLimit setCpuKernels setDefaultDtype setFloat32MatmulPrecision setNumThreads setSwitch showConfig signature tensorFromBytes traceMark " +
    "trimMemory unpackState versions weightsEpoch writeManifest writeShard",
  "torch.LoadedStorage#": "cpu cuda to",
  "torch.numpy.": "save",
  "torch.func.": "grad gradAndValue hessian jacfwd jacrev jvp rearrange replaceAllBatchNormModules_ vmap",
  "torch.nn.modules.module.":
    "registerModuleBufferRegistrationHook registerModuleForwardPreHook registerModuleFullBackwardHook registerModuleFullBackwardPreHook " +
    "registerModuleModuleRegistrationHook registerModuleParameterRegistrationHook",
  "torch.ConcatDataset#": "get",
  "torch.DataLoader#": "whenReady loadStateDict",
  "torch.DistributedSampler#": "setEpoch",
  "torch.FunctionContext#": "saved setMaterializeGrads",
  "torch.Generator#": "manualSeed initialSeed seed getState setState",
  "torch.GradScaler#":
    "isEnabled getScale getGrowthTracker getGrowthFactor setGrowthFactor getBackoffFactor setBackoffFactor getGrowthInterval setGrowthInterval scale unscale_ step update " +
    "checkFloor stateDict loadStateDict",
  "torch.SafetensorsFile#": "has info close",
  "torch.ShardedCheckpoint#": "info close",
  "torch.StackDataset#": "get getBatch",
  "torch.Subset#": "get getBatch",
  "torch.Tensor#":
    "dim numel size stride storageOffset isContiguous isFloatingPoint isComplex dataPtr item itemBigInt itemComplex tolist toTypedArray toBytes copyFromBytes setAt " +
    "requiresGrad_ retainGrad registerHook registerPostAccumulateGradHook setData dispose type cpu cuda float double half bfloat16 long int short char byte bool",
  "torch.TensorDataset#": "get getBatch",
  "torch.TensorList#": "select toArray clearGrads dispose",
  "torch.amp.":
    "AutocastPolicy FrozenCasts WeightCasts customBwd getAutocastDtype isAutocastEnabled observeAutocast policy policyTable",
  "torch.amp.AutocastPolicy#": "run dispose",
  "torch.amp.WeightCasts#": "run dispose",
  "torch.cuda.":
    "Stream.current clearCublasWorkspaces cudaVersions currentDevice defaultGenerator deviceCount emptyCache getDeviceCapability getDeviceProperties getRngState " +
    "initialSeed isAvailable manualSeed manualSeedAll maxMemoryAllocated maxMemoryReserved memoryAllocated memoryReserved memoryStats memorySummary resetPeakMemoryStats " +
    "setDevice setMemoryFraction setRngState setSyncDebugMode synchronize",
  "torch.accelerator.Graph#": "warmUp capture replay dispose",
  "torch.cuda.Event#": "record synchronize query elapsedTime",
  "torch.cuda.Stream#": "synchronize query uses waitEvent waitStream run",
  "torch.program.": "FollowedStep FollowedStep.rest fromData isRecording print refuseRecording",
  "torch.program.FollowedStep#": "run open close dispose",
  "torch.program.RecordedStep#": "record replay dispose lineOf externals indexOf",
  "torch.program.Transcript#": "run",
  "torch.nn.":
    "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AlphaDropout Dropout Dropout1d Dropout2d Dropout3d ELU Flatten GELU Hardsigmoid Hardswish LeakyReLU " +
    "LogSoftmax Mish Module ModuleList ReLU ReLU6 SELU SiLU Sigmoid Softmax Softplus Tanh snakeCase",
  "torch.nn.AlphaDropout#": "forward",
  "torch.nn.Dropout#": "forward",
  "torch.nn.ELU#": "forward",
  "torch.nn.Embedding#": "forward",
  "torch.nn.Flatten#": "forward",
  "torch.nn.GELU#": "forward",
  "torch.nn.GroupNorm#": "forward",
  "torch.nn.Hardsigmoid#": "forward",
  "torch.nn.Hardswish#": "forward",
  "torch.nn.Identity#": "forward",
  "torch.nn.LayerNorm#": "forward",
  "torch.nn.LeakyReLU#": "forward",
  "torch.nn.Linear#": "resetParameters forward",
  "torch.nn.LogSoftmax#": "forward",
  "torch.nn.Mish#": "forward",
  "torch.nn.Module#":
    "namedChildren children modules parameters buffers getSubmodule getParameter getBuffer stateKey registerParameter registerModule addModule getExtraState setExtraState " +
    "train eval apply requiresGrad_ type float double half bfloat16 cpu cuda shareMemory clone registerStateDictPreHook registerStateDictPostHook " +
    "registerLoadStateDictPreHook registerLoadStateDictPostHook",
  "torch.nn.PReLU#": "forward",
  "torch.nn.LSTM#": "forward",
  "torch.nn.LSTMCell#": "forward",
  "torch.nn.RNNBase#": "resetParameters flattenParameters",
  "torch.nn.RNNCellBase#": "resetParameters",
  "torch.nn.utils.rnn.": "invertPermutation unpackSequence",
  "torch.nn.utils.rnn.PackedSequence#": "to cpu cuda double float half long int short char byte isPinned pinMemory",
  "torch.nn.RMSNorm#": "forward",
  "torch.nn.ReLU#": "forward",
  "torch.nn.ReLU6#": "forward",
  "torch.nn.SELU#": "forward",
  "torch.nn.Sequential#": "forward",
  "torch.nn.SiLU#": "forward",
  "torch.nn.Sigmoid#": "forward",
  "torch.nn.Softmax#": "forward",
  "torch.nn.Softplus#": "forward",
  "torch.nn.SyncBatchNorm.": "convertSyncBatchnorm",
  "torch.nn.SyncBatchNorm#": "forward",
  "torch.nn.Tanh#": "forward",
  "torch.nn.functional.": "linearCrossEntropyReference",
  "torch.optim.":
    "LRScheduler Optimizer fromTorch " +
    "gradientValues isFiniteGradient numelOfWhole parameterOfMaster registerOptimizerStepPostHook registerOptimizerStepPreHook setMaster setShard shardOf setParameterName " +
    "toTorch",
  "torch.optim.LBFGS#": "step loadStateDict",
  "torch.optim.LRScheduler#": "step getLr getLastLr stateDict loadStateDict",
  "torch.optim.ChainedScheduler#": "step",
  "torch.optim.CosineAnnealingWarmRestarts#": "step stateDict loadStateDict",
  "torch.optim.CyclicLR#": "scaleFn",
  "torch.optim.SequentialLR#": "step",
  "torch.optim.swaUtils.": "getSwaAvgFn getSwaMultiAvgFn",
  "torch.optim.Optimizer#":
    "elementsPerEntry keepRatesOn refreshRates expectedStateBytes addParamGroup registerStepPreHook registerStepPostHook stateDict loadStateDict",
  "torch.optim.ReduceLROnPlateau#": "step getLastLr stateDict loadStateDict",
};
export const PLAIN: ReadonlySet<string> = new Set([
  ...[NAMES, DISTRIBUTIONS, LAYERS, PLAIN_LOGGING, PLAIN_METRICS, PLAIN_PROFILING, TOPLEVEL, VISION].flatMap((table) =>
    Object.entries(table).flatMap(([before, names]) => names.split(" ").map((name) => before + name)),
  ),
  ...LOSS_METHODS,
  ...PLAIN_UTILS,
  ...VISION_FORWARDS,
]);
