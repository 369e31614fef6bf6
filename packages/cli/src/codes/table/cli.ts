import { family } from "../family.js";

export const cli = family(
  "cli",
  { title: "The command", brief: "Wrong calls of `nbit`.", by: "CommandError", in: ["cli"] },
  {
    ERR_ARGUMENTS: {
      means: "A command got words that it does not take, or too few of them.",
      cause: "A flag's value without its flag; a file's name where none is taken.",
      fix: "`nbit COMMAND --help` shows what it takes.",
    },
    ERR_CLASS: {
      means: "A name after `--model`, `--data` or another such flag is not that of a class of the right kind.",
      cause: "A misspelt name, or a class that the file does not export.",
      fix: "Write `file.ts:ClassName` or a name that the message lists.",
    },
    ERR_CLI_NOT_RUN: {
      means: "A part of a LightningCLI was asked for before the command line had been read.",
      cause: "Reading `cli.model` right after `new LightningCLI(…)`.",
      fix: "Call `await cli.run()`, or `instantiate()`, before.",
      by: "MisconfigurationError",
    },
    ERR_CLI_OPTIMIZERS: {
      means: "The command line names several optimizers, or schedulers, and nothing says which is for what.",
      cause: "Two `--optimizer` sections in a settings file.",
      fix: "Leave one, or link them to arguments of the model.",
      by: "MisconfigurationError",
    },
    ERR_COMMAND: {
      means: "`nbit` has no such command.",
      cause: "A misspelling.",
      fix: "`nbit help` lists all commands.",
    },
    ERR_CONFIG_FILE: {
      means: "The file after `--config` cannot be read, or is no YAML.",
      cause: "A wrong path; a tab or a missing space after a colon.",
      fix: "The message has the line; `nbit fit … --print_config` writes a file to begin with.",
    },
    ERR_EXPORT: {
      means: "A script does not export what the command needs.",
      cause: "`model` or `trainDataloaders` is not exported, or under another name.",
      fix: "Export it, or name it in the flag that the message shows.",
    },
    ERR_FILE: {
      means: "A file or folder that a command is to read is not there, or one that it is to write is there already.",
      cause: "A path relative to another folder.",
      fix: "Check the path in the message.",
    },
    ERR_FLAG: {
      means: "A command has no such flag.",
      cause: "A misspelling; a flag of the script before the script's name.",
      fix: "`nbit COMMAND --help` lists them; flags of the script come after it.",
    },
    ERR_FLAG_VALUE: {
      means: "A flag's value is missing, or of another kind than the flag takes.",
      cause: "`--maxEpochs ten`; a flag at the end of the line.",
      fix: "Give a value of the kind that the message names.",
    },
    ERR_NO_CHECKPOINT: {
      means: "`nbit validate`, `test` and `predict` do not guess which weights to use.",
      cause: "`--ckptPath` was left out.",
      fix: "Pass `--ckptPath last`, `best` or a file; or `--initialWeights` to use what the file makes.",
    },
    ERR_NO_FIT: {
      means: "`nbit explain` ran the program, which never called `trainer.fit`.",
      cause: "The script only defines classes, or its fit lies behind a condition.",
      fix: "Call `trainer.fit`, or export `model` and `trainDataloaders`.",
    },
    ERR_NO_RUN_LOG: {
      means: "There is no log of a run in the folders that `nbit report` was given.",
      cause: "A run with `runLog: false` or without a logger; another folder.",
      fix: "Pass the run's folder, such as `lightning_logs/version_0`.",
    },
    ERR_NO_TERMINAL: {
      means: "`nbit clean` asks before it removes anything, and there is nobody to ask.",
      cause: "A pipe or CI.",
      fix: "Pass `--yes`.",
    },
    ERR_OUTPUT: {
      means: "`nbit predict --output` has an ending that names no format.",
      cause: "`out.txt`.",
      fix: "Use one of the endings that the message lists.",
    },
    ERR_PREDICTIONS: {
      means: "Predictions cannot be written as a table.",
      cause: "Batches that predict different names, or tensors of different lengths in one batch.",
      fix: "Return objects with the same keys, and one row per sample.",
    },
    ERR_SETUP_RUNNING: {
      means: "`nbit clean` would take files away from a set-up that is running.",
      cause: "Another terminal, or another project of yours, sets up at this moment.",
      fix: "Wait for it, or end it; a set-up that was killed is not in the way.",
    },
    ERR_TUNE: {
      means: "`nbit tune` had too little to judge by.",
      cause: "Very few steps, or `--fastDevRun`.",
      fix: "Raise `--numTraining` or `--maxTrials`.",
    },
    ERR_TYPESCRIPT: {
      means: "A TypeScript file cannot be read.",
      cause: "A syntax error.",
      fix: "The message has the place.",
    },
  },
);
