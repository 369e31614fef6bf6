/** An index of pip's that breaks connections: it serves wheels of a folder, and ends the first answers in their middle. */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

/**
 * @param {string} folder
 * @param {{ breaks: number }} options How many answers end early.
 * @returns {Promise<{ index: string, ranges: string[], close: () => void }>} `ranges`: what was asked for, each time.
 */
export function brokenServer(folder, { breaks }) {
  const ranges = [];
  let left = breaks;
  const server = createServer((request, response) => {
    const name = decodeURIComponent(request.url.split("/").at(-1));
    if (!name.endsWith(".whl")) {
      const links = readdirSync(folder).map((wheel) => {
        const sha256 = createHash("sha256")
          .update(readFileSync(join(folder, wheel)))
          .digest("hex");
        return `<a href="/files/${encodeURIComponent(wheel)}#sha256=${sha256}">${wheel}</a>`;
      });
      return response
        .setHeader("content-type", "text/html")
        .end(`<!DOCTYPE html><html><body>${links.join("")}</body></html>`);
    }
    const bytes = readFileSync(join(folder, name));
    const range = /^bytes=(\d+)-/.exec(request.headers.range ?? "");
    ranges.push(request.headers.range ?? "all");
    const from = range === null ? 0 : Number(range[1]);
    response.writeHead(range === null ? 200 : 206, {
      "content-length": bytes.length - from,
      "accept-ranges": "bytes",
      etag: '"one"',
      ...(range === null ? {} : { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    });
    if (left-- <= 0) return response.end(bytes.subarray(from));
    response.write(bytes.subarray(from, from + Math.floor((bytes.length - from) / 2)), () => response.destroy());
  });
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const index = `http://127.0.0.1:${server.address().port}/simple`;
      resolve({ index, ranges, close: () => server.close() });
    }),
  );
}
