import { nn } from "@nbit/torch";

const KINDS = [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm] as const;
export type BatchNorm = InstanceType<(typeof KINDS)[number]>;

export function isBatchNorm(module: nn.Module): module is BatchNorm {
  return KINDS.some((kind) => module instanceof kind);
}
export function batchNormsOf(module: nn.Module): BatchNorm[] {
  return [...module.modules()].filter(isBatchNorm);
}
