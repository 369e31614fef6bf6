/** A command line of a program's own: Lightning's LightningCLI. */
import { basename } from "node:path";
import {
  InterruptError,
  MisconfigurationError,
  type Trainer,
  type LightningDataModule,
  type LightningModule,
  type OptimizerConfiguration,
  type TrainerOptions,
} from "@nbit/lightning";
import { ArgumentError, atMost, checkOptions, kinds, type optim, type OptionNames } from "@nbit/torch";
import { commandFirst, readArguments } from "../arguments/read.js";
import type { AnyClass } from "../classes/kinds.js";
import { makeCallback, type SchedulerParts } from "../classes/instantiate.js";
import { lastOf, type Call, type Command } from "../command.js";
import { CommandError } from "../errors.js";
import { helpText, overview } from "../help/text.js";
import { measureWide } from "../help/width.js";
import { declaredGroups } from "../run/arguments-help.js";
import { CONFIG_FLAGS, CHECKPOINT_FLAGS, PARTS_FLAGS, SECTIONS, trainerGroups } from "../run/flags.js";
import { NO_PROGRAM, type Program } from "../run/program.js";
import { settingsOf } from "../run/settings.js";
import { showWarnings } from "../terminal/warnings.js";
import { configTemplate, configText, type Config } from "../settings/dump.js";
import type { Given } from "../settings/given.js";
import type { Settings } from "../settings/settle.js";
import { codeText } from "../terminal/errors.js";
import { LightningArgumentParser, type ParserOptions } from "./argument-parser.js";
import { configHeader } from "./header.js";
import { configureOptimizers } from "./optimizers.js";
import { prepare, seedRun, sharingSeed, type Prepared } from "./prepare.js";
import { SaveConfigCallback, type SaveConfigOptions } from "./save-config.js";
import { automatic, isPartName, linkedSettings, ownSettings, sectionRecipes, withoutLinked } from "./sections.js";

export type Subcommand = "fit" | "validate" | "test" | "predict";
const SUBCOMMANDS: Readonly<Record<Subcommand, string>> = {
  fit: "train",
  validate: "run the validation step over the validation data",
  test: "run the test step over the test data",
  predict: "run the predict step over its data",
};
type ModelSource = (new (...args: never[]) => LightningModule) | ((...args: never[]) => LightningModule);
type DataSource = (new (...args: never[]) => LightningDataModule) | ((...args: never[]) => LightningDataModule);

export interface LightningCLIOptions {
  /** Keeps the settings with the run; null: nothing does. Default {@link SaveConfigCallback}. */
  readonly saveConfigCallback?: (new (config: () => string, options: SaveConfigOptions) => SaveConfigCallback) | null;
  readonly saveConfigKwargs?: SaveConfigOptions;
  readonly trainerClass?: new (options: TrainerOptions) => Trainer;
  /** Options of the Trainer below all that is given; its callbacks are always there. */
  readonly trainerDefaults?: TrainerOptions;
  /** A seed, where none is given; true: one is drawn; false: none. Default true. */
  readonly seedEverythingDefault?: boolean | number;
  readonly parserKwargs?: ParserOptions;
  readonly parserClass?: new (options: ParserOptions) => LightningArgumentParser;
  /** Arguments, instead of the process's. */
  readonly args?: readonly string[] | null;
  /** `--model` names a class that extends the one that is given: `--model ./net.ts#Deep --model.depth 3`. Default false. */
  readonly subclassModeModel?: boolean;
  /** The same of the data. */
  readonly subclassModeData?: boolean;
  /** False: there is no subcommand, and {@link LightningCLI.instantiate} makes everything. Default true. */
  readonly run?: boolean;
  /** Take `--optimizer` and `--lrScheduler`. Default true. */
  readonly autoConfigureOptimizers?: boolean;
}
const NAMES: OptionNames<LightningCLIOptions> = {
  saveConfigCallback: kinds.orNull(kinds.callable as kinds.Kind<unknown>),
  saveConfigKwargs: kinds.record,
  trainerClass: kinds.callable as kinds.Kind<unknown>,
  trainerDefaults: kinds.record,
  seedEverythingDefault: kinds.either(kinds.flag, kinds.whole("[0, ∞)")),
  parserKwargs: kinds.record,
  parserClass: kinds.callable as kinds.Kind<unknown>,
  args: kinds.orNull(kinds.listOf(kinds.text)),
  subclassModeModel: kinds.flag,
  subclassModeData: kinds.flag,
  run: kinds.flag,
  autoConfigureOptimizers: kinds.flag,
};

