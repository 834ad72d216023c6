// What keeps the bundle small without changing what it does.
import { readdirSync, readFileSync } from "node:fs";
import { deflateRawSync } from "node:zlib";

// ts-mls brings these for suites that are none of ours (src/mls/suites.ts), and asks for them in places that never run
// here; signatures are libsodium's.
const UNUSED = {
  "@noble/curves/ed25519.js": ["ed25519"],
  "@noble/curves/ed448.js": ["ed448"],
  "@noble/curves/nist.js": ["p256", "p384", "p521"],
  "@noble/post-quantum/ml-dsa.js": ["ml_dsa87"],
  "@noble/ciphers/aes.js": ["gcm"],
};
const MARK = "\0unused:";

const withoutUnused = {
  name: "without-unused",
  enforce: "pre",
  resolveId: (id, importer) => (id in UNUSED && importer?.includes("/ts-mls/") ? `${MARK}${id}` : undefined),
  load(id) {
    const names = id.startsWith(MARK) ? UNUSED[id.slice(MARK.length)] : undefined;
    return names?.map((name) => `export const ${name} = undefined;`).join("\n");
  },
};

// libsodium holds its WebAssembly as base64, which packs badly on its way: it is packed before, and unpacked here.
const DECODED = /\(A=>\{for\(var [^}]{1,400}\}\)\("([A-Za-z0-9+/=]{100000,})"\)/;
const UNPACK = `
const unpacked = async (packed) => {
  const bytes = new Blob([Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0))]).stream();
  const whole = new Response(bytes.pipeThrough(new DecompressionStream("deflate-raw")));
  return new Uint8Array(await whole.arrayBuffer());
};
`;

const packedWasm = {
  name: "packed-wasm",
  transform(code, id) {
    if (!id.endsWith("/libsodium/dist/modules-esm/libsodium.mjs")) return undefined;
    const found = DECODED.exec(code);
    if (found === null) throw new Error("libsodium.mjs is not as it was: scripts/smaller.mjs does not fit");
    const packed = deflateRawSync(Buffer.from(found[1], "base64"), { level: 9 }).toString("base64");
    return { code: `${UNPACK}${code.replace(found[0], () => `await unpacked("${packed}")`)}`, map: null };
  },
};

// libsodium-wrappers registers a function for each of libsodium's; those that nothing here calls are left out.
const REGISTERED = /var e=(\["crypto_[^\]]*\]),a=\[([^\]]*)\]/;

const fewerWrappers = {
  name: "fewer-wrappers",
  transform(code, id) {
    if (!id.endsWith("/libsodium-wrappers/dist/modules-esm/libsodium-wrappers.mjs")) return undefined;
    const found = REGISTERED.exec(code);
    if (found === null)
      throw new Error("libsodium-wrappers is not as it was: scripts/smaller.mjs does not fit");
    const functions = found[2].split(",");
    const called = JSON.parse(found[1]).map((name, at) => ({ name, does: functions[at] }));
    const used = usedOfSodium(code);
    const kept = called.filter(({ name }) => used.has(name));
    const names = JSON.stringify(kept.map(({ name }) => name));
    const short = code.replace(found[0], () => `var e=${names},a=[${kept.map(({ does }) => does)}]`);
    return { code: short, map: null };
  },
};

/** Every function of libsodium that the sources name, and those that the wrappers call themselves. */
function usedOfSodium(wrappers) {
  const source = new URL("../src/", import.meta.url);
  const files = readdirSync(source, { recursive: true }).filter((name) => name.endsWith(".ts"));
  const text = files.map((name) => readFileSync(new URL(name, source), "utf8")).join("\n");
  const named = text.matchAll(/\b((?:crypto|randombytes|sodium)_\w+)/g);
  const inside = wrappers.matchAll(/\bt\.(\w+)\(/g);
  return new Set([...named, ...inside].map(([, name]) => name));
}

// tus-js-client resolves addresses with a package of its own, for browsers that cannot.
const ownUrls = {
  name: "own-urls",
  enforce: "pre",
  resolveId: (id, importer) =>
    id === "url-parse" && importer?.includes("/tus-js-client/") ? `${MARK}url-parse` : undefined,
  load: (id) => (id === `${MARK}url-parse` ? "export default globalThis.URL;" : undefined),
};

// Styles as they are written are for people: indentation goes.
const shortStyles = {
  name: "short-styles",
  enforce: "pre",
  transform(code, id) {
    if (!id.includes("/src/element/") || !code.includes("css`")) return undefined;
    const short = code.replace(/css`[^`]*`/g, (styles) =>
      styles
        .replace(/\/\*[\s\S]*?\*\//g, "")
        .replace(/\s+/g, " ")
        .replace(/ ?([{};,]) ?/g, "$1"),
    );
    return { code: short, map: null };
  },
};

/** Vite's plugins, for a page and for its Worker. */
export const smaller = () => [withoutUnused, ownUrls, packedWasm, fewerWrappers, shortStyles];
