/** Short sentences in French and English, made by rules, as in the pairs that the tutorial keeps: "je suis …", "i am …". */
import { DataLoader, RandomSampler, scope, tensor, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export const [SOS_token, EOS_token] = [0, 1];
export const MAX_LENGTH = 8;

export class Lang {
  readonly word2index = new Map<string, number>();
  readonly index2word = ["SOS", "EOS"];
  constructor(readonly name: string) {}

  addSentence(sentence: string): void {
    for (const word of sentence.split(" ")) this.addWord(word);
  }
  addWord(word: string): void {
    if (!this.word2index.has(word)) this.word2index.set(word, this.index2word.push(word) - 1);
  }
  get nWords(): number {
    return this.index2word.length;
  }
}

/** Lower case without accents, words and full stops apart. */
export function normalizeString(s: string): string {
  const ascii = s
    .toLowerCase()
    .trim()
    .normalize("NFD")
    .replaceAll(/\p{Mn}/gu, "");
  return ascii
    .replaceAll(/([.!?])/g, " $1")
    .replaceAll(/[^a-z!?.]+/g, " ")
    .trim();
}

/** The pronoun and its verb in both languages, and the endings of adjectives behind it. */
const SUBJECTS = [
  ["I am", "je", "suis", ""],
  ["you are", "tu", "es", ""],
  ["he is", "il", "est", ""],
  ["she is", "elle", "est", "e"],
  ["we are", "nous", "sommes", "s"],
  ["they are", "elles", "sont", "es"],
] as const;
const DEGREES = [
  ["", ""],
  ["very", "très"],
  ["too", "trop"],
  ["not", "pas"],
  ["not very", "pas très"],
] as const;
const ADJECTIVES = [
  ["tired", "fatigué"],
  ["small", "petit"],
  ["tall", "grand"],
  ["happy", "content"],
  ["alone", "seul"],
  ["strong", "fort"],
  ["lost", "perdu"],
  ["busy", "occupé"],
  ["ready", "prêt"],
  ["hidden", "caché"],
] as const;

/** What the network reads and what it is to write. */
export type Pair = readonly [french: string, english: string];

export function readLangs(): { readonly inputLang: Lang; readonly outputLang: Lang; readonly pairs: readonly Pair[] } {
  const pairs = SUBJECTS.flatMap(([subject, pronoun, verb, ending]) =>
    DEGREES.flatMap(([degree, french]) =>
      ADJECTIVES.map(([adjective, masculine]): Pair => {
        const verbPhrase = french.startsWith("pas") ? `ne ${verb}` : verb;
        return [
          normalizeString(`${pronoun} ${verbPhrase} ${french} ${masculine}${ending}.`),
          normalizeString(`${subject} ${degree} ${adjective}.`),
        ];
      }),
    ),
  );
  const [inputLang, outputLang] = [new Lang("fra"), new Lang("eng")];
  for (const [french, english] of pairs) {
    inputLang.addSentence(french);
    outputLang.addSentence(english);
  }
  return { inputLang, outputLang, pairs };
}

/** The numbers of a sentence's words and of its end, filled up with zeros. */
export function indexesFromSentence(lang: Lang, sentence: string): number[] {
  const ids = sentence.split(" ").map((word) => {
    const index = lang.word2index.get(word);
    if (index === undefined) throw new Error(`${lang.name}: the word ${word} is not known`);
    return index;
  });
  return [...ids, EOS_token, ...Array<number>(MAX_LENGTH - ids.length - 1).fill(SOS_token)];
}

/** The words up to the first end. */
export function sentenceOf(lang: Lang, indexes: readonly number[]): string {
  const end = indexes.indexOf(EOS_token);
  return indexes
    .slice(0, end === -1 ? indexes.length : end)
    .map((index) => lang.index2word[index])
    .join(" ");
}

/** All pairs but every seventh in random order, and those that are left out. */
export function getDataloader(batchSize: number): {
  readonly inputLang: Lang;
  readonly outputLang: Lang;
  readonly trainDataloader: DataLoader<[Tensor, Tensor]>;
  readonly heldOut: [input: Tensor, target: Tensor];
} {
  const { inputLang, outputLang, pairs } = readLangs();
  const tensors = (some: readonly Pair[]): [Tensor, Tensor] =>
    scope(() => [
      tensor(some.map(([french]) => indexesFromSentence(inputLang, french))).long(),
      tensor(some.map(([, english]) => indexesFromSentence(outputLang, english))).long(),
    ]);
  const trainData = new TensorDataset(...tensors(pairs.filter((_, i) => i % 7 !== 0)));
  const trainSampler = new RandomSampler(trainData);
  const trainDataloader = new DataLoader(trainData, { sampler: trainSampler, batchSize });
  return { inputLang, outputLang, trainDataloader, heldOut: tensors(pairs.filter((_, i) => i % 7 === 0)) };
}
