/** Images of other sizes. */
import { float } from "../graph.js";
import type { Lowering, Op } from "../op.js";

function resized(o: Op, attributes: Parameters<Op["node"]>[2]): string {
  const input = o.maybe("input") ?? o.t("self");
  // A region and factors, of no use here, could not be left out at first.
  const empty = o.g.opset < 13 ? o.g.nothing() : null;
  return o.node("Resize", [input.name, empty, empty, o.vector(o.out.sizes)], attributes);
}
const nearest: Lowering = (o) =>
  resized(o, { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" });
/** The element whose middle is nearest. */
const exact: Lowering = (o) =>
  resized(o, { mode: "nearest", coordinate_transformation_mode: "half_pixel", nearest_mode: "round_prefer_ceil" });
const corners = (o: Op): string => (o.flag("align_corners") ? "align_corners" : "half_pixel");
const linear: Lowering = (o) => resized(o, { mode: "linear", coordinate_transformation_mode: corners(o) });
const cubic: Lowering = (o) =>
  resized(o, { mode: "cubic", coordinate_transformation_mode: corners(o), cubic_coeff_a: float(-0.75) });
const antialiased =
  (mode: "linear" | "cubic"): Lowering =>
  (o) => {
    if (o.g.opset < 18) o.refuse("opsetVersion 18 or later");
    return resized(o, {
      mode,
      antialias: 1,
      coordinate_transformation_mode: corners(o),
      ...(mode === "cubic" ? { cubic_coeff_a: float(-0.5) } : {}),
    });
  };
const gridSampler: Lowering = (o) => {
  if (o.g.opset < 16) o.refuse("opsetVersion 16 or later");
  const linearName = o.g.opset >= 20 ? "linear" : "bilinear";
  return o.node("GridSample", [o.t("input").name, o.t("grid").name], {
    mode: [linearName, "nearest", o.g.opset >= 20 ? "cubic" : "bicubic"][o.int("interpolation_mode")] ?? linearName,
    padding_mode: ["zeros", "border", "reflection"][o.int("padding_mode")] ?? "zeros",
    align_corners: o.flag("align_corners") ? 1 : 0,
  });
};

export const resizing: Readonly<Record<string, Lowering>> = {
  upsample_nearest1d: nearest,
  upsample_nearest2d: nearest,
  upsample_nearest3d: nearest,
  _upsample_nearest_exact1d: exact,
  _upsample_nearest_exact2d: exact,
  _upsample_nearest_exact3d: exact,
  upsample_linear1d: linear,
  upsample_bilinear2d: linear,
  upsample_trilinear3d: linear,
  upsample_bicubic2d: cubic,
  _upsample_bilinear2d_aa: antialiased("linear"),
  _upsample_bicubic2d_aa: antialiased("cubic"),
  grid_sampler: gridSampler,
  grid_sampler_2d: gridSampler,
  grid_sampler_3d: gridSampler,
};
