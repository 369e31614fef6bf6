/**
 * O1's lists: which operators run in float16, in float32, in the widest of their inputs, or not at all. They differ
 * from native autocast's.
 */
import { atMost, amp, ArgumentError, operatorNames, type DeviceLike } from "@nbit/torch";

const HALF = `
  conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc prelu addmm addmv addr matmul mm mv linear addbmm baddbmm bmm
  rnn_tanh rnn_relu lstm gru rnn_tanh_cell rnn_relu_cell lstm_cell gru_cell`;
const FLOAT = `
  acos asin cosh erfinv exp expm1 log log10 log2 reciprocal rsqrt sinh tan pow
  cumprod cumsum dist norm prod std sum var renorm linalg_vector_norm
  softplus softmax log_softmax gelu layer_norm group_norm batch_norm instance_norm rms_norm cosine_similarity
  upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
  upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler
  poisson_nll_loss cosine_embedding_loss cross_entropy_loss hinge_embedding_loss kl_div l1_loss mse_loss margin_ranking_loss multilabel_margin_loss multi_margin_loss nll_loss nll_loss2d
  nll_loss_nd binary_cross_entropy_with_logits smooth_l1_loss huber_loss soft_margin_loss triplet_margin_loss ctc_loss`;
const PROMOTE = `addcdiv addcmul atan2 cross bilinear dot add sub rsub div mul eq equal ge gt le lt ne cat stack`;
/** Besides the loss that overflows: what would have to be float32 and writes into a float16 tensor. */
const BANNED = `binary_cross_entropy acos_ asin_ cosh_ erfinv_ exp_ expm1_ log_ log10_ log2_ reciprocal_ rsqrt_ sinh_ tan_ pow_ cumprod_ cumsum_ renorm_`;

const words = (text: string): string[] => text.split(/\s+/).filter((w) => w !== "");

/** Operators that a user adds to O1's lists. */
const registered = { half: new Set<string>(), float: new Set<string>(), promote: new Set<string>() };
/** O1 policies in use, which were made from the lists of their time. */
let inUse = 0;

function register(kind: keyof typeof registered, fn: string, operator: string): void {
  if (typeof operator !== "string" || !operatorNames().includes(operator))
    throw new ArgumentError(
      fn,
      'the name of an operator, such as "einsum"',
      operator,
      "For functions of your own use halfFunction, floatFunction or promoteFunction.",
    );
  for (const set of Object.values(registered)) set.delete(operator);
  registered[kind].add(operator);
  if (inUse > 0)
    process.emitWarning(
      `${fn}(${JSON.stringify(operator)}): models that were initialized with O1 before do not see it. Call it before initialize.`,
      { type: "NbitWarning", code: "WARN_APEX_REGISTERED_LATE" },
    );
}
/**
 * Let O1 run an operator in float16. Call it before `initialize`: models that are initialized already keep their lists,
 * and a warning says so.
 */
export function registerHalfFunction(operator: string): void {
  atMost("registerHalfFunction", arguments, 1);
  register("half", "registerHalfFunction", operator);
}
/** Let O1 run an operator in float32. Call it before `initialize`. */
export function registerFloatFunction(operator: string): void {
  atMost("registerFloatFunction", arguments, 1);
  register("float", "registerFloatFunction", operator);
}
/** Let O1 run an operator in the widest dtype of its inputs. Call it before `initialize`. */
export function registerPromoteFunction(operator: string): void {
  atMost("registerPromoteFunction", arguments, 1);
  register("promote", "registerPromoteFunction", operator);
}

/**
 * O1's rule of each operator on a device type, with what was registered. `none`: native autocast has a rule for it and
 * O1 has not, so it runs as its inputs are.
 * @example o1Rules("cpu").get("softmax"); // "float32"
 */
export function o1Rules(device: DeviceLike = "cpu"): ReadonlyMap<string, amp.PolicyRule> {
  atMost("o1Rules", arguments, 1);
  const known = new Set(operatorNames());
  const rules = new Map<string, amp.PolicyRule>();
  for (const name of amp.policyTable(device).keys()) rules.set(name, "none");
  const add = (names: Iterable<string>, rule: amp.PolicyRule): void => {
    for (const name of names) if (known.has(name)) rules.set(name, rule);
  };
  add(words(HALF), "lower");
  add(words(FLOAT), "float32");
  add(words(PROMOTE), "promote");
  add(words(BANNED), "banned16");
  add(registered.half, "lower");
  add(registered.float, "float32");
  add(registered.promote, "promote");
  return rules;
}

/** @internal O1's policy of a device type; dispose of it with `release`. */
export function o1Policy(device: DeviceLike): { readonly policy: amp.AutocastPolicy; readonly release: () => void } {
  const policy = new amp.AutocastPolicy(Object.fromEntries(o1Rules(device)), device);
  inUse++;
  return {
    policy,
    release: () => {
      inUse--;
      policy.dispose();
    },
  };
}
