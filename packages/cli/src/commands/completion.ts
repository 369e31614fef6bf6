/** `nbit completion`: what a shell needs to complete commands and flags, written from the table. */
import { flagsOf, type Command, type Flag } from "../command.js";
import { CommandError } from "../errors.js";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

const ADVICE: Readonly<Record<Shell, string>> = {
  bash: "echo 'eval \"$(npx nbit completion bash)\"' >> ~/.bashrc",
  zsh: "echo 'eval \"$(npx nbit completion zsh)\"' >> ~/.zshrc",
  fish: "npx nbit completion fish > ~/.config/fish/completions/nbit.fish",
};

export function completionOf(all: () => readonly Command[]): Command {
  return {
    name: "completion",
    summary: "print what makes bash, zsh or fish complete commands and flags",
    usage: SHELLS.join("|"),
    about: `Print a script for a shell, once:\n\n${SHELLS.map((shell) => `  ${ADVICE[shell]}`).join("\n")}`,
    words: { most: 1, what: `one of ${SHELLS.join(", ")}`, choices: SHELLS },
    groups: [],
    async run({ words: [shell] }) {
      const known = SHELLS.find((name) => name === shell);
      if (known === undefined)
        throw new CommandError(
          "ERR_ARGUMENTS",
          `nbit completion: expected one of ${SHELLS.join(", ")}. Received: ${shell ?? "nothing"}.`,
        );
      console.log(WRITERS[known](await Promise.all(all().map(withWords))));
      return 0;
    },
  };
}

async function withWords(command: Command): Promise<Command> {
  const { more } = command.words;
  return more === undefined ? command : { ...command, words: { ...command.words, choices: await more() } };
}

const WRITERS: Readonly<Record<Shell, (commands: readonly Command[]) => string>> = { bash, zsh, fish };

const words = ({ name, words: { choices = [] } }: Command, all: readonly Command[]): readonly string[] =>
  name === "help" ? all.map((command) => command.name) : choices;
const choicesOf = ({ choices, takes }: Flag): readonly string[] =>
  choices ?? (takes.includes("switch") ? ["true", "false"] : []);
const namesOf = (command: Command): string[] => ["--help", ...[...flagsOf(command).keys()].map((name) => `--${name}`)];

/** Files stand where no word is known: models, settings, checkpoints. */
function bash(commands: readonly Command[]): string {
  const flagCases = commands.map(
    (command) =>
      `    ${command.name}) flags="${namesOf(command).join(" ")}"; words="${words(command, commands).join(" ")}" ;;`,
  );
  const values = valuesOf(commands).map(
    ([flag, choices]) => `    --${flag}) COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$cur")); return ;;`,
  );
  return `_nbit() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} flags="" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(" ")}" -- "$cur")); return
  fi
  case "$prev" in
${values.join("\n")}
  esac
  case "\${COMP_WORDS[1]}" in
${flagCases.join("\n")}
  esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
    *) if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); else COMPREPLY=($(compgen -f -- "$cur")); fi ;;
  esac
}
complete -o filenames -F _nbit nbit`;
}

/** Flags that only take some words, in any command. */
function valuesOf(commands: readonly Command[]): [string, readonly string[]][] {
  const found = new Map(
    commands.flatMap((command) =>
      [...flagsOf(command)].flatMap(([name, { choices }]) => (choices === undefined ? [] : [[name, choices] as const])),
    ),
  );
  return [...found];
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const colons = (text: string): string => text.replaceAll(":", "\\:").replaceAll("[", "(").replaceAll("]", ")");

function zsh(commands: readonly Command[]): string {
  const list = commands.map(({ name, summary }) => `    ${quoted(`${name}:${colons(summary)}`)}`);
  const cases = commands.map((command) => {
    const flags = [...flagsOf(command)].map(([name, flag]) => {
      const choices = choicesOf(flag);
      const takesNothing = flag.takes.length === 1 && flag.takes[0] === "switch";
      const value = takesNothing ? "" : choices.length > 0 ? `:${name}:(${choices.join(" ")})` : `:${name}:_files`;
      return `      ${quoted(`--${name}[${colons(flag.summary)}]${value}`)}`;
    });
    const choices = words(command, commands);
    const rest = choices.length > 0 ? `'*:word:(${choices.join(" ")})'` : "'*:file:_files'";
    return `    ${command.name}) _arguments \\\n${[...flags, `      ${rest}`].join(" \\\n")} ;;`;
  });
  return `#compdef nbit
_nbit() {
  local -a commands=(
${list.join("\n")}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  shift words; (( CURRENT-- ))
  case "$words[1]" in
${cases.join("\n")}
  esac
}
compdef _nbit nbit`;
}

function fish(commands: readonly Command[]): string {
  const names = commands.map(({ name }) => name).join(" ");
  const lines = commands.flatMap((command) => {
    const only = `__fish_seen_subcommand_from ${command.name}`;
    const choices = words(command, commands);
    return [
      `complete -c nbit -n "not __fish_seen_subcommand_from ${names}" -f -a ${command.name} -d ${quoted(command.summary)}`,
      ...(choices.length > 0 ? [`complete -c nbit -n "${only}" -f -a "${choices.join(" ")}"`] : []),
      ...[...flagsOf(command)].map(([name, flag]) => {
        const options = choicesOf(flag);
        const takes =
          flag.takes.length === 1 && flag.takes[0] === "switch"
            ? ""
            : options.length > 0
              ? ` -x -a "${options.join(" ")}"`
              : " -r";
        return `complete -c nbit -n "${only}" -l ${name}${takes} -d ${quoted(flag.summary)}`;
      }),
    ];
  });
  return lines.join("\n");
}
