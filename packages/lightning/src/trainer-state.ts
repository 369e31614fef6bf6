import { verbatim } from "@nbit/torch";
import type { amp, Device, optim, program } from "@nbit/torch";
import type { Callback } from "./callbacks/callback.js";
import { EarlyStopping } from "./callbacks/early-stopping.js";
import { ProgressBar } from "./callbacks/progress-bar.js";
import type { CheckpointIO } from "./checkpoint/checkpoint-io.js";
import type { SaveCheckpointOptions } from "./checkpoint/file.js";
import { ModelCheckpoint } from "./checkpoint/model-checkpoint.js";
import type { LightningDataModule } from "./datamodule.js";
import { MisconfigurationError } from "./errors.js";
import { MetricStore } from "./logging/metric-store.js";
import type { Logger } from "./loggers/logger.js";
import type { BatchLimit } from "./loops/batch-source.js";
import type { LRSchedulerConfig } from "./loops/optimizer-configuration.js";
import type { FitProgress } from "./loops/progress.js";
import type { LightningModule } from "./module.js";
import { MixedPrecision } from "./precision/mixed.js";
import type { Precision } from "./precision/precision.js";
import type { Run } from "./run.js";
import type { Strategy } from "./strategies/strategy.js";
import type { ResolvedOptions } from "./resolve-options.js";
import type { TrainerView } from "./trainer-view.js";
import type { StepOutcome, TrainerState as State } from "./types.js";

/** What callbacks, loggers and modules see of a Trainer: everything is read from the run in progress. */
export abstract class TrainerState implements TrainerView {
  abstract readonly precision: Precision;
  abstract readonly strategy: Strategy;
  abstract readonly checkpointIO: CheckpointIO;
  abstract readonly loggers: readonly Logger[];
  abstract readonly callbacks: readonly Callback[];
  abstract saveCheckpoint(filepath: string, options?: SaveCheckpointOptions): void;
  shouldStop = false;

  protected abstract readonly resolved: ResolvedOptions;
  protected readonly metricStore = new MetricStore();
  /** The run in progress, or the last one. */
  protected active: Run | null = null;
  /** Where the last fit stands: validation and testing after it report its step and epoch. */
  protected lastFit: FitProgress | null = null;
  protected attached: LightningModule | null = null;
  /** Indices of the devices that processes of this machine use. */
  protected abstract readonly devices: readonly number[];
  /** A call waits for the other processes; its run does not exist yet. */
  protected joining = false;

