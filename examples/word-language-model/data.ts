/** Words of a text as numbers, and batches of them. */
import { scope, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { book } from "../shared/text.js";

class Dictionary {
  readonly word2idx = new Map<string, number>();
  readonly idx2word: string[] = [];

  addWord(word: string): number {
    let idx = this.word2idx.get(word);
    if (idx === undefined) {
      idx = this.idx2word.push(word) - 1;
      this.word2idx.set(word, idx);
    }
    return idx;
  }
  get length(): number {
    return this.idx2word.length;
  }
}

/** The first chapters of Moby Dick, and some pages behind them that are never trained on. */
export class Corpus {
  readonly dictionary = new Dictionary();
  readonly train: Tensor;
  readonly valid: Tensor;
  constructor() {
    const text = book();
    this.train = this.tokenize(text.slice(0, 60_000));
    this.valid = this.tokenize(text.slice(60_000, 66_000));
  }
  private tokenize(text: string): Tensor {
    const words = text.split("\n").flatMap((line) => [...line.split(" ").filter((word) => word !== ""), "<eos>"]);
    return tensor(words.map((word) => this.dictionary.addWord(word))).long();
  }
}

/** The text in columns side by side, `[length, bsz]`: what does not fill the last row is left out. */
export function batchify(data: Tensor, bsz: number): Tensor {
  return scope(() => {
    const nbatch = Math.floor(data.size(0) / bsz);
    return data
      .narrow(0, 0, nbatch * bsz)
      .view(bsz, -1)
      .t()
      .contiguous();
  });
}

/** `bptt` rows, and for every word of them the one that follows it. */
export function getBatch(source: Tensor, i: number, bptt: number): [data: Tensor, target: Tensor] {
  const seqLen = Math.min(bptt, source.size(0) - 1 - i);
  return [source.narrow(0, i, seqLen), source.narrow(0, i + 1, seqLen).reshape(-1)];
}
