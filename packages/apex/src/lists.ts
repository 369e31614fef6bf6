/** O1's lists: which operators run in float16, in float32, in the widest of their inputs, or not at all. They differ from native autocast's. */
import { amp, ArgumentError, operatorNames, type DeviceLike } from "@nbit/torch";

const HALF = `conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc prelu addmm addmv addr matmul mm mv linear addbmm baddbmm bmm`;
const FLOAT = `
  acos asin cosh erfinv exp expm1 log log10 log2 reciprocal rsqrt sinh tan pow
  cumprod cumsum dist norm prod std sum var renorm linalg_vector_norm
  softplus softmax log_softmax gelu layer_norm group_norm batch_norm instance_norm rms_norm cosine_similarity
  upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d grid_sampler
  poisson_nll_loss cosine_embedding_loss cross_entropy_loss hinge_embedding_loss kl_div l1_loss mse_loss margin_ranking_loss multilabel_margin_loss multi_margin_loss nll_loss nll_loss2d
  nll_loss_nd binary_cross_entropy_with_logits smooth_l1_loss huber_loss soft_margin_loss triplet_margin_loss ctc_loss`;
const PROMOTE = `addcdiv addcmul atan2 cross bilinear dot add sub div mul eq equal ge gt le lt ne cat stack`;
const BANNED = `binary_cross_entropy`;

const words = (text: string): string[] => text.split(/\s+/).filter((w) => w !== "");

/** Operators that a user adds to O1's lists. */
const registered = { half: new Set<string>(), float: new Set<string>(), promote: new Set<string>() };

function register(kind: keyof typeof registered, fn: string, operator: string): void {
  if (!operatorNames().includes(operator)) throw new ArgumentError(fn, "the name of an operator, such as \"einsum\"", operator);
  for (const set of Object.values(registered)) set.delete(operator);
  registered[kind].add(operator);
}
/** Let O1 run an operator in float16. Call it before `initialize`. */
export function registerHalfFunction(operator: string): void {
  register("half", "registerHalfFunction", operator);
}
/** Let O1 run an operator in float32. Call it before `initialize`. */
export function registerFloatFunction(operator: string): void {
  register("float", "registerFloatFunction", operator);
}
/** Let O1 run an operator in the widest dtype of its inputs. Call it before `initialize`. */
export function registerPromoteFunction(operator: string): void {
  register("promote", "registerPromoteFunction", operator);
}

/** O1's policy for a device type. Operators that native autocast has rules for and O1 has not run as their inputs are. */
export function o1Policy(device: DeviceLike): amp.AutocastPolicy {
  const known = new Set(operatorNames());
  const rules: Record<string, amp.PolicyRule> = {};
  for (const name of amp.policyTable(device).keys()) rules[name] = "none";
  const add = (names: Iterable<string>, rule: amp.PolicyRule): void => {
    for (const name of names) if (known.has(name)) rules[name] = rule;
  };
  add(words(HALF), "lower");
  add(words(FLOAT), "float32");
  add(words(PROMOTE), "promote");
  add(words(BANNED), "banned");
  add(registered.half, "lower");
  add(registered.float, "float32");
  add(registered.promote, "promote");
  return new amp.AutocastPolicy(rules, device);
}
