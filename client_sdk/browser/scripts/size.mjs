// What a page loads, packed: the loader at most 5 KB, the frame's one script at most 350 KB, and the SDK alone too.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const MOST_KB = { "coach-relay-loader.js": 5, "frame.js": 350, "coach-relay.js": 350 };
const folder = new URL("../dist/release/", import.meta.url);
for (const [name, most] of Object.entries(MOST_KB)) {
  const bytes = gzipSync(readFileSync(new URL(name, folder)), { level: 9 }).length;
  process.stdout.write(`${name}: ${(bytes / 1000).toFixed(1)} KB gzip, at most ${most}\n`);
  if (bytes > most * 1000) process.exitCode = 1;
}
