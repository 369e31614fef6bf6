/** Linear algebra, as in torch.linalg. */
export * from "../generated/linalg.js";
export { LinAlgError } from "../errors.js";
