/** @nbit/metrics: numbers about many batches, exact whatever their sizes and over processes, as torchmetrics has them. */
export { Metric, type MetricOptions, type MetricProgress, type MetricValue } from "./metric.js";
export { dimZeroCat, type DistReduceFx, type State } from "./states.js";
export { MetricCollection, type MetricCollectionOptions, type Metrics } from "./collection.js";
export { MetricTracker } from "./tracker.js";
export * from "./aggregation.js";
export * from "./classification/index.js";
export * from "./regression/index.js";
export * from "./text/index.js";
export * as functional from "./functional.js";
