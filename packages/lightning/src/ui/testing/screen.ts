import { stripAnsi, visibleWidth } from "../ansi.js";
import type { OutputStream } from "../ansi.js";

/** A terminal that keeps what it shows: enough of one for \r, \x1b[K and newlines. */
export class Screen implements OutputStream {
  readonly isTTY = true;
  lines = [""];
  writes = 0;
  constructor(public columns = 80) {}
  write(text: string): boolean {
    this.writes++;
    const plain = stripAnsi(text.replaceAll("\x1b[K", "\x00"));
    let column = visibleWidth(this.lines.at(-1) ?? "");
    for (const c of plain) {
      const last = this.lines.length - 1;
      if (c === "\n") {
        this.lines.push("");
        column = 0;
      } else if (c === "\r") column = 0;
      else if (c === "\x00") this.lines[last] = [...(this.lines[last] ?? "")].slice(0, column).join("");
      else {
        const points = [...(this.lines[last] ?? "")];
        points[column++] = c;
        this.lines[last] = points.join("");
      }
    }
    return true;
  }
}

/** A file or a pipe. */
export class Log implements OutputStream {
  text = "";
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}
