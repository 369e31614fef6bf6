/** What a class says that it can be given: names with defaults. Types are gone when a program runs; values are not. */
import type { LightningDataModule, LightningModule } from "@nbit/lightning";
import { random, scope } from "@nbit/torch";
import { isPlain } from "@nbit/torch/realm";
import type { Values } from "../settings/fill.js";

/**
 * - `static hparams = { lr: 1e-3, width: 64 }` of the class, or of one that it extends; or
 * - what its constructor records with `saveHyperparameters` when it is called without arguments. Random numbers are
 *   afterwards as if that had not been.
 *
 * @returns null: it declares nothing.
 */
export function declaredBy(type: object): Values | null {
  const own: unknown = Reflect.get(type, "hparams");
  if (isPlain(own)) return own;
  if (!isConstructor(type)) return null;
  try {
    const hparams = random.forkRng(() => scope(() => new type().hparams));
    return Object.keys(hparams).length === 0 ? null : { ...hparams };
  } catch {
    return null; // it needs arguments, which it does not declare
  }
}

function isConstructor(type: object): type is new () => Pick<LightningModule | LightningDataModule, "hparams"> {
  return typeof type === "function" && /^class\b/.test(Function.prototype.toString.call(type));
}
