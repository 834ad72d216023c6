// Takes functions that nothing calls out of a WebAssembly module: their bodies become one `unreachable`. What stays is
// byte for byte what it was, and so are the types, the table and the memory (WebAssembly core specification 1.1, 5).

const SECTION = { import: 2, export: 7, element: 9, code: 10 };
const FUNCTION = 0;
/** No locals, `unreachable`, `end`. */
const TRAP = Uint8Array.of(0, 0, 0x0b);

/** The module with nothing but the exports that `wanted` says, and what these, and the table, can reach. */
export function pruned(module, wanted) {
  const sections = sectionsOf(module);
  const body = (id) => sections.find((one) => one.id === id)?.body;
  const imported = importedFunctions(new Reader(body(SECTION.import)));
  const kept = exportsOf(new Reader(body(SECTION.export))).filter(({ name }) => wanted(name));
  const bodies = bodiesOf(new Reader(body(SECTION.code)));
  const roots = [
    ...kept.filter(({ kind }) => kind === FUNCTION).map(({ index }) => index),
    ...elementsOf(new Reader(body(SECTION.element))),
  ];
  const reached = new Set();
  while (roots.length > 0) {
    const index = roots.pop();
    if (index < imported || reached.has(index)) continue;
    reached.add(index);
    roots.push(...callsOf(new Reader(bodies[index - imported])));
  }
  const short = bodies.map((one, at) => (reached.has(at + imported) ? one : TRAP));
  const replaced = {
    [SECTION.export]: vector(kept.map(({ bytes }) => bytes)),
    [SECTION.code]: vector(short.map((one) => [...leb(one.length), ...one])),
  };
  return Uint8Array.from([
    ...module.subarray(0, 8),
    ...sections.flatMap(({ id, body: old }) => {
      const now = replaced[id] ?? old;
      return [id, ...leb(now.length), ...now];
    }),
  ]);
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  get over() {
    return this.at >= this.bytes.length;
  }
  byte() {
    if (this.over) throw new Error("the WebAssembly ends too early");
    return this.bytes[this.at++];
  }
  /** An unsigned number, or a signed one whose value nobody needs. */
  number() {
    let [value, scale, byte] = [0, 1, 0];
    do {
      byte = this.byte();
      value += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte & 0x80);
    return value;
  }
  take(length) {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  skip(numbers) {
    for (let left = numbers; left > 0; left--) this.number();
  }
  list(read) {
    return Array.from({ length: this.number() }, () => read(this));
  }
}

function sectionsOf(module) {
  const reader = new Reader(module);
  reader.take(8);
  const found = [];
  while (!reader.over) found.push({ id: reader.byte(), body: reader.take(reader.number()) });
  return found;
}

const importedFunctions = (reader) =>
  reader.list((one) => {
    one.take(one.number());
    one.take(one.number());
    if (one.byte() !== FUNCTION) throw new Error("scripts/wasm.mjs knows imports of functions alone");
    one.number();
  }).length;

const exportsOf = (reader) =>
  reader.list((one) => {
    const start = one.at;
    const name = new TextDecoder().decode(one.take(one.number()));
    const [kind, index] = [one.byte(), one.number()];
    return { name, kind, index, bytes: one.bytes.subarray(start, one.at) };
  });

/** Functions in the table; only `i32.const offset, end, functions` is known. */
const elementsOf = (reader) =>
  reader
    .list((one) => {
      if (one.number() !== 0 || one.byte() !== 0x41)
        throw new Error("scripts/wasm.mjs does not know this table");
      one.number();
      one.byte();
      return one.list((each) => each.number());
    })
    .flat();

const bodiesOf = (reader) => reader.list((one) => one.take(one.number()));

/** Numbers that follow an instruction; those that are not named have none, up to 0xc4. */
const NUMBERS = { 2: 1, 3: 1, 4: 1, 12: 1, 13: 1, 17: 2, 63: 1, 64: 1, 65: 1, 66: 1 };
for (let code = 0x20; code <= 0x26; code++) NUMBERS[code] = 1;
for (let code = 0x28; code <= 0x3e; code++) NUMBERS[code] = 2;
/** The same after 0xfc: conversions that do not trap, memory.init, data.drop, memory.copy, memory.fill. */
const MORE_NUMBERS = [0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1];

function callsOf(reader) {
  const calls = [];
  reader.list((one) => one.skip(2)); // locals
  while (!reader.over) {
    const code = reader.byte();
    if (code === 0x10) calls.push(reader.number());
    else if (code === 0x0e) reader.skip(reader.number() + 1);
    else if (code === 0x43) reader.take(4);
    else if (code === 0x44) reader.take(8);
    else if (code === 0xfc) reader.skip(MORE_NUMBERS[reader.number()] ?? unknown(code));
    else if (code > 0xc4) unknown(code);
    else reader.skip(NUMBERS[code] ?? 0);
  }
  return calls;
}

function unknown(code) {
  throw new Error(`scripts/wasm.mjs does not know the instruction 0x${code.toString(16)}`);
}

function leb(value) {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}

const vector = (items) => [...leb(items.length), ...items.flatMap((one) => [...one])];
