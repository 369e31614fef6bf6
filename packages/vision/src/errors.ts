/** Errors of reading and writing images and data sets. */
import { NbitError } from "@nbit/torch";

/**
 * `VISION_NO_PACKAGE` (an optional package is not installed), `VISION_IMAGE` (a file that is no image, or a damaged
 * one), `VISION_NOT_FOUND` (files of a data set are missing), `VISION_DATA` (they are not what they should be).
 */
export class VisionError extends NbitError {}

/** The module of an optional package. @throws {VisionError} `VISION_NO_PACKAGE` with what to install. */
export async function optional<M>(name: string, load: () => Promise<M>, what: string): Promise<M> {
  try {
    return await load();
  } catch (error) {
    const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
    const missing = code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
    throw new VisionError(
      missing
        ? `${what} needs the package ${name}, which is not installed. npm install ${name}`
        : `${what} needs the package ${name}, which does not load: ${String(error)}`,
      "VISION_NO_PACKAGE",
      { cause: error },
    );
  }
}
