/** What a program's own command line takes: Lightning's `LightningArgumentParser`, as far as classes say it at run time. */
import { type Callback } from "@nbit/lightning";
import {
  ArgumentError,
  atMost,
  checkArguments,
  checkOptions,
  kinds,
  optim,
  type OptionNames,
  writeText,
} from "@nbit/torch";
import { isClassOf, type AnyClass } from "../classes/kinds.js";
import type { Flag } from "../command.js";
import { configText, type Config } from "../settings/dump.js";
import type { Given } from "../settings/given.js";

export interface ParserOptions {
  /** For the help. */
  readonly description?: string;
  /** Beginning of environment variables: `APP_FIT__MODEL__LR`. Default "NBIT". */
  readonly envPrefix?: string;
}
export interface ArgumentOptions {
  readonly default?: string | number | boolean | null;
  /** For the help. */
  readonly help?: string;
}
const PARSER: OptionNames<ParserOptions> = { description: kinds.text, envPrefix: kinds.filled };
const ARGUMENT: OptionNames<ArgumentOptions> = {
  default: kinds.such(
    "a number, a text, true, false or null",
    (v) => v === null || ["string", "number", "boolean"].includes(typeof v),
  ),
  help: kinds.text,
};

/** A link: what one setting is becomes another. */
export interface Link {
  readonly source: string;
  readonly target: string;
  readonly computeFn: (value: unknown) => unknown;
}
/** A section that chooses a class: the optimizer, its schedule, a callback of its own name. */
export interface ClassSection {
  readonly kind: "optimizer" | "lrScheduler" | "callbacks";
  /** The class that is meant where none is named; null: one must be. */
  readonly type: AnyClass | null;
  /** "AUTOMATIC": it becomes what `configureOptimizers` returns; else the setting of the model that gets it. */
  readonly linkTo: string;
}

const NAME = kinds.such<string>("a name, such as experiment", (v) => typeof v === "string" && /^[A-Za-z]\w*$/.test(v));
const CLASS = kinds.such<AnyClass>("a class", (v) => typeof v === "function");

/**
 * Arguments of a program's own, beside the Trainer's, the model's and the data's. {@link LightningCLI.addArgumentsToParser}
 * is given one.
 *
 * @example
 * override addArgumentsToParser(parser: LightningArgumentParser) {
 *   parser.addArgument("experiment", { default: "first", help: "what it is called" });
 *   parser.addLightningClassArgs(EarlyStopping, "earlyStopping");
 *   parser.setDefaults({ "earlyStopping.monitor": "val_loss", "trainer.maxEpochs": 5 });
 *   parser.linkArguments("data.batchSize", "model.batchSize");
 * }
 */
export class LightningArgumentParser {
  readonly description: string;
  readonly envPrefix: string;
  /** @internal */
  readonly flags = new Map<string, Flag>();
  /** @internal */
  readonly sections = new Map<string, ClassSection>();
  /** @internal */
  readonly links: Link[] = [];
  /** @internal */
  readonly defaults: Given[] = [];

  constructor(options: ParserOptions = {}) {
    atMost("LightningArgumentParser", arguments, 1);
    checkOptions("LightningArgumentParser", options, PARSER);
    this.description = options.description ?? "";
    this.envPrefix = options.envPrefix ?? "NBIT";
  }

  /** A flag `--name`, whose value stands in `cli.config` and in the file of settings. */
  addArgument(name: string, options: ArgumentOptions = {}): void {
    atMost("addArgument", arguments, 2);
    checkArguments("addArgument", { name }, { name: NAME });
    checkOptions("addArgument", options, ARGUMENT);
    const standard = options.default;
    const takes =
      typeof standard === "boolean"
        ? (["switch"] as const)
        : typeof standard === "number"
          ? (["number"] as const)
          : (["text"] as const);
    this.flags.set(name, {
      summary: options.help ?? "",
      takes,
      ...(standard === undefined ? {} : { otherwise: JSON.stringify(standard) }),
    });
    if (standard !== undefined) this.setDefaults({ [name]: standard });
  }