/**
 * A program's own command line over a model and its data: `node main.ts fit --model.lr 0.1 --data.batchSize 64
 * --trainer.maxEpochs 5 --config run.yaml`. The flags, files and variables are those of `nbit fit`.
 *
 * Where the arguments are the process's own, a wrong one is said in one line and becomes the exit status; where they
 * are given (`args`), it is thrown.
 *
 * @param modelClass - A LightningModule class, or a function that returns one; null: `--model` names it.
 * @param datamoduleClass - The same of the data; null: `--data` names it, or the model has loaders.
 * @example
 * await new LightningCLI(Net, Digits).run();
 */
export class LightningCLI {
  readonly parser: LightningArgumentParser;
  /** Null before {@link run}, and where there is no subcommand. */
  subcommand: Subcommand | null = null;
  readonly #modelClass: ModelSource | null;
  readonly #datamoduleClass: DataSource | null;
  readonly #options: LightningCLIOptions;
  #prepared: Prepared | null = null;

  constructor(
    modelClass: ModelSource | null = null,
    datamoduleClass: DataSource | null = null,
    options: LightningCLIOptions = {},
  ) {
    atMost("LightningCLI", arguments, 3);
    checkOptions("LightningCLI", options, NAMES);
    for (const [name, value] of Object.entries({ modelClass, datamoduleClass }))
      if (value !== null && typeof value !== "function")
        throw new ArgumentError(
          "LightningCLI",
          `${name} to be a class, a function that returns an instance, or null`,
          value,
        );
    this.#modelClass = modelClass;
    this.#datamoduleClass = datamoduleClass;
    this.#options = options;
    this.parser = new (options.parserClass ?? LightningArgumentParser)(options.parserKwargs ?? {});
    if (options.autoConfigureOptimizers ?? true) {
      this.parser.addOptimizerArgs();
      this.parser.addLrSchedulerArgs();
    }
    this.addArgumentsToParser(this.parser);
  }

  // What a class of one's own overrides.

  /** Add flags, sections and links. */
  addArgumentsToParser(_parser: LightningArgumentParser): void {}
  beforeInstantiateClasses(): void | Promise<void> {}
  afterInstantiateClasses(): void | Promise<void> {}
  /** `beforeFit`, `afterFit` and so on in one: the subcommand is about to run. */
  beforeRun(_subcommand: Subcommand): void | Promise<void> {}
  afterRun(_subcommand: Subcommand): void | Promise<void> {}
  /** What the model's `configureOptimizers` returns when `--optimizer` is given. */
  configureOptimizers(
    module: LightningModule,
    optimizer: optim.Optimizer,
    lrScheduler: SchedulerParts | null,
  ): OptimizerConfiguration {
    return configureOptimizers(module, optimizer, lrScheduler);
  }

  // What there is, once it is made.

  get model(): LightningModule {
    return this.#made("model").model;
  }
  get datamodule(): LightningDataModule | null {
    return this.#made("datamodule").datamodule;
  }
  get trainer(): Trainer {
    return this.#made("trainer").trainer;
  }
  /** All settings, as the file of the run has them. */
  get config(): Config {
    return this.#made("config").config;
  }
  #made(what: string): Prepared {
    if (this.#prepared === null)
      throw new MisconfigurationError(
        "LightningCLI",
        `run or instantiate before ${what}`,
        this.subcommand,
        undefined,
        "ERR_CLI_NOT_RUN",
      );
    return this.#prepared;
  }

