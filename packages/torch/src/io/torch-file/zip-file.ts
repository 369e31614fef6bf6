/** The format that `torch.save` writes today: an archive of one pickle, and a file for each storage. */
import { Buffer } from "node:buffer";
import { fromFile } from "../../ops/index.js";
import { quoted } from "../../plain-text.js";
import { ZipArchive, type ZipEntry } from "../zip/read.js";
import type { PyValue } from "../pickle/values.js";
import type { Source } from "../source.js";
import { storageValue, type FileContext } from "./context.js";
import type { FileFault } from "./errors.js";
import type { StorageBytes } from "./storage.js";
import type { Tensor } from "../../tensor/index.js";

/** Bytes of all storages that may be unpacked, of archives that somebody packed again. */
const MOST_UNPACKED = 2 ** 32;

/** Largest file beside a pickle that is read. */
const MOST_BESIDE = 2 ** 24;

/** A small file that stands beside the pickle; null: there is none of that name, or it is large. */
export function readBesideThePickle(source: Source, fault: FileFault, file: string): Uint8Array | null {
  const archive = archiveOf(source, fault);
  const found = [...archive.entries.values()].find(({ name }) => name.replace(/^[^/]+\//, "") === file);
  return found === undefined || found.size > MOST_BESIDE ? null : archive.bytes(found, false);
}

function archiveOf(source: Source, fault: FileFault): ZipArchive {
  return new ZipArchive(source, (what, message) =>
    fault(
      what === "truncated" ? "TORCH_FILE_TRUNCATED" : what === "limit" ? "TORCH_FILE_LIMIT" : "TORCH_FILE_ARCHIVE",
      message,
    ),
  );
}

export function readZipFile(context: FileContext): PyValue {
  const { source, fault } = context;
  const archive = archiveOf(source, fault);
  const { entries } = archive;
  const pickled = [...entries.values()].find(({ name }) => /^([^/]+\/)?data\.pkl$/.test(name));
  if (pickled === undefined)
    throw fault(
      "TORCH_FILE_FORMAT",
      `expected a file of torch.save. Received: an archive without data.pkl, with ${quoted([...entries.keys()].slice(0, 3).join(", "))}.`,
    );
  const folder = pickled.name.slice(0, -"data.pkl".length);
  if (entries.has(`${folder}constants.pkl`))
    throw fault(
      "TORCH_FILE_SCRIPT",
      'expected a file of torch.save. Received: a program of torch.jit.save, which is not run here. In Python: torch.save(torch.jit.load(path).state_dict(), "state.pt").',
    );
  context.checkPickle(pickled.size);
  const order = entries.get(`${folder}byteorder`);
  const bigEndian = order !== undefined && order.size < 16 && textOf(archive, order) === "big";
  const most = Math.max(source.size, ...(hasPacked(entries) ? [MOST_UNPACKED] : []));
  const map = mapOf(context);
  return context.pickle(archive.bytes(pickled, false), 0, (id) => {
    const storage = context.storageId(id);
    const entry = entries.get(`${folder}data/${storage.key}`);
    const root = context.root(
      storage,
      (nbytes) => {
        if (entry === undefined || entry.size !== nbytes)
          throw fault(
            "TORCH_FILE_ARCHIVE",
            `expected ${nbytes} bytes in ${quoted(`data/${storage.key}`)}. Received: ${entry === undefined ? "no such file" : entry.size}.`,
          );
        return bytesOf(archive, entry, map);
      },
      most,
      bigEndian,
    );
    return storageValue(root, storage.dtype);
  }).value;
}

function textOf(archive: ZipArchive, entry: ZipEntry): string {
  return Buffer.from(archive.bytes(entry, false)).toString("latin1");
}
function hasPacked(entries: ReadonlyMap<string, ZipEntry>): boolean {
  for (const { deflated } of entries.values()) if (deflated) return true;
  return false;
}

/** Checksums are not compared: PyTorch does not, and may have been told not to write them. */
function bytesOf(archive: ZipArchive, entry: ZipEntry, map: () => Tensor | null): StorageBytes {
  return {
    length: entry.size,
    each: (take) => archive.each(entry, false, take),
    mapped: () => {
      const all = entry.deflated ? null : map();
      const start = archive.dataStart(entry);
      // Elements lie at multiples of their size.
      return all === null || start % 16 !== 0 ? null : all.narrow(0, start, entry.size);
    },
  };
}

/** The whole file in memory that the operating system fills when it is touched; nothing is written back. */
function mapOf({ source, mapped }: FileContext): () => Tensor | null {
  let all: Tensor | null = null;
  return () => {
    if (!mapped || source.path === null) return null;
    return (all ??= fromFile(source.path, { shared: false, size: source.size, dtype: "uint8" }));
  };
}
