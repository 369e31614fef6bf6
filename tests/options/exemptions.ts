/** What takes any number of arguments, and so has none too many; the fuzz calls it like the rest. */
const VARIADIC =
  /^torch\.(AutogradFunction\.apply|checkpoint|func\.(vjp|linearize)|nn\.Identity|nn\.(Module#(call|compile)|LSTM#call)|nn\.Sequential|StackDataset|TensorDataset|broadcastShapes|broadcastTensors|blockDiag|cartesianProd|meshgrid|einsum|atleast[123]d|(Float|Double|Half|BFloat16|Byte|Char|Short|Int|Long|Bool)Tensor|FunctionContext#(saveForBackward|mark\w+))$|^torch\.Tensor#at$|^lightning\.((LightningModule|Trainer)#print|rankZeroInfo)$/;
const PREDICATES = /^torch\.(isTensor|isDType|isFloatingPoint|isComplex)$|^lightning\.mergeRanges$/;
/** Whether only this project calls it, or JavaScript does, with what it needs. */
export const isInternal = (path: string): boolean =>
  EXEMPT.some(([paths]) => paths !== VARIADIC && paths !== PREDICATES && paths.test(path));

/** What may be given more than it declares, and why. */
export const EXEMPT: readonly (readonly [paths: RegExp, why: string])[] = [
  [
    /^(?!metrics\.).*(Error|Exception)$|^torch\.(verbatim|describe|nativeError|asFileError)$/,
    "Errors, and what is called while one is made: a check there would hide the error.",
  ],
  [
    /^torch\.optim\.\w+#(begin|beginOnce|initialStep|update|assign|momenta|closedForm|stepLists|counter|requireDense)$|^torch\.optim\.LRScheduler\.(goTo|beginAnew)$|^torch\.optim\.swaUtils\.(SWALR#next|AveragedModel#forward)$/,
    "Protected: for optimizers, schedulers and what calls these; and what passes on all that it is given.",
  ],
  [
    /^metrics\.\w+#(parts|errors|score|ofSums|numbers|named|isHigherBetter|groupsOf|mergeInto|declaredState|assign|replace|saveStates|loadStates|beforeUpdate|afterUpdate|computeWith|remember|forgetComputed|follow|groupKey|saveProgress|loadProgress|forward|compute|thresholdTensor|pointsOf|rows|table|tableShape|of)$|^metrics\.Metric(Collection|Tracker)#update$|^metrics\.Metric$/,
    "Protected or private; what an instance has something around that counts its arguments; and what passes on all that it is given.",
  ],
  [PREDICATES, "Predicates, and functions for reduce: arrays call these with positions too."],
  [/#(toString|toJSON|extraRepr)$/, "JavaScript itself calls these, with arguments of its own, or printing does."],
  [
    /^torch\.(checkOptions|checkArguments|atMost|optionsFrom|withDefaults|kinds\.\w+)$|^apex\.checkInitializeOptions$/,
    "The checks themselves.",
  ],
  [VARIADIC, "They take any number of arguments, all of which they use."],
  [
    /^torch\.(Tensor|TensorList|SafetensorsFile|ShardedCheckpoint|FunctionContext|AutogradFunction|cuda\.Stream)$|^torch\.(autograd\.)?profiler\.(Profile|EventList|AverageList|FunctionEvent|FunctionEventAvg)$|^lightning\.(AheadReport|Explanation|Summary|SearchResult|StepPrecision|WandbRun)$|^apex\.Amp$|^xla\.Xla(Plugin|Client|Topology|Executable|Buffer)$/,
    "Made by functions of this project: their constructors are private, are never called, or take what such a function has computed.",
  ],
  [
    /^torch\.(LateNumbers|ReentrantScope|HeldGradients|amp\.UnscaledGradients)(#\w+)?$|^torch\.(addForwardRegion|copiedByConstruction|countCheckpoints|calledByProgram|userLine|describeLine|flatValues|dtype\w+|checkPath|checkReadable|withFile|writeText|writeAll|plainText|quoted|provideRecentOperators|addToMessage|openCheckpoint|copyOfCheckpoint|saveTorchFile|loadBesideThePickle|BackgroundWriter(#\w+)?|plainTensorNames|optim\.(likeParameter|requireNonNegative|stepCount))$|^apex\.(levelWith|castModel|initializeSharded)$|^xla\.XlaClient#(from|to)Memory$|#(addHparamSummaries|addMedia|splitStates|joinStates|adoptWithoutParameters|takeHooksOf|forgetParameter|withOrder|castInput|castGradient|castWeight|takeSaved|setNeeds|runBackward|copyFrom|eachBytes)$/,
    "Parts that only other packages of this project call.",
  ],
  [
    /^torch\.optim\.\w+#(validate|checkGroups|start|next|stepping|step(All|Group)|stateOf|pack|rateOf|releaseRates|adoptState|savedOptions|stateFields|packedStateChanged)$|^torch\.nn\.\w+Cell#step$|^lowbit\.LowBitOptimizer#(validate|stepping|stepGroup|adoptState|savedOptions|stateFields)$|#(stateProblem|converted|copiedFrom|checkInput|checkState|checkDims|stateFor|generators|push|fieldNames|parameter|statistic)$|^vision\.transforms\.\w+#mix$|^torch\.nn\.SyncBatchNorm#(others|normalise)$/,
    "Protected: for subclasses, and what calls these.",
  ],
  [
    /^vision\.transforms\.Transform#call$|^lightning\.Profiler#profile$/,
    "Of abstract classes: what extends them has what these call.",
  ],
  [
    /^torch\.distributions\.(constraints\.)?\w+#(expanded|follows|checkParameters|checkValue|validateSample|compute|invert|callInverse|checkSize|logNorm|logNormalizer)$/,
    "Protected: for subclasses, and what calls these.",
  ],
  [
    /^torch\.autograd\.profiler\.FunctionEventAvg#add$|^lightning\.Profiler#(fileName|statsToText)$/,
    "Protected: for subclasses, and what calls these.",
  ],
  [/^torch\.nn\.Transformer\w+#(feedForward|packs)$/, "Protected: for subclasses, and what calls these."],
  [/^torch\.nn\.(Module(List|Dict)|Parameter(List|Dict)|RNNBase)#forward$/, "They refuse every call."],
  [
    /^lightning\.\w+#(on[A-Z]\w*|setup|teardown|stateDict|loadStateDict|freezeBeforeTraining|finetuneFunction|writeOn\w+|shouldUpdate|filterParametersToPrune)$|^lightning\.\w+Finder#search$/,
    "Hooks of callbacks, loggers and precisions: the Trainer calls them with all that there is, and an implementation declares what it needs.",
  ],
  [
    /^cli\.(LightningCLI#(addArgumentsToParser|(before|after)\w+|configureOptimizers)|SaveConfigCallback#(setup|saveConfig))$/,
    "Hooks of command lines, likewise.",
  ],
  [
    /^lightning\.LightningModule#(forward|\w+Step|configure\w+|\w+Dataloader|backward|optimizerZeroGrad|lossWeight)$|^lightning\.Lightning(Data)?Module#(prepareData|\w+Dataloader|transferBatchToDevice)$|^lightning\.ModelCheckpoint#(resolveDirectory|interruptedFile)$|^lightning\.\w*CheckpointIO#(wait|whenSaved|teardown)$/,
    "Hooks of a module, likewise, and what hooks call.",
  ],
  [
    /^lightning\.(\w*Precision#(?!explain$)|LossScaling#)\w+$|^lightning\.\w+(Accelerator|Strategy)(#\w+)?$|^lightning\.(CSV|JSONL|MLFlow|TensorBoard|Wandb)?Logger#(log(Metrics|Hyperparams|Graph|Outcome)|finalize|follow|start|afterSaveCheckpoint)$/,
    "Plugins and their methods, likewise.",
  ],
];