  /**
   * Read the arguments, make everything, and run the subcommand.
   * @returns the exit status, which the process has as well where the arguments are its own.
   */
  async run(): Promise<number> {
    atMost("LightningCLI.run", arguments, 0);
    return this.#guarded(async (args) => {
      const [name = "--help", ...rest] = commandFirst(args);
      if (["--help", "-h", "help"].includes(name)) {
        console.log(
          overview(Object.keys(SUBCOMMANDS).map((each) => this.#row(each as Subcommand))).replace(
            "nbit <command>",
            `${programName()} <command>`,
          ),
        );
        return 0;
      }
      if (!isSubcommand(name))
        throw new CommandError(
          "ERR_COMMAND",
          `nbit: expected one of ${Object.keys(SUBCOMMANDS).join(", ")}. Received: ${JSON.stringify(name)}.`,
        );
      this.subcommand = name;
      const made = await this.#instantiate(this.#row(name), rest);
      return made === null ? 0 : this.#runSubcommand(name, made);
    });
  }

  /** Read the arguments, which have no subcommand, and make everything. Nothing runs. */
  async instantiate(): Promise<void> {
    atMost("LightningCLI.instantiate", arguments, 0);
    await this.#guarded(async (args) => {
      await this.#instantiate(this.#row("fit"), args);
      return 0;
    });
  }

  async #guarded(work: (args: readonly string[]) => Promise<number>): Promise<number> {
    const { args } = this.#options;
    if (args != null) return work(args);
    const asTheyWere = showWarnings();
    try {
      const status = await work(process.argv.slice(2));
      process.exitCode = status;
      return status;
    } catch (error) {
      if (error instanceof InterruptError) {
        console.error(error.message);
        return (process.exitCode = error.exitCode);
      }
      if (!(error instanceof CommandError || error instanceof MisconfigurationError)) throw error;
      console.error(codeText(error, error.message.replace(/^nbit\b/, programName())));
      return (process.exitCode = 2);
    } finally {
      await new Promise(setImmediate); // warnings come a tick later
      asTheyWere();
    }
  }

  /** @returns null: only help or settings were asked for. */
  async #instantiate(row: Command, args: readonly string[]): Promise<Prepared | null> {
    const call = readArguments(row, args);
    const settings = this.#settings(call);
    const {
      seedEverythingDefault = true,
      trainerClass,
      trainerDefaults = {},
      saveConfigCallback = SaveConfigCallback,
    } = this.#options;
    const program: Program = {
      ...NO_PROGRAM,
      model: this.#modelClass ?? undefined,
      data: this.#datamoduleClass ?? undefined,
    };
    if (call.help) {
      await measureWide();
      console.log(
        helpText(row, await declaredGroups(row.name, program, settings)).replace(
          /^Usage: nbit/,
          `Usage: ${programName()}`,
        ),
      );
      return null;
    }
    const seed = this.#seed(row.name, settings, seedEverythingDefault);
    await this.beforeInstantiateClasses();
    const recipes = await sectionRecipes(row.name, this.parser, settings);
    const classes = { model: this.#modelClass, data: this.#datamoduleClass };
    const linked = linkedSettings(row.name, this.parser, settings, { recipes, classes });
    const keep = row.name === "fit" && saveConfigCallback !== null ? saveConfigCallback : null;
    this.#prepared = await prepare(
      linked,
      {
        command: row.name,
        file: programName(),
        exports: new Map(),
        model: program.model,
        data: program.data,
        bases: this.#bases(),
        trainer: trainerDefaults,
        ...(trainerClass === undefined ? {} : { trainerClass }),
        configure: (module, optimizer, lrScheduler) => this.configureOptimizers(module, optimizer, lrScheduler),
        optimizers: { optimizer: automatic(recipes, "optimizer"), lrScheduler: automatic(recipes, "lrScheduler") },
        finish: (config) => withoutLinked({ ...config, ...ownSettings(row.name, this.parser, settings) }, this.parser),
        callbacks: (config) => [
          ...recipes.flatMap(({ section, recipe }) =>
            section.kind === "callbacks" && recipe !== null ? [makeCallback(recipe)] : [],
          ),
          ...(keep === null
            ? []
            : [
                new keep(
                  () => configText(config(), configHeader(args, programName())),
                  saveOptions(this.#options.saveConfigKwargs ?? {}, settings),
                ),
              ]),
        ],
      },
      seed,
    );
    if (lastOf(call.flags).get("print-config") === true) {
      console.log(configTemplate(this.#prepared.config).trimEnd());
      return null;
    }
    await this.afterInstantiateClasses();
    return this.#prepared;
  }

  #bases(): { readonly model?: AnyClass; readonly data?: AnyClass } {
    const { subclassModeModel = false, subclassModeData = false } = this.#options;
    return {
      ...(subclassModeModel && this.#modelClass !== null ? { model: this.#modelClass as AnyClass } : {}),
      ...(subclassModeData && this.#datamoduleClass !== null ? { data: this.#datamoduleClass as AnyClass } : {}),
    };
  }

  #settings(call: Call): Settings {
    const own = [...this.parser.flags.keys()];
    const sections = [...this.parser.sections.keys()].filter((name) => !isPartName(name));
    return settingsOf(call, process.env, {
      own,
      sections,
      defaults: this.parser.defaults,
      envPrefix: this.parser.envPrefix,
    });
  }

  #seed(command: string, settings: Settings, standard: boolean | number): number | null {
    if (settings.own.has("seed") || standard === true) return seedRun(command, settings);
    if (standard === false) return null;
    const given: Given = { path: ["seed"], value: standard, isText: false, from: "seedEverythingDefault" };
    return seedRun(command, { ...settings, own: new Map([...settings.own, ["seed", given]]) });
  }

  async #runSubcommand(
    name: Subcommand,
    { trainer, model, datamodule, ckptPath, askedCkptPath, config }: Prepared,
  ): Promise<number> {
    const data = datamodule === null ? {} : { datamodule };
    const options = { ...data, ckptPath: ckptPath ?? askedCkptPath };
    await this.beforeRun(name);
    if (name === "fit")
      await sharingSeed(config.seed ?? null, this.parser.envPrefix, () => trainer.fit(model, options));
    else await trainer[name](model, options);
    await this.afterRun(name);
    return 0;
  }

  #row(name: Subcommand): Command {
    const parts = this.#options.autoConfigureOptimizers === false ? new Map([...PARTS_FLAGS].slice(0, 2)) : PARTS_FLAGS;
    return {
      name,
      summary: SUBCOMMANDS[name],
      usage: "[--flag value]…",
      about: [this.parser.description, `${SUBCOMMANDS[name][0]?.toUpperCase() ?? ""}${SUBCOMMANDS[name].slice(1)}.`]
        .filter((text) => text !== "")
        .join("\n\n"),
      words: { most: 0, what: "flags alone" },
      sections: [...SECTIONS, ...this.parser.sections.keys()],
      groups: [
        { title: "Settings", flags: CONFIG_FLAGS },
        { title: "This program", flags: this.parser.flags },
        { title: "Parts", flags: parts },
        { title: "Weights", flags: CHECKPOINT_FLAGS },
        ...trainerGroups(),
      ],
      run: () => Promise.resolve(0),
    };
  }
}

/** Sections that stood in files of their own go into such files again, where that is wanted. */
function saveOptions(options: SaveConfigOptions, { files }: Settings): SaveConfigOptions {
  if (options.multifile !== true) return options;
  return { ...options, multifile: Object.fromEntries([...files].map(([section, file]) => [section, basename(file)])) };
}

const isSubcommand = (name: string): name is Subcommand => Object.hasOwn(SUBCOMMANDS, name);
const programName = (): string => `node ${basename(process.argv[1] ?? "main.js")}`;
