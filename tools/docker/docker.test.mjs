import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../workspace.mjs";
import { contextFiles, ignoredBy } from "./context.mjs";
import { lintDockerfile } from "./lint.mjs";
import { assignments, parseDockerfile, stagesOf, substitute } from "./parse.mjs";

const GOOD = `
FROM node:22.1.0-slim AS build
RUN npm ci

FROM node:22.1.0-slim
WORKDIR /app
COPY --from=build /app /app
USER node
CMD ["node", "a.js"]
`;

test("instructions: continued lines, comments between them, flags, exec form", () => {
  const all = parseDockerfile(
    '# one\nrun --mount=type=cache,target=/c a \\\n  # two\n\n && b\nCMD ["x", "y"]\nCMD [ -d a ]',
  );
  assert.deepEqual(all, [
    { name: "RUN", line: 2, flags: ["--mount=type=cache,target=/c"], text: "a && b", list: null },
    { name: "CMD", line: 6, flags: [], text: '["x", "y"]', list: ["x", "y"] },
    { name: "CMD", line: 7, flags: [], text: "[ -d a ]", list: null },
  ]);
  assert.throws(() => parseDockerfile("FROM a\nFETCH b"), /^Error: Dockerfile:2: no instruction is named FETCH$/);
  assert.throws(
    () => parseDockerfile("FROM a\nRUN b \\"),
    /^Error: Dockerfile:2: the last line is continued by nothing$/,
  );
});

test("variables as in Docker, and values in quotes", () => {
  assert.equal(substitute("$A-${A}-${B:-b}-${A:+set}-${B:+set}.", { A: "1" }), "1-1-b-set-.");
  assert.deepEqual(assignments("A=1 B=\"two words\" C='x' D"), [
    ["A", "1"],
    ["B", "two words"],
    ["C", "x"],
    ["D", undefined],
  ]);
});

test("stages by name or number", () => {
  const { before, stages } = stagesOf(parseDockerfile(`ARG A=1${GOOD}FROM build`));
  assert.deepEqual(
    [before.length, stages.map(({ name, image }) => [name, image])],
    [
      1,
      [
        ["build", "node:22.1.0-slim"],
        ["1", "node:22.1.0-slim"],
        ["2", "build"],
      ],
    ],
  );
});

const codes = (source) => lintDockerfile(source).map(({ line, code }) => `${line} ${code}`);

test("a good one has no findings, nor has this repository's", () => {
  assert.deepEqual(codes(GOOD), []);
  assert.deepEqual(lintDockerfile(readFileSync(join(root, "Dockerfile"), "utf8")), []);
});

for (const [from, to, finding] of [
  ["node:22.1.0-slim AS", "node AS", "2 DL3006"],
  ["node:22.1.0-slim AS", "node:latest AS", "2 DL3007"],
  ["node:22.1.0-slim AS", "node:22-slim AS", "2 DL3006"],
  ["RUN npm ci", "ADD a b", "3 DL3020"],
  ["RUN npm ci", "RUN cd /a && npm ci", "3 DL3003"],
  ["RUN npm ci", "RUN a | b", "3 DL4006"],
  ["RUN npm ci", "RUN pip install x", "3 DL3042"],
  ["RUN npm ci", "ENV NPM_TOKEN=x", "3 SecretsUsedInArgOrEnv"],
  ["RUN npm ci", "RUN apt-get install -y --no-install-recommends a && sudo b", "3 DL3004"],
  ["RUN npm ci", "RUN apt-get update && apt-get install -y --no-install-recommends a", "3 DL3009"],
  ["RUN npm ci", "RUN apt-get install --no-install-recommends a", "3 DL3014"],
  ["RUN npm ci", "RUN apt-get install -y a", "3 DL3015"],
  ["RUN npm ci", "COPY . .\nRUN apt-get install -y --no-install-recommends a", "4 OrderOfCopy"],
  ["WORKDIR /app", "WORKDIR app", "6 DL3000"],
  ["--from=build", "--from=built", "7 DL3022"],
  ["USER node", "USER root", "8 DL3002"],
  ["USER node\n", "", "5 DL3002"],
  ['CMD ["node", "a.js"]', "CMD node a.js", "9 DL3025"],
])
  test(`finds ${finding} when ${from.trim()} becomes ${JSON.stringify(to)}`, () => {
    assert.deepEqual(codes(GOOD.replace(from, to)), [finding]);
  });

test(".dockerignore: at any depth, below a folder, exceptions", () => {
  const ignored = ignoredBy("# x\n.git\n**/dist\n!a/dist\n**/*.tmp\n/docs/\n");
  const names = [".git/x", ".gitignore", "dist/x", "b/c/dist/x", "a/dist/x", "x.tmp", "a/x.tmp", "docs/x", "a/docs/x"];
  assert.deepEqual(names.filter(ignored), [".git/x", "dist/x", "b/c/dist/x", "x.tmp", "a/x.tmp", "docs/x"]);
});

test("an image gets all that is compiled, and nothing that was", () => {
  const files = contextFiles(root);
  assert.ok(files.some((f) => f.startsWith("packages/native/src/dist/")));
  assert.deepEqual(
    files.filter((file) => /(^|\/)(node_modules|\.git)\//.test(file)),
    [],
  );
});
