/**
 * A read-only npm registry that has this checkout's packages as if they were published, and sends whoever asks for
 * another one to the registry that npm is configured for.
 */
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @param {readonly { name: string, version: string, filename: string, shasum: string, integrity: string }[]} packed What
 * `npm pack --json` said.
 * @param {string} folder Where the tarballs lie.
 * @param {ReadonlyMap<string, object>} manifests The `package.json` of each, by name.
 * @param {string} upstream
 * @returns {Promise<{ url: string, close(): void }>}
 */
export async function serve(packed, folder, manifests, upstream) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname).slice(1);
    const tarball = packed.find(({ filename }) => path === `tarballs/${filename}`);
    const named = packed.find(({ name }) => name === path);
    if (request.method !== "GET" && request.method !== "HEAD") response.writeHead(405).end();
    else if (tarball !== undefined) response.writeHead(200).end(readFileSync(join(folder, tarball.filename)));
    else if (named !== undefined) json(response, document(named, manifests.get(named.name), url));
    else response.writeHead(302, { location: new URL(request.url.slice(1), upstream).href }).end();
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${server.address().port}/`;
  return { url, close: () => server.close().closeAllConnections() };
}

function json(response, value) {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function document({ name, version, filename, shasum, integrity }, manifest, url) {
  const dist = { tarball: `${url}tarballs/${filename}`, shasum, integrity };
  return {
    name,
    "dist-tags": { latest: version },
    time: { [version]: "2026-01-01T00:00:00.000Z" }, // long ago: managers refuse what is too new
    versions: { [version]: { ...manifest, dist } },
  };
}