  get state(): State {
    const { active } = this;
    const status = this.joining ? "running" : (active?.status ?? "initializing");
    return { fn: active?.fn ?? null, status, stage: active?.stage ?? null };
  }
  get lightningModule(): LightningModule {
    if (this.attached === null)
      throw new MisconfigurationError(
        "Trainer",
        "a module, attached by fit, validate, test or predict",
        verbatim("none"),
        undefined,
        "ERR_NOT_ATTACHED",
      );
    return this.attached;
  }
  get model(): LightningModule | null {
    return this.attached;
  }
  get datamodule(): LightningDataModule | null {
    return this.active?.data.datamodule ?? null;
  }
  get currentEpoch(): number {
    return this.#progress?.epoch ?? 0;
  }
  get globalStep(): number {
    return this.#progress?.globalStep ?? 0;
  }
  get skippedSteps(): number {
    return this.precision.skippedSteps;
  }
  get batchIdx(): number {
    return this.#progress?.batchIdx ?? 0;
  }
  get isLastBatch(): boolean {
    return this.#progress?.isLastBatch ?? false;
  }
  get ckptPath(): string | null {
    return this.active?.checkpointPath ?? null;
  }
  get #progress(): FitProgress | null {
    return this.active?.fit?.progress ?? this.active?.preparing?.progress ?? this.lastFit;
  }
  get maxEpochs(): number {
    return this.resolved.maxEpochs;
  }
  get minEpochs(): number {
    return this.resolved.minEpochs;
  }
  get maxSteps(): number {
    return this.resolved.maxSteps;
  }
  get minSteps(): number {
    return this.resolved.minSteps;
  }
  /** Batches per optimizer step. A callback may change it at the start of an epoch. */
  get accumulateGradBatches(): number {
    return this.active?.fit?.step.accumulate ?? this.resolved.accumulateGradBatches;
  }
  set accumulateGradBatches(n: number) {
    const fit = this.active?.fit;
    if (fit == null)
      throw new MisconfigurationError(
        "accumulateGradBatches",
        "a fit that is running",
        verbatim("none"),
        "Give it to the constructor.",
        "ERR_NOT_FITTING",
      );
    fit.step.accumulate = n;
  }
  /** Batches of the latest fit that ran as recorded: by CUDA graphs (`cudaGraph`), or on the CPU (`replay`). */
  get replayedBatches(): number {
    const fit = this.active?.fit;
    return fit?.compiled?.replayed ?? fit?.graph?.replayed ?? fit?.replays?.summary.replayed ?? 0;
  }
  /**
   * What a batch of the latest fit with `cudaGraph` does, as a list of operators that `program.print` of `@nbit/torch`
   * prints; null: nothing was recorded, or it cannot be written down. Of windows of several batches: the one that steps.
   */
  get stepProgram(): program.StepProgram | null {
    return this.active?.fit?.graph?.program ?? null;
  }
  get logEveryNSteps(): number {
    return this.resolved.logEveryNSteps;
  }
  get gradientClipVal(): number | null {
    return this.resolved.gradientClipVal;
  }
  get gradientClipAlgorithm(): "norm" | "value" {
    return this.resolved.gradientClipAlgorithm;
  }
  get fastDevRun(): number | false {
    return this.resolved.fastDevRun;
  }
  get defaultRootDir(): string {
    return this.resolved.defaultRootDir;
  }
  get limitTrainBatches(): BatchLimit {
    return this.resolved.limitTrainBatches;
  }
  get limitValBatches(): BatchLimit {
    return this.resolved.limitValBatches;
  }
  get limitTestBatches(): BatchLimit {
    return this.resolved.limitTestBatches;
  }
  get limitPredictBatches(): BatchLimit {
    return this.resolved.limitPredictBatches;
  }
  get overfitBatches(): number {
    return this.resolved.overfitBatches;
  }
  get numSanityValSteps(): number {
    return this.resolved.numSanityValSteps;
  }
  get valCheckBatch(): number {
    return this.active?.fit?.loop.valCheckBatch ?? Infinity;
  }
  get reloadDataloadersEveryNEpochs(): number {
    return this.resolved.reloadDataloadersEveryNEpochs;
  }
  get enableAutologHparams(): boolean {
    return this.resolved.enableAutologHparams;
  }
  get barebones(): boolean {
    return this.resolved.barebones;
  }
  get checkValEveryNEpoch(): number | null {
    return this.resolved.checkValEveryNEpoch;
  }
  get valCheckInterval(): number | undefined {
    return this.resolved.valCheckInterval;
  }
  get numTrainingBatches(): number {
    return (this.active?.fit?.fetcher ?? this.active?.preparing?.fetcher)?.length ?? Infinity;
  }
  get numSanityValBatches(): readonly number[] {
    return this.active?.validation?.numSanityBatches ?? [];
  }
  get numValBatches(): readonly number[] {
    return this.active?.validation?.numBatches ?? [];
  }
  get numTestBatches(): readonly number[] {
    return this.active?.test?.numBatches ?? [];
  }
  get numPredictBatches(): readonly number[] {
    return this.active?.prediction?.numBatches ?? [];
  }
  get estimatedSteppingBatches(): number {
    const { maxEpochs, maxSteps } = this.resolved;
    const limit = maxSteps === -1 ? Infinity : maxSteps;
    if (maxEpochs === -1) return limit;
    return Math.min(limit, Math.ceil(this.numTrainingBatches / this.accumulateGradBatches) * Math.max(1, maxEpochs));
  }
  get callbackMetrics(): Readonly<Record<string, number>> {
    return this.metricStore.view("callback");
  }
  metricOfRanks(name: string): readonly (number | undefined)[] {
    return this.active === null ? [this.callbackMetrics[name]] : this.active.metricOfRanks(name);
  }
  agreedMetric(name: string, ofRanks?: readonly (number | undefined)[]): number | undefined {
    return this.active === null ? this.callbackMetrics[name] : this.active.agreedMetric(name, ofRanks);
  }
  get loggedMetrics(): Readonly<Record<string, number>> {
    return this.metricStore.view("logger");
  }
  get progressBarMetrics(): Readonly<Record<string, number>> {
    return this.metricStore.view("progBar");
  }
  /** Adds values that callbacks may monitor and that no module logged. */
  addCallbackMetrics(metrics: Readonly<Record<string, number>>): void {
    this.metricStore.add(metrics);
  }
  get lossScale(): number | null {
    return this.precision.lossScale;
  }
  get lastOutcome(): StepOutcome | null {
    return this.active?.fit?.step.outcome ?? null;
  }
  get logger(): Logger | null {
    return this.loggers[0] ?? null;
  }
  get logDir(): string {
    const mine = this.logger === null ? null : this.logger.logDir;
    return mine ?? this.defaultRootDir;
  }
  get checkpointCallback(): ModelCheckpoint | null {
    return this.checkpointCallbacks[0] ?? null;
  }
  get checkpointCallbacks(): readonly ModelCheckpoint[] {
    return this.callbacks.filter((callback) => callback instanceof ModelCheckpoint);
  }
  get earlyStoppingCallback(): EarlyStopping | null {
    return this.earlyStoppingCallbacks[0] ?? null;
  }
  get earlyStoppingCallbacks(): readonly EarlyStopping[] {
    return this.callbacks.filter((callback) => callback instanceof EarlyStopping);
  }
  get progressBarCallback(): ProgressBar | null {
    return this.callbacks.find((callback) => callback instanceof ProgressBar) ?? null;
  }
  get precisionPlugin(): Precision {
    return this.precision;
  }
  /** What scales the loss of float16; null: nothing does. */
  get scaler(): amp.GradScaler | null {
    return this.precision instanceof MixedPrecision ? this.precision.scaler : null;
  }
  get optimizers(): readonly optim.Optimizer[] {
    return this.active?.optimizers ?? [];
  }
  get lrSchedulerConfigs(): readonly LRSchedulerConfig[] {
    return this.active?.schedulers ?? [];
  }
  get rootDevice(): Device {
    return this.strategy.rootDevice;
  }
  get deviceIds(): readonly number[] {
    return this.devices;
  }
  get numDevices(): number {
    return this.devices.length;
  }
  get distributedSamplerKwargs(): { readonly numReplicas: number; readonly rank: number } | null {
    const { worldSize: numReplicas, globalRank: rank } = this;
    return numReplicas === 1 ? null : { numReplicas, rank };
  }
  get globalRank(): number {
    return this.strategy.globalRank;
  }
  get localRank(): number {
    return this.strategy.localRank ?? 0;
  }
  get nodeRank(): number {
    return this.strategy.nodeRank ?? 0;
  }
  get worldSize(): number {
    return this.strategy.worldSize;
  }
  get numNodes(): number {
    return this.strategy.numNodes ?? 1;
  }
  get isGlobalZero(): boolean {
    return this.strategy.isGlobalZero;
  }
  get sanityChecking(): boolean {
    return this.active?.stage === "sanity_check";
  }
  get training(): boolean {
    return this.active?.stage === "train";
  }
  get validating(): boolean {
    return this.active?.stage === "validate";
  }
  get testing(): boolean {
    return this.active?.stage === "test";
  }
  get predicting(): boolean {
    return this.active?.stage === "predict";
  }
  get evaluating(): boolean {
    return this.validating || this.testing || this.sanityChecking;
  }
  get interrupted(): boolean {
    return this.state.status === "interrupted";
  }
  get receivedSigterm(): boolean {
    return this.active?.interrupted === "SIGTERM" || this.active?.endingSignal === "SIGTERM";
  }
  get trainDataloader(): unknown {
    return this.active?.fit?.dataloaders ?? null;
  }
  get valDataloaders(): unknown {
    return this.active?.validation?.dataloaders ?? null;
  }
  get testDataloaders(): unknown {
    return this.active?.test?.dataloaders ?? null;
  }
  get predictDataloaders(): unknown {
    return this.active?.prediction?.dataloaders ?? null;
  }
  /** Print in one process of each machine. */
  print(...values: unknown[]): void {
    if (this.localRank === 0) console.log(...values);
  }
  get enableValidation(): boolean {
    return this.active?.fit != null && this.active.validation !== null && this.numValBatches.some((n) => n > 0);
  }
  get isLogStep(): boolean {
    return this.active?.fit?.loop.isLogStep ?? false;
  }
  /** The step that loggers are given now. */
  get logStep(): number {
    return this.#progress?.batchesThatStepped ?? 0;
  }
}