  /** Arguments of a callback as `--nestedKey.name`; it is made of them and joins the Trainer's. */
  addLightningClassArgs(lightningClass: abstract new (...args: never[]) => Callback, nestedKey: string): void {
    atMost("addLightningClassArgs", arguments, 2);
    checkArguments(
      "addLightningClassArgs",
      { lightningClass, nestedKey },
      { lightningClass: CLASS as kinds.Kind<unknown>, nestedKey: NAME },
    );
    if (!isClassOf("callbacks", lightningClass))
      throw new ArgumentError(
        "addLightningClassArgs",
        "a Callback class",
        lightningClass,
        "Model and data are given to LightningCLI itself.",
      );
    this.sections.set(nestedKey, { kind: "callbacks", type: lightningClass, linkTo: "AUTOMATIC" });
  }

  /**
   * Arguments of an optimizer as `--nestedKey.lr`.
   * @param optimizerClass - The one that is meant where none is named. Default: one must be named.
   * @param linkTo - The model's argument that gets `{ classPath, initArgs }`, for {@link instantiateClass}; default
   *   "AUTOMATIC": the model's `configureOptimizers` returns it.
   */
  addOptimizerArgs(
    optimizerClass: AnyClass = optim.Optimizer as unknown as AnyClass,
    nestedKey = "optimizer",
    linkTo = "AUTOMATIC",
  ): void {
    atMost("addOptimizerArgs", arguments, 3);
    this.#addClass("optimizer", "addOptimizerArgs", { type: optimizerClass, nestedKey, linkTo });
  }

  /** The same of its schedule. */
  addLrSchedulerArgs(
    lrSchedulerClass: AnyClass = optim.LRScheduler as unknown as AnyClass,
    nestedKey = "lrScheduler",
    linkTo = "AUTOMATIC",
  ): void {
    atMost("addLrSchedulerArgs", arguments, 3);
    this.#addClass("lrScheduler", "addLrSchedulerArgs", { type: lrSchedulerClass, nestedKey, linkTo });
  }

  #addClass(
    kind: "optimizer" | "lrScheduler",
    fn: string,
    { type, nestedKey, linkTo }: { readonly type: AnyClass; readonly nestedKey: string; readonly linkTo: string },
  ): void {
    checkArguments(
      fn,
      { type, nestedKey, linkTo },
      { type: CLASS as kinds.Kind<unknown>, nestedKey: NAME, linkTo: kinds.filled },
    );
    if (!isClassOf(kind, type))
      throw new ArgumentError(fn, kind === "optimizer" ? "a class of optimizers" : "a class of schedulers", type);
    const isBase = type === (optim.Optimizer as unknown) || type === (optim.LRScheduler as unknown);
    this.sections.set(nestedKey, { kind, type: isBase ? null : type, linkTo });
  }

  /** What `source` is, becomes `target`: `parser.linkArguments("data.batchSize", "model.batchSize")`. */
  linkArguments(
    source: string,
    target: string,
    computeFn: (value: never) => unknown = (value: unknown) => value,
  ): void {
    atMost("linkArguments", arguments, 3);
    checkArguments(
      "linkArguments",
      { source, target, computeFn },
      { source: kinds.filled, target: kinds.filled, computeFn: kinds.callable },
    );
    this.links.push({ source, target, computeFn: computeFn as Link["computeFn"] });
  }

  /** Values below all that is given: `{ "trainer.maxEpochs": 5, "model.lr": 0.1 }`. */
  setDefaults(values: Readonly<Record<string, unknown>>): void {
    atMost("setDefaults", arguments, 1);
    checkArguments("setDefaults", { values: values as object }, { values: kinds.record });
    for (const [name, value] of Object.entries(values))
      this.defaults.push({ path: name.split("."), value, isText: false, from: `${name} of setDefaults` });
  }

  /** Settings as YAML. */
  dump(config: Config): string {
    atMost("dump", arguments, 1);
    checkArguments("dump", { config: config as object }, { config: kinds.record });
    return configText(config);
  }
  /** The same in a file. */
  save(config: Config, path: string): void {
    atMost("save", arguments, 2);
    writeText("LightningArgumentParser.save", path, this.dump(config));
  }
}
