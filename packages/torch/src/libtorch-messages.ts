/**
 * libtorch's messages for those who call it from JavaScript: its own words, which can be searched for, without what
 * concerns Python or its builders, and with the fix where one is known.
 */

/**
 * Messages on class labels and indices in the wrong dtype; JavaScript's numbers become float32, so that this is the
 * commonest mistake.
 */
const LABELS =
  /target dtype to be Long|'indices' to have one of the following scalar types: Long|dtype int32(?:\/| or )int64 for index|index tensor of type LongTensor|a long tensor for index|used as indices must be long/;
const INTEGERS =
  /(?:must have|to have) the same dtype, but got:? (?:(?:Long|Int|Short|Char|Byte|Bool|long int|int|short|signed char|unsigned char|bool)\b|\S+ (?:and|!=) (?:Long|Int|Short|Char|Byte|Bool|long int|int|short|signed char|unsigned char|bool)\b)/;

const HINTS: readonly (readonly [pattern: RegExp, hint: string])[] = [
  [
    LABELS,
    'Class labels and indices are integers, and numbers become float32: use labels.long(), or tensor([…], { dtype: "int64" }).',
  ],
  [INTEGERS, "Integers are not converted by themselves: use x.float()."],
  [
    /could not infer output dtype\. Input dtype must be either a floating point/,
    "Integers are not converted by themselves: use x.float().",
  ],
  [
    /element 0 of tensors does not require grad/,
    "Nothing that it was made from had requiresGrad: true, or it was made under noGrad, with detach(), or from numbers.",
  ],
  [
    /grad can be implicitly created only for scalar outputs/,
    "Reduce it first, for example with mean() or sum(), or pass { gradient }.",
  ],
  [
    /a leaf Variable that requires grad is being used in an in-place operation/,
    "Change parameters under noGrad(() => …).",
  ],
];

/** The words that tell an operator which autocast refuses are libtorch's. */
const UNSAFE = /unsafe to autocast\./;
const UNSAFE_TEXT =
  "binaryCrossEntropy and BCELoss are unsafe to autocast: in 16 bits probabilities become 0 and 1 too early. " +
  "Leave out the sigmoid before them, and use binaryCrossEntropyWithLogits or BCEWithLogitsLoss, which are safe; " +
  "or compute them in float32, by autocast({ enabled: false }, () => …).";

const BACKEND = /^(Could not run '[^']+' with arguments from the '(\w+)' backend)[\s\S]*/;
const UNLINKED = /PyTorch is not linked with support for (\w+) devices/;

/** A message as users see it. */
export function readable(message: string): string {
  const backend = BACKEND.exec(message);
  if (backend !== null)
    return `${backend[1]}: this libtorch has no kernel for it there. ${deviceHint(backend[2] ?? "")}`;
  const unlinked = UNLINKED.exec(message);
  if (unlinked !== null) return `${message.trimEnd()}. ${deviceHint(unlinked[1] ?? "")}`;
  if (UNSAFE.test(message) && message.includes("BCELoss")) return UNSAFE_TEXT;
  const text = message.replaceAll("retain_graph=True", "{ retainGraph: true }").replaceAll("autograd.grad()", "grad()");
  const hint = HINTS.find(([pattern]) => pattern.test(text))?.[1];
  return hint === undefined ? text : `${text.trimEnd().replace(/[.:]?$/, ".")} ${hint}`;
}

function deviceHint(backend: string): string {
  return /cuda/i.test(backend)
    ? "`npx nbit doctor` shows whether there is a GPU, and what libtorch was built for."
    : "Move the tensor, or change its layout, for this operator.";
}
