import { family } from "../family.js";

export const warnings = family(
  "warnings",
  {
    title: "Warnings",
    brief:
      'Nothing fails: training goes on. Node.js prints `[CODE] NbitWarning`; `--no-warnings` hides them, and `process.on("warning", …)` sees them.',
    by: "NbitWarning",
    in: ["lightning"],
  },
  {
    DEP_USER: {
      means: "A deprecation that your code, or a library of yours, said with `rankZeroDeprecation`.",
      cause: "The message says.",
      fix: "Follow the message.",
    },
    INFO_LONG_STEP: {
      means: "A training step takes so long that requests to this process's server wait.",
      cause: "A server that trains in its own process.",
      fix: "Train in a process of its own (node:child_process).",
    },
    WARN_ACTIVATION_OFFLOADING: {
      means: "`activationOffloading` changes nothing on the CPU.",
      cause: "An option for GPUs.",
      fix: "Leave it out.",
    },
    WARN_APEX_REGISTERED_LATE: {
      means: "A function was registered after models were initialized, which keep their lists.",
      cause: "`registerHalfFunction` after `initialize`.",
      fix: "Call it before.",
      in: ["apex"],
    },
    WARN_BAREBONES: {
      means: "`log` does nothing under `barebones`.",
      cause: "`barebones: true`.",
      fix: "Nothing, if it was meant.",
    },
    WARN_CHECKPOINT_CLASS: {
      means: "The checkpoint was saved of another class, whose hyperparameters are given to this one's constructor.",
      cause: "`Other.loadFromCheckpoint(path)`.",
      fix: "Nothing, if it was meant; else load it by its own class.",
    },
    WARN_CHECKPOINT_FOLDER: {
      means: "ModelCheckpoint writes to another folder than before.",
      cause: "A run that is resumed with another `dirpath`.",
      fix: "Nothing, if it was meant: earlier files stay where they are.",
    },
    WARN_CHECKPOINT_KEYS: {
      means: "Names of the checkpoint and of the module are not the same, and `strict` is false.",
      cause: "Another version of the model.",
      fix: "Nothing, if it was meant. The message lists the names.",
    },
    WARN_CHECKPOINT_REMOVE: {
      means: "An old checkpoint could not be removed.",
      cause: "Permissions; another program holds it.",
      fix: "Remove it by hand.",
    },
    WARN_CUDA_GRAPH_ANEW: {
      means: "A recorded step was recorded anew.",
      cause: "Something that a graph depends on has changed.",
      fix: "Nothing, if it is rare.",
    },
    WARN_CUDA_GRAPH_SHAPE: {
      means: "A batch of another shape runs without the graph.",
      cause: "A last, smaller batch.",
      fix: "`dropLast: true`.",
    },
    WARN_DIST_REPEATED: {
      means: "A sampler of the loader's own counts elements twice, so that all processes get equally many.",
      cause: "A DistributedSampler in validation.",
      fix: "Leave it out: the Trainer gives each element to one process.",
    },
    WARN_DIST_UNEVEN: {
      means: "Processes have different numbers of batches; each trains on the fewest.",
      cause: "Streams of different lengths.",
      fix: "Share data out evenly.",
    },
    WARN_EPS_VANISHES: {
      means: "An optimizer's `eps` is 0 in the dtype of its state.",
      cause: "1e-8 in float16.",
      fix: "Use 1e-6 or more, or mixed precision.",
    },
    WARN_FINETUNING: {
      means: "Parameters that are to be unfrozen are in an optimizer already.",
      cause: "`configureOptimizers` with all parameters.",
      fix: "Give it `this.parameters().filter((p) => p.requiresGrad)`.",
    },
    WARN_FLOAT8_NOTHING: {
      means: "No layer runs in float8.",
      cause: "Sizes that are no multiples of 16; no linear layers.",
      fix: "The message says why, layer by layer.",
    },
    WARN_FLOPS_PER_BATCH: {
      means: "ThroughputMonitor cannot say FLOPs.",
      cause: "The module has no `flopsPerBatch`.",
      fix: "`this.flopsPerBatch = measureFlops(this, () => …)`.",
    },
    WARN_FOREIGN_OPTIMIZER: {
      means: "No parameter of the module is in an optimizer: it will not change.",
      cause: "An optimizer over another object's parameters.",
      fix: "Give it `this.parameters()`.",
    },
    WARN_FORMER_NAME: {
      means: "A precision's field is read under its former name, in this version only.",
      cause: "A plugin for an earlier nbit.",
      fix: "Rename it.",
    },
    WARN_GRADCHECK: {
      means: "Differences are taken in less than 64 bits, where they are mostly rounding.",
      cause: "An input of `gradcheck` that is not float64.",
      fix: '`input.to("float64")`.',
      in: ["torch"],
    },
    WARN_HIDDEN_PARAMETERS: {
      means: "Modules or parameters lie where `parameters()` does not find them.",
      cause: "A plain array, Map or private field of layers.",
      fix: "Use `nn.ModuleList`, or a public field.",
    },
    WARN_HOOK_NAME: {
      means: "A method looks like a hook, but nobody calls it.",
      cause: "A misspelt hook.",
      fix: "Rename it, as the message says.",
    },
    WARN_INIT: {
      means: "A truncated normal distribution far from its bounds is not what was asked for.",
      cause: "A mean more than 2 standard deviations outside of `[a, b]`.",
      fix: "Choose other bounds.",
      in: ["torch"],
    },
    WARN_KL_AMBIGUOUS: {
      means: "Two divergences fit these distributions equally well, and one is taken.",
      cause: "`registerKl` for classes that both extend others.",
      fix: "Register the very pair that the message names.",
      in: ["torch"],
    },
    WARN_LOGGER_DROPPED: {
      means: "Values that wait for a logger's server became too many: the oldest are dropped.",
      cause: "A server that has been away for long.",
      fix: "Start it again, or log less often.",
    },
    WARN_LOGGER_LOST: {
      means: "A logger's server did not take all values in time at the end.",
      cause: "A server that is slow or away.",
      fix: "Start it before the run ends.",
    },
    WARN_LOGGER_REFUSED: {
      means: "A logger's server refused values, which are dropped.",
      cause: "A run that was deleted; a name that it does not take.",
      fix: "The message has the server's own words.",
    },
    WARN_LOGGER_SERVER: {
      means: "A logger's server cannot be reached; training goes on, and values wait.",
      cause: "It is not running.",
      fix: "Start it: values are sent then.",
    },
    WARN_LOGGER_STATE: {
      means: "A logger could not say where its log stands; a resumed run may log lines twice.",
      cause: "A file that went away.",
      fix: "Nothing, if it was meant.",
    },
    WARN_LOG_BATCH_SIZE: {
      means: "`log` took the size of the batch from tensors of different lengths.",
      cause: "A batch of several tensors.",
      fix: "Pass `batchSize` to `log`.",
    },
    WARN_LOG_CADENCE: {
      means: "There are fewer steps than the loggers' cadence.",
      cause: "`logEveryNSteps: 50` in a run of 10 steps.",
      fix: "`logEveryNSteps: 1`.",
    },
    WARN_LOG_DETACHED: {
      means: "`log` was called on a module without a Trainer; nothing was logged.",
      cause: "A step method that was called by hand.",
      fix: "Nothing, in a test.",
    },
    WARN_LOG_GRAPH: {
      means: "TensorBoardLogger could not write the graph of the model.",
      cause: "No `exampleInputArray`, or a model that cannot be followed.",
      fix: "The message says why.",
    },
    WARN_LOG_POSITION: {
      means: "A log has other rows than the checkpoint knows of; some may come twice.",
      cause: "A file that was edited, or written to by a second run.",
      fix: "Nothing, or remove them by hand.",
    },
    WARN_LOSS_BROADCAST: {
      means: "A loss got input and target of different shapes, and broadcasts them.",
      cause: "`[n, 1]` against `[n]`: the loss is then of n × n pairs.",
      fix: "`squeeze` one of them.",
      in: ["torch"],
    },
    WARN_LOSS_SCALE_LOW: {
      means: "The loss scale fell so far that small gradients vanish.",
      cause: "Layers that overflow in float16.",
      fix: 'Look at the layers in the message, or use "bf16-mixed".',
    },
    WARN_LR_FINDER: {
      means: "The learning rate finder has too few losses for a suggestion.",
      cause: "A short search.",
      fix: "Raise `numTrainingSteps`.",
    },
    WARN_METRIC_ADJUSTED: {
      means: "The adjusted R² is not defined for so few samples.",
      cause: "Fewer samples than regressors.",
      fix: "Give it more.",
      in: ["metrics"],
    },
    WARN_METRIC_EMPTY: {
      means: "A metric was computed before any update.",
      cause: "An epoch without batches.",
      fix: "Call `update` first.",
      in: ["metrics"],
    },
    WARN_METRIC_NAME: {
      means: "MLflow takes no such name: another is used.",
      cause: "Characters that it does not have.",
      fix: "Choose another.",
    },
    WARN_METRIC_NAN: {
      means: "A metric left out NaN.",
      cause: "A loss that became NaN.",
      fix: "Find its cause, or choose another `nanStrategy`.",
      in: ["metrics"],
    },
    WARN_MONITOR: {
      means: "A metric that is waited for was not logged.",
      cause: "A misspelt name, or validation did not run.",
      fix: "Log it, or change `monitor`.",
    },
    WARN_MONITOR_DIFFERS: {
      means: "A metric that is monitored differs between processes; that of rank 0 counts.",
      cause: "`log` without `syncDist`.",
      fix: "`syncDist: true`.",
    },
    WARN_NOTHING_LEFT: {
      means: "The checkpoint is at the end of training already.",
      cause: "`maxEpochs` as before.",
      fix: "Raise it.",
    },
    WARN_NO_BATCHES: {
      means: "The loader of training batches is empty.",
      cause: "A dataset of length 0, or `dropLast` with one small batch.",
      fix: "Check the dataset.",
    },
    WARN_NO_BROWSER: {
      means: "`nbit report --open` found no program to open the page with.",
      cause: "A machine without a desktop.",
      fix: "Open the file that the line above names elsewhere.",
      in: ["cli"],
    },
    WARN_NO_CUDA_GRAPH: {
      means: "Steps run without a CUDA graph.",
      cause: "Something that a graph cannot do.",
      fix: "The message says what.",
    },
    WARN_NO_LAST_CHECKPOINT: {
      means: '`ckptPath: "last"` found nothing, and nothing was loaded.',
      cause: "The first run.",
      fix: "Save one with `new ModelCheckpoint({ saveLast: true })`.",
    },
    WARN_NO_OPTIMIZER: {
      means: "`configureOptimizers` returned nothing: nothing will be trained.",
      cause: "A missing `return`.",
      fix: "Return one.",
    },
    WARN_NO_REPLAY: {
      means: "Steps run without recording.",
      cause: "Something that cannot be replayed.",
      fix: "The message says what.",
    },
    WARN_NO_VALIDATION_LOADER: {
      means: "There is a validationStep, but no data for it.",
      cause: "`valDataloaders` was left out.",
      fix: "Pass it, or define valDataloader.",
    },
    WARN_NO_VALIDATION_STEP: {
      means: "There is validation data, but no validationStep.",
      cause: "A misspelt method.",
      fix: "Define it.",
    },
    WARN_NULL_LOSS: {
      means: "trainingStep returned null: the batch was skipped.",
      cause: "A missing `return`.",
      fix: "Nothing, if it was meant.",
    },
    WARN_NUMBER_RANGE: {
      means: "A number becomes infinite in float16.",
      cause: "A constant such as -1e9 in a mask.",
      fix: "Use `finfo(dtype).min`, or -Infinity.",
      in: ["torch"],
    },
    WARN_OFFLOAD_CPU: {
      means: "Offloading state to the CPU changes nothing where parameters are on the CPU.",
      cause: "An option for GPUs.",
      fix: "Leave it out.",
      in: ["lowbit"],
    },
    WARN_OLD_NAME: {
      means: "An initializer was called by its old name.",
      cause: "`nn.init.constant`.",
      fix: "Use the one with an underscore.",
      in: ["torch"],
    },
    WARN_OPTIMIZER_REPLACED: {
      means: "The command line's optimizer takes the place of the module's.",
      cause: "`--optimizer`.",
      fix: "Nothing, if it was meant.",
      in: ["cli"],
    },
    WARN_OPTIMIZER_STATE: {
      means: "State of an optimizer was loaded that has options this one does not know.",
      cause: "A file of another version.",
      fix: "Check the message.",
      in: ["torch"],
    },
    WARN_OVERFIT_SHUFFLE: {
      means: "`overfitBatches` turned shuffling off.",
      cause: "`shuffle: true`.",
      fix: "Nothing.",
    },
    WARN_PRECISION_EMULATED: {
      means: "The precision is emulated on this device: results are right, speed is not.",
      cause: "float16 or float8 on a device without it.",
      fix: "The message names what is faster.",
    },
    WARN_PRECISION_MAPPED: {
      means: "The precision was replaced by the nearest that the device has.",
      cause: "float16 on a TPU.",
      fix: "Ask for that one.",
    },
    WARN_REPLAY_SHAPES: {
      means: "Batches have so many shapes that recordings are dropped before they are used.",
      cause: "Sequences of any length.",
      fix: "Pad to a few lengths, or `replay: false`.",
    },
    WARN_RESUME_PRECISION: {
      means: "Training goes on in another precision than the checkpoint's.",
      cause: "Another `precision`.",
      fix: "Nothing, if it was meant.",
    },
    WARN_RESUME_WORLD_SIZE: {
      means: "Some samples of the epoch are seen again.",
      cause: "Resuming with another number of processes.",
      fix: "Nothing, or go on from an epoch's end.",
    },
    WARN_RNN_DROPOUT: {
      means: "Dropout of a recurrent network is between layers, and there is one layer.",
      cause: "`dropout` with `numLayers: 1`.",
      fix: "Leave it out.",
      in: ["torch"],
    },
    WARN_SLURM_REQUEUE: {
      means: "SLURM did not queue the job again.",
      cause: "`scontrol` refused.",
      fix: "Submit it again, with `#SBATCH --requeue`.",
    },
    WARN_STOP_DELAYED: {
      means: "Something asked to stop, but `minEpochs` or `minSteps` are not met.",
      cause: "EarlyStopping beside `minEpochs`.",
      fix: "Nothing, if it was meant.",
    },
    WARN_SWA_SCHEDULER: {
      means: "StochasticWeightAveraging replaced a scheduler that stepped more often.",
      cause: "A scheduler per step.",
      fix: "Nothing, if it was meant.",
    },
    WARN_SWA_STATISTICS: {
      means: "Statistics of batch norms are those of the last weights, not of the averaged ones.",
      cause: "Manual optimization.",
      fix: "Compute them with `optim.swaUtils.updateBn`.",
    },
    WARN_TORCH: {
      means: "libtorch warns, in its own words.",
      cause: "The message says.",
      fix: 'Follow the message; `process.on("warning", …)` tells from where it came.',
      by: "TorchWarning",
      in: ["torch"],
    },
    WARN_TRANSFER_HOOK: {
      means: "Module and data module both move batches: the data module's hook is called.",
      cause: "The hook is defined twice.",
      fix: "Remove one.",
    },
    WARN_TUNER_ATTRIBUTE: {
      means: "The batch size is a field and a hyperparameter; both are set.",
      cause: "Two of the same name.",
      fix: "Keep one.",
    },
    WARN_TUNER_DEV_RUN: { means: "No search under `fastDevRun`.", cause: "`fastDevRun: true`.", fix: "Nothing." },
    WARN_UPDATES_VANISH: {
      means: "Most 16-bit weights did not change although they have gradients: training stalls.",
      cause: '"bf16-true" with a small learning rate.',
      fix: '`rounding: "kahan"` or "stochastic", a larger rate, or mixed precision.',
    },
    WARN_USER: {
      means: "A warning that your code, or a library of yours, said with `rankZeroWarn`.",
      cause: "The message says.",
      fix: "Follow the message.",
    },
    WARN_WISHART: {
      means: "Samples of this Wishart distribution are often singular.",
      cause: "Degrees of freedom below the size of its matrix.",
      fix: "A larger `df`.",
      in: ["torch"],
    },
    WARN_XLA_ON_HOST: {
      means: "A step runs on the host, not on the device.",
      cause: "Something that cannot be compiled.",
      fix: "Nothing, if that is fast enough.",
    },
    WARN_XLA_SHAPES: {
      means: "Batches have many shapes, and each costs a program.",
      cause: "A last, smaller batch; sequences of any length.",
      fix: "Pad to a few lengths, and `dropLast: true`.",
    },
  },
);
