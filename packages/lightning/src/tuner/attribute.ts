/** Settings of a module by name: fields of its own, of its data module, or recorded hyperparameters of either. */
import { plainText, verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";

/** Where a setting may be. */
export interface Holder {
  readonly hparams: Readonly<Record<string, unknown>>;
  saveHyperparameters(params: object): void;
}

/** A setting that can be changed. */
export class Attribute {
  readonly name: string;
  readonly #places: readonly Place[];

  private constructor(name: string, places: readonly Place[]) {
    this.name = name;
    this.#places = places;
  }

  /** The first of `names` that one of the holders has; null: none has any. */
  static find(names: readonly string[], holders: readonly Holder[]): Attribute | null {
    for (const name of names) {
      const places = holders.flatMap((holder) => placesOf(holder, name));
      if (places.length > 0) return new Attribute(name, places);
    }
    return null;
  }
  /** @throws {MisconfigurationError} ERR_TUNER_ATTRIBUTE: nobody has one of them. */
  static demand(fn: string, names: readonly string[], holders: readonly Holder[], fix: string): Attribute {
    const found = Attribute.find(names, holders);
    if (found !== null) return found;
    throw new MisconfigurationError(
      fn,
      `${names.join(" or ")} in the module, its data module, or their hparams`,
      verbatim(plainText(`none in ${holders.map((holder) => holder.constructor.name).join(" and ")}`)),
      fix,
      "ERR_TUNER_ATTRIBUTE",
    );
  }

  /** In a field and in the hyperparameters of the same holder, so that they may say different things. */
  get isTwice(): boolean {
    return this.#places.length > 1;
  }
  get(): unknown {
    return this.#places.at(-1)?.get();
  }
  /** Everywhere that it is. */
  set(value: number): void {
    for (const place of this.#places) place.set(value);
  }
}

interface Place {
  readonly get: () => unknown;
  readonly set: (value: number) => void;
}
function placesOf(holder: Holder, name: string): Place[] {
  const places: Place[] = [];
  if (name in holder)
    places.push({ get: () => Reflect.get(holder, name), set: (value) => void Reflect.set(holder, name, value) });
  if (Object.hasOwn(holder.hparams, name))
    places.push({
      get: () => holder.hparams[name],
      set: (value) => {
        holder.saveHyperparameters({ [name]: value });
      },
    });
  return places;
}
