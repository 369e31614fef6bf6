/** PyTorch's old names, without the mark of what works in place: the same functions, which say their new name once. */
import { constant_, dirac_, eye_, normal_, sparse_, uniform_ } from "./fills.js";
import { kaimingNormal_, kaimingUniform_, orthogonal_, xavierNormal_, xavierUniform_ } from "./variance.js";

const told = new Set<string>();
function renamed<A extends readonly unknown[], R>(name: string, fn: (...given: A) => R): (...given: A) => R {
  return (...given) => {
    if (!told.has(name)) {
      told.add(name);
      process.emitWarning(`init.${name} is an old name of init.${name}_.`, {
        type: "NbitWarning",
        code: "WARN_OLD_NAME",
      });
    }
    return fn(...given);
  };
}
export const constant = renamed("constant", constant_);
export const dirac = renamed("dirac", dirac_);
export const eye = renamed("eye", eye_);
export const kaimingNormal = renamed("kaimingNormal", kaimingNormal_);
export const kaimingUniform = renamed("kaimingUniform", kaimingUniform_);
export const normal = renamed("normal", normal_);
export const orthogonal = renamed("orthogonal", orthogonal_);
export const sparse = renamed("sparse", sparse_);
export const uniform = renamed("uniform", uniform_);
export const xavierNormal = renamed("xavierNormal", xavierNormal_);
export const xavierUniform = renamed("xavierUniform", xavierUniform_);
