/** What a low-bit optimizer remembers of one parameter: made fresh, or adopted from a saved one in whatever format. */
import { isTensor, optim, scope, zeros, type Tensor } from "@nbit/torch";
import { mapOn, onDevice, stepTensor, zeroState } from "./device.js";
import type { Family } from "./families.js";
import { pinned } from "./offload.js";
import type { LowBitGroup } from "./options.js";
import { sameMap, savedState, widened, type SavedState } from "./saved-state.js";
import type { StateFormat } from "./state-format.js";

const VERSION = 1;

/** Before the first step. `format` null: in float32. */
export function freshState(
  family: Family,
  format: StateFormat | null,
  p: Tensor,
  g: LowBitGroup,
): optim.ParameterState {
  const device = onDevice([p]);
  const s: optim.ParameterState = { step: device ? stepTensor(p, 0) : 0 };
  family.states.forEach((signed, i) => {
    if (format === null) {
      s[`state${i + 1}`] = zeros([...p.shape], { dtype: "float32", device: p.device });
      return;
    }
    const q = zeroState(format, signed, p, g.blockSize);
    s[`state${i + 1}`] = q.codes;
    s[`absmax${i + 1}`] = q.absmax;
    const map = mapOn(format, signed, p);
    if (map !== null) s[`qmap${i + 1}`] = map;
  });
  if (g.offload && device)
    for (const [name, value] of Object.entries(s)) {
      if (!isTensor(value) || !/^(state|absmax)\d$/.test(name)) continue;
      s[name] = pinned(value);
      value.dispose();
    }
  if (format !== null) {
    s["blockSize"] = g.blockSize;
    s["version"] = VERSION;
  }
  return s;
}

/** A saved state, checked whole and then converted to this family's in `format`; bit for bit where it is in that. */
export function adoptedState(
  refuse: optim.Refuse,
  { state: s, position }: optim.SavedParameter,
  family: Family,
  format: StateFormat | null,
  p: Tensor,
  g: LowBitGroup,
): optim.ParameterState {
  const step = optim.stepCount(refuse, position, s["step"]);
  const version: unknown = s["version"] ?? 0;
  if (typeof version !== "number" || !(version <= VERSION))
    refuse(
      `state of version ${VERSION} or older`,
      String(version),
      "It was saved by a later nbit; update @nbit/lowbit.",
    );
  const states = family.states.map((_, i) => savedState(refuse, s, i, p, position));
  scope(() =>
    family.states.forEach((signed, i) => {
      if (!signed) optim.requireNonNegative(refuse, `state${i + 1}`, position, widened(states[i] as SavedState, p));
    }),
  );
  if (s[`state${states.length + 1}`] !== undefined)
    refuse(
      `${states.length} states of parameter ${position}`,
      `keys ${Object.keys(s).join(", ")}`,
      "Is it the state of another optimizer?",
    );
  const compensation =
    s["compensation"] === undefined || p.dtype === "float32"
      ? null
      : optim.likeParameter(refuse, "compensation", position, s["compensation"], p);
  const made = freshState(family, format, p, g);
  made["step"] = onDevice([p]) ? stepTensor(p, step) : step;
  if (compensation !== null) made["compensation"] = compensation;
  scope(() => family.states.forEach((signed, i) => fill(made, i, states[i] as SavedState, { format, signed, p, g })));
  return made;
}

/** State `i` of a fresh one takes the values of a saved one. */
function fill(
  made: optim.ParameterState,
  i: number,
  saved: SavedState,
  {
    format,
    signed,
    p,
    g,
  }: { readonly format: StateFormat | null; readonly signed: boolean; readonly p: Tensor; readonly g: LowBitGroup },
): void {
  const codes = made[`state${i + 1}`] as Tensor;
  const absmax = made[`absmax${i + 1}`];
  if (!isTensor(absmax) || format === null) return void codes.copy_(widened(saved, p));
  if (
    saved.absmax !== null &&
    saved.blockSize === g.blockSize &&
    sameMap(saved.map, made[`qmap${i + 1}`]) &&
    saved.value.dtype === codes.dtype &&
    saved.value.numel() === codes.numel()
  ) {
    codes.copy_(saved.value.reshape([...codes.shape]));
    absmax.copy_(saved.absmax.reshape([-1]));
    return;
  }
  const q = format.quantize(widened(saved, p), { signed, blockSize: g.blockSize, keepPositive: g.keepPositive });
  codes.copy_(q.codes);
  absmax.copy_(q.absmax);
}
