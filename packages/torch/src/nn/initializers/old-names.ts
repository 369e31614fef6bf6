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
export const constant: typeof constant_ = renamed("constant", constant_);
export const dirac: typeof dirac_ = renamed("dirac", dirac_);
export const eye: typeof eye_ = renamed("eye", eye_);
export const kaimingNormal: typeof kaimingNormal_ = renamed("kaimingNormal", kaimingNormal_);
export const kaimingUniform: typeof kaimingUniform_ = renamed("kaimingUniform", kaimingUniform_);
export const normal: typeof normal_ = renamed("normal", normal_);
export const orthogonal: typeof orthogonal_ = renamed("orthogonal", orthogonal_);
export const sparse: typeof sparse_ = renamed("sparse", sparse_);
export const uniform: typeof uniform_ = renamed("uniform", uniform_);
export const xavierNormal: typeof xavierNormal_ = renamed("xavierNormal", xavierNormal_);
export const xavierUniform: typeof xavierUniform_ = renamed("xavierUniform", xavierUniform_);
