/** Platforms that are not supported yet, each with what it waits for; docs/platforms.md tells more. */

const CONTAINER = 'docker run -it -v "$PWD":/nbit -w /nbit node:22-bookworm bash   # a Linux with glibc';
const WSL = "wsl --install   # Linux inside Windows; then run the same command there";

const WAITING = {
  "darwin-arm64": [
    "PyTorch has builds for it, but the addon was never built or run on macOS: it waits for a machine to do that on",
    CONTAINER,
  ],
  "darwin-x64": ["PyTorch publishes no builds for Macs with Intel processors any more", CONTAINER],
  "win32-x64": [
    "PyTorch has builds for it, but the addon's memory and networking are written for POSIX, and nothing was built with MSVC",
    WSL,
  ],
  "win32-arm64": ["the addon is written for POSIX, and nothing was built with MSVC", WSL],
  musl: [
    "PyTorch publishes builds for glibc alone, which do not load under musl (Alpine)",
    "docker run -it node:22-bookworm-slim bash   # an image with glibc in the place of an Alpine one",
  ],
};

/**
 * Why a platform cannot be used; null where it can.
 *
 * @param {string} platform As Node.js names it, "linux-x64".
 * @param {boolean} glibc
 * @returns {{ problem: string, fix: string } | null}
 */
export function whyNotSupported(platform, glibc) {
  const supported = ["linux-x64", "linux-arm64"].includes(platform);
  if (supported && glibc) return null;
  const [reason, fix] = WAITING[supported ? "musl" : platform] ?? ["PyTorch publishes no builds for it", CONTAINER];
  const name = supported ? `${platform} without glibc` : platform;
  return { problem: `${name} is not supported yet: ${reason}. Linux with glibc on x64 or arm64 is.`, fix };
}
