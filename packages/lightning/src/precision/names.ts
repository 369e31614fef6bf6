/**
 * Names of precisions, each with the other spellings that mean it. The file of every precision adds its own; one of a
 * third party does so beside its call of `registerPrecision`, and then `new Trainer({ precision })` knows it:
 *
 * @example
 * declare module "@nbit/lightning" {
 *   interface PrecisionNames {
 *     "int4-true": "int4";
 *   }
 * }
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- declarations elsewhere fill it
export interface PrecisionNames {}

/** The canonical names. */
export type PrecisionName = keyof PrecisionNames;

/** Every spelling that `new Trainer({ precision })` accepts. "auto": what the device computes natively. */
export type PrecisionInput = PrecisionName | PrecisionNames[PrecisionName] | "auto";
