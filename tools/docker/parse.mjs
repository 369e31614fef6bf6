/** Dockerfiles as lists of instructions: as much of the format as this repository's use, and no more. */

const KNOWN = new Set(["ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "CMD", "ENTRYPOINT", "EXPOSE", "LABEL"]);
const REFUSED = new Set(["ADD", "HEALTHCHECK", "MAINTAINER", "ONBUILD", "SHELL", "STOPSIGNAL", "VOLUME"]);

/**
 * @typedef {object} Instruction
 * @property {string} name In capitals.
 * @property {number} line The first, from 1.
 * @property {readonly string[]} flags Such as `--from=build`.
 * @property {string} text What follows them, continued lines joined.
 * @property {readonly string[] | null} list The words of the exec form (`["node", "a.js"]`), or null.
 */

/**
 * @param {string} source
 * @returns {Instruction[]}
 * @throws {Error} With the line, where it is not an instruction.
 */
export function parseDockerfile(source) {
  const found = [];
  const lines = source.split("\n");
  for (let i = 0; i < lines.length; i++) {
    if (isComment(lines[i])) continue;
    const first = i;
    let text = lines[i];
    while (text.endsWith("\\")) {
      do i++;
      while (i < lines.length && isComment(lines[i])); // comments and empty lines may stand between continued ones
      if (i >= lines.length) throw new Error(`Dockerfile:${first + 1}: the last line is continued by nothing`);
      text = `${text.slice(0, -1).trimEnd()} ${lines[i].trim()}`;
    }
    found.push(instruction(text.trim(), first + 1));
  }
  return found;
}

const isComment = (line) => /^\s*(#|$)/.test(line);

function instruction(text, line) {
  const [, word, rest] = /^(\S+)\s*(.*)$/s.exec(text);
  const name = word.toUpperCase();
  if (!KNOWN.has(name) && !REFUSED.has(name)) throw new Error(`Dockerfile:${line}: no instruction is named ${word}`);
  const flags = [];
  let remaining = rest;
  for (let flag = /^--\S+\s+/.exec(remaining); flag !== null; flag = /^--\S+\s+/.exec(remaining)) {
    flags.push(flag[0].trim());
    remaining = remaining.slice(flag[0].length);
  }
  return { name, line, flags, text: remaining, list: listOf(remaining) };
}

function listOf(text) {
  if (!text.startsWith("[")) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null; // what looks like one and is none is the shell's, as in Docker
  }
}

/** `NAME=value NAME="two words"` as pairs; an ARG without a value has undefined. */
export function assignments(text) {
  return [...text.matchAll(/([A-Za-z_]\w*)(?:=("[^"]*"|'[^']*'|\S*))?/g)].map(([, name, value]) => [
    name,
    value?.replace(/^(["'])(.*)\1$/s, "$2"),
  ]);
}

/** Replaces `$NAME` and `${NAME}`, `${NAME:-else}` and `${NAME:+then}`, as Docker does outside of RUN, CMD and ENTRYPOINT. */
export function substitute(text, variables) {
  return text.replace(/\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})/g, (_, bare, braced, operator, word) => {
    const value = variables[bare ?? braced] ?? "";
    if (operator === "-") return value === "" ? word : value;
    if (operator === "+") return value === "" ? "" : word;
    return value;
  });
}

/** The stages, each with the instructions below its FROM; ARGs before the first one are given apart. */
export function stagesOf(instructions) {
  const first = instructions.findIndex(({ name }) => name === "FROM");
  const stages = [];
  for (const each of instructions.slice(first)) {
    if (each.name === "FROM") {
      const [, image, stage] = /^(\S+)(?:\s+AS\s+(\S+))?$/i.exec(each.text) ?? [];
      if (image === undefined) throw new Error(`Dockerfile:${each.line}: expected FROM image [AS name]`);
      stages.push({ image, name: stage ?? String(stages.length), from: each, instructions: [] });
    } else stages.at(-1).instructions.push(each);
  }
  return { before: instructions.slice(0, first), stages };
}
