// libsodium with what we call of it: its package holds all of libsodium as WebAssembly in base64, and a function in
// JavaScript for each of its own. What nothing here calls is left out; what stays is as it was. Both packages must be
// as they were when this was written, or the build ends.
import { readdirSync, readFileSync } from "node:fs";
import { deflateRawSync } from "node:zlib";
import { pruned } from "./wasm.mjs";

const require = (found, what) => {
  if (found === null) throw new Error(`${what} is not as it was: scripts/sodium.mjs does not fit`);
  return found;
};

const REGISTERED = /var e=(\["crypto_[^\]]*\]),a=\[([^\]]*)\]/;
const CONSTANTS = /var n=(\["SODIUM_LIBRARY_VERSION_MAJOR"[^\]]*\])/;

/** libsodium-wrappers with the functions and constants that the sources, or what stays of itself, name. */
export function fewerWrappers(code) {
  const [registered, listed, made] = require(REGISTERED.exec(code), "libsodium-wrappers");
  const functions = made.split(",");
  const all = JSON.parse(listed).map((name, at) => ({ name, does: functions[at] }));
  const own = usedOf("t", code);
  const used = new Set([...usedBySources(), ...own]);
  const kept = all.filter(({ name }) => used.has(name));
  const names = JSON.stringify(kept.map(({ name }) => name));
  let short = code.replace(registered, () => `var e=${names},a=[${kept.map(({ does }) => does)}]`);
  for (const { name, does } of all) if (!used.has(name)) short = withoutFunction(short, does);
  const [constants, known] = require(CONSTANTS.exec(short), "libsodium-wrappers");
  const left = JSON.parse(known).filter((name) => used.has(name));
  return short.replace(constants, () => `var n=${JSON.stringify(left)}`);
}

/** Every name of libsodium's that is said in the sources. */
function usedBySources() {
  const source = new URL("../src/", import.meta.url);
  const files = readdirSync(source, { recursive: true }).filter((name) => name.endsWith(".ts"));
  const text = files.map((name) => readFileSync(new URL(name, source), "utf8")).join("\n");
  return [...text.matchAll(/\b((?:crypto|randombytes|sodium)_\w+)/g)].map(([, name]) => name);
}

const usedOf = (object, code) =>
  [...code.matchAll(new RegExp(`\\b${object}\\.([\\w$]+)`, "g"))].map(([, name]) => name);

/** The code without the declaration of a function; its strings hold no lone brace. */
function withoutFunction(code, name) {
  const start = code.indexOf(`function ${name}(`);
  if (start < 0) throw new Error("libsodium-wrappers is not as it was: scripts/sodium.mjs does not fit");
  let depth = 0;
  for (let at = code.indexOf("{", start); ; at++) {
    depth += code[at] === "{" ? 1 : code[at] === "}" ? -1 : 0;
    if (depth === 0) return code.slice(0, start) + code.slice(at + 1);
  }
}

const DECODED = /\(A=>\{for\(var [^}]{1,400}\}\)\("([A-Za-z0-9+/=]{100000,})"\)/;
const BOUND = /g\.(_\w+)=A\.([\w$]+),/g;
// Base64 of what is not packed packs badly on its way: it is packed before, and unpacked here.
const UNPACK = `
const unpacked = async (packed) => {
  const bytes = new Blob([Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0))]).stream();
  const whole = new Response(bytes.pipeThrough(new DecompressionStream("deflate-raw")));
  return new Uint8Array(await whole.arrayBuffer());
};
`;

/** libsodium with the functions that what stays of the wrappers calls. */
export function fewerFunctions(code, wrappers) {
  const [whole, base64] = require(DECODED.exec(code), "libsodium.mjs");
  const used = new Set([
    ...usedOf("r", wrappers),
    // The wrappers look for constants by their names in small letters.
    ...JSON.parse(require(CONSTANTS_LEFT.exec(wrappers), "libsodium-wrappers")[1]).map((name) =>
      `_${name}`.toLowerCase(),
    ),
  ]);
  const rest = code.replace(whole, "").replace(BOUND, (bound, name) => (used.has(name) ? bound : ""));
  const letters = new Set(
    [...usedOf("A", rest), ...usedOf("O", rest)].filter((name) => !name.startsWith("dynCall")),
  );
  const wasm = pruned(Buffer.from(base64, "base64"), (name) => letters.has(name));
  const packed = deflateRawSync(wasm, { level: 9 }).toString("base64");
  const short = code.replace(BOUND, (bound, name) => (used.has(name) ? bound : ""));
  return `${UNPACK}${short.replace(whole, () => `await unpacked("${packed}")`)}`;
}

const CONSTANTS_LEFT = /var n=(\[[^\]]*\])/;
