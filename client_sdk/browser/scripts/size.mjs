// The whole bundle is one file and at most 350 KB gzip.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const MOST_KB = 350;
const folder = new URL("../dist/", import.meta.url);
const scripts = readdirSync(folder).filter((name) => name.endsWith(".js"));
const bytes = scripts.reduce(
  (sum, name) => sum + gzipSync(readFileSync(new URL(name, folder)), { level: 9 }).length,
  0,
);
process.stdout.write(`${scripts.join(", ")}: ${(bytes / 1000).toFixed(1)} KB gzip, at most ${MOST_KB}\n`);
if (scripts.length !== 1 || bytes > MOST_KB * 1000) process.exitCode = 1;
