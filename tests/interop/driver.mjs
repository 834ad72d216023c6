// Drives ts-mls for the tests: one JSON request a line on stdin, one JSON answer a line on stdout. Bytes are hex.
import { createInterface } from "node:readline";
import * as mls from "ts-mls";
import { createGroupInfo } from "ts-mls/createCommit.js";
import { encodeRatchetTree } from "ts-mls/ratchetTree.js";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const raw = (text) => new Uint8Array(Buffer.from(text, "hex"));
const base64 = (text) => mls.bytesToBase64(raw(text));

// X-Wing by the number of the private-use range: ts-mls writes a suite it has no name for as its number.
const XWING_NAME = String(0xf00e);
const XWING = { ...mls.getCiphersuiteFromName("MLS_256_XWING_CHACHA20POLY1305_SHA512_Ed25519"), name: XWING_NAME };
const NAMES = {
  1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
  [0xf00e]: XWING_NAME,
};
// The external_pub extension is `HPKEPublicKey external_pub`, a vector with its length in front (RFC 9420 section
// 12.4.3.2). ts-mls writes and reads the bare key there, so the header is put on and taken off here.
const header = (length) => (length < 64 ? [length] : [0x40 | (length >> 8), length & 0xff]);
const withHeader = (key) => new Uint8Array([...header(key.length), ...key]);
const withoutHeader = (key) => {
  for (const size of [1, 2]) {
    const rest = key.length - size;
    const wanted = rest > 0 ? header(rest) : [];
    if (wanted.length === size && wanted.every((byte, place) => byte === key[place])) return key.slice(size);
  }
  return key;
};

const suites = {};
const suite = async (id) => {
  if (suites[id]) return suites[id];
  const named = id === 0xf00e ? XWING : mls.getCiphersuiteFromName(NAMES[id]);
  const cs = await mls.getCiphersuiteImpl(named, mls.nobleCryptoProvider);
  const lengths = [32, 1216];
  const importPublicKey = (key) => cs.hpke.importPublicKey(lengths.includes(key.length) ? key : withoutHeader(key));
  return (suites[id] = { ...cs, hpke: { ...cs.hpke, importPublicKey } });
};

const capabilities = {
  versions: ["mls10"],
  ciphersuites: Object.values(NAMES),
  extensions: [],
  proposals: [],
  credentials: ["basic"],
};

const clients = new Map(); // name -> { suite, state, bundle, keys, psks, config }

// Our own judgement on who is who, for the default accepts anyone: only names the test has announced.
const known = new Set();
const authService = {
  validateCredential: async (credential) => credential.credentialType === "basic" && known.has(hex(credential.identity)),
};

const config = (padding) => ({
  keyRetentionConfig: { retainKeysForGenerations: 5, retainKeysForEpochs: 0, maximumForwardRatchetSteps: 1000 },
  lifetimeConfig: { maximumTotalLifetime: 31622400n, validateLifetimeOnReceive: false },
  keyPackageEqualityConfig: mls.defaultKeyPackageEqualityConfig,
  paddingConfig: { kind: "padUntilLength", padUntilLength: padding },
  authService,
});

const message = (body) => hex(mls.encodeMlsMessage({ version: "mls10", ...body }));
const open = (text) => {
  const found = mls.decodeMlsMessage(raw(text), 0);
  if (!found || found[1] !== text.length / 2) throw new Error("not an MLSMessage");
  return found[0];
};
const psks = (client) => mls.makePskIndex(client.state, client.psks);

const view = async (client) => {
  const { state, suite: cs } = client;
  const secret = state.keySchedule.exporterSecret;
  return {
    epoch: Number(state.groupContext.epoch),
    authenticator: hex(state.keySchedule.epochAuthenticator),
    exporter: hex(await mls.mlsExporter(secret, "interop", raw("0102"), 40, cs)),
    resumption: hex(state.keySchedule.resumptionPsk),
    leaf: state.privatePath.leafIndex,
    suspended: state.groupActiveState.kind,
  };
};

const proposalOf = {
  add: ({ package: text }) => ({ proposalType: "add", add: { keyPackage: open(text).keyPackage } }),
  remove: ({ leaf }) => ({ proposalType: "remove", remove: { removed: leaf } }),
  psk: ({ id, nonce }) => ({
    proposalType: "psk",
    psk: { preSharedKeyId: { psktype: "external", pskId: raw(id), pskNonce: raw(nonce) } },
  }),
  resumption: ({ group, epoch, nonce, usage }) => ({
    proposalType: "psk",
    psk: {
      preSharedKeyId: {
        psktype: "resumption",
        usage: usage ?? "application",
        pskGroupId: raw(group),
        pskEpoch: BigInt(epoch),
        pskNonce: raw(nonce),
      },
    },
  }),
  extensions: ({ list }) => ({
    proposalType: "group_context_extensions",
    groupContextExtensions: { extensions: list.map(([type, data]) => ({ extensionType: type, extensionData: raw(data) })) },
  }),
  reinit: ({ group, suite: id }) => ({
    proposalType: "reinit",
    reinit: { groupId: raw(group), version: "mls10", cipherSuite: NAMES[id], extensions: [] },
  }),
};
const proposals = (list) => list.map((item) => proposalOf[item.kind](item));

const groupInfo = async ({ state, suite: cs }) => {
  const pair = await cs.hpke.deriveKeyPair(state.keySchedule.externalSecret);
  const key = await cs.hpke.exportPublicKey(pair.publicKey);
  const extensions = [
    { extensionType: "external_pub", extensionData: withHeader(key) },
    { extensionType: "ratchet_tree", extensionData: encodeRatchetTree(state.ratchetTree) },
  ];
  const info = await createGroupInfo(state.groupContext, state.confirmationTag, state, extensions, cs);
  return message({ wireformat: "mls_group_info", groupInfo: info });
};

const timed = async (action, repeats) => {
  const taken = [];
  for (let round = 0; round < repeats; round++) {
    const start = performance.now();
    await action();
    taken.push((performance.now() - start) * 1000);
  }
  return taken.sort((a, b) => a - b)[taken.length >> 1];
};

const commands = {
  async client({ name, suite: id, padding = 256, lifetime }) {
    const identity = new TextEncoder().encode(name);
    known.add(hex(identity));
    const cs = await suite(id);
    const client = clients.get(name) ?? { psks: {}, keys: await cs.signature.keygen() };
    const bundle = await mls.generateKeyPackageWithKey(
      { credentialType: "basic", identity },
      capabilities,
      { notBefore: BigInt(lifetime[0]), notAfter: BigInt(lifetime[1]) },
      [],
      client.keys,
      cs,
    );
    clients.set(name, { ...client, suite: cs, bundle, config: config(padding) });
    return { package: message({ wireformat: "mls_key_package", keyPackage: bundle.publicPackage }) };
  },
  async announce({ identity }) {
    known.add(identity);
    return {};
  },
  async psk({ name, id, key }) {
    clients.get(name).psks[base64(id)] = raw(key);
    return {};
  },
  async create({ name, group }) {
    const client = clients.get(name);
    const { publicPackage, privatePackage } = client.bundle;
    client.state = await mls.createGroup(raw(group), publicPackage, privatePackage, [], client.suite, client.config);
    return view(client);
  },
  async join({ name, welcome, resumes }) {
    const client = clients.get(name);
    const { publicPackage, privatePackage } = client.bundle;
    const old = resumes ? clients.get(resumes).state : undefined;
    const index = old ? mls.makePskIndex(old, client.psks) : mls.makePskIndex(undefined, client.psks);
    client.state = await mls.joinGroup(
      open(welcome).welcome, publicPackage, privatePackage, index, client.suite, undefined, old, client.config,
    );
    return view(client);
  },
  async external({ name, group_info: text, resync }) {
    const client = clients.get(name);
    const { publicPackage, privatePackage } = client.bundle;
    const { publicMessage, newState } = await mls.joinGroupExternal(
      open(text).groupInfo, publicPackage, privatePackage, resync, client.suite, undefined, client.config,
    );
    client.state = newState;
    return { commit: message({ wireformat: "mls_public_message", publicMessage }), group_info: await groupInfo(client) };
  },
  async commit({ name, list = [], open: isPublic = false, aad = "" }) {
    const client = clients.get(name);
    const made = await mls.createCommit(
      { state: client.state, cipherSuite: client.suite, pskIndex: psks(client) },
      {
        extraProposals: proposals(list),
        ratchetTreeExtension: true,
        wireAsPublicMessage: isPublic,
        authenticatedData: raw(aad),
      },
    );
    client.state = made.newState;
    const welcome = made.welcome && message({ wireformat: "mls_welcome", welcome: made.welcome });
    return {
      commit: hex(mls.encodeMlsMessage(made.commit)),
      welcome: welcome ?? null,
      group_info: client.state.groupActiveState.kind === "active" ? await groupInfo(client) : null,
    };
  },
  // The first commit of the group that a ReInit asked for (reinitCreateNewGroup takes no suite it has no name for).
  async refound({ name, resumes, group, packages, nonce }) {
    const client = clients.get(name);
    const old = clients.get(resumes).state;
    const { publicPackage, privatePackage } = client.bundle;
    const state = await mls.createGroup(raw(group), publicPackage, privatePackage, [], client.suite, client.config);
    const { groupId, epoch } = old.groupContext;
    const psk = { kind: "resumption", group: hex(groupId), epoch: Number(epoch), nonce, usage: "reinit" };
    const made = await mls.createCommit(
      { state, cipherSuite: client.suite, pskIndex: mls.makePskIndex(old, {}) },
      {
        extraProposals: proposals([...packages.map((text) => ({ kind: "add", package: text })), psk]),
        ratchetTreeExtension: true,
      },
    );
    client.state = made.newState;
    return { welcome: message({ wireformat: "mls_welcome", welcome: made.welcome }) };
  },
  async propose({ name, item, open: isPublic = false }) {
    const client = clients.get(name);
    const made = await mls.createProposal(client.state, isPublic, proposals([item])[0], client.suite);
    client.state = made.newState;
    return { message: hex(mls.encodeMlsMessage(made.message)) };
  },
  async send({ name, text, aad = "" }) {
    const client = clients.get(name);
    const made = await mls.createApplicationMessage(client.state, raw(text), client.suite, raw(aad));
    client.state = made.newState;
    return { message: message({ wireformat: "mls_private_message", privateMessage: made.privateMessage }) };
  },
  async receive({ name, message: text }) {
    const client = clients.get(name);
    const found = await mls.processMessage(open(text), client.state, psks(client), mls.acceptAll, client.suite);
    client.state = found.newState;
    return { text: found.kind === "applicationMessage" ? hex(found.message) : null };
  },
  async group_info({ name }) {
    return { group_info: await groupInfo(clients.get(name)) };
  },
  // Medians in microseconds; nothing of what is done is kept, but for the message keys.
  async bench({ first, second, joiner, package: text, payload, messages, repeats }) {
    const [one, two, three] = [first, second, joiner].map((name) => clients.get(name));
    const sent = [];
    const commit = (extraProposals = []) =>
      mls.createCommit(
        { state: one.state, cipherSuite: one.suite },
        { extraProposals, ratchetTreeExtension: true },
      );
    const encrypt = await timed(async () => {
      const made = await mls.createApplicationMessage(one.state, raw(payload), one.suite);
      one.state = made.newState;
      sent.push(mls.encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage: made.privateMessage }));
    }, messages);
    const decrypt = await timed(async () => {
      const [found] = mls.decodeMlsMessage(sent.shift(), 0);
      two.state = (await mls.processPrivateMessage(two.state, found.privateMessage, mls.emptyPskIndex, two.suite)).newState;
    }, messages);
    const made = mls.encodeMlsMessage((await commit()).commit);
    const { welcome } = await commit(proposals([{ kind: "add", package: text }]));
    const encoded = mls.encodeMlsMessage({ version: "mls10", wireformat: "mls_welcome", welcome });
    const { publicPackage, privatePackage } = three.bundle;
    return {
      encrypt,
      decrypt,
      commit: await timed(() => commit(), repeats),
      process: await timed(async () => {
        const [found] = mls.decodeMlsMessage(made, 0);
        await mls.processPrivateMessage(two.state, found.privateMessage, mls.emptyPskIndex, two.suite);
      }, repeats),
      join: await timed(async () => {
        const [found] = mls.decodeMlsMessage(encoded, 0);
        const none = mls.emptyPskIndex;
        await mls.joinGroup(found.welcome, publicPackage, privatePackage, none, three.suite, undefined, undefined, three.config);
      }, repeats),
    };
  },
  async view({ name }) {
    return view(clients.get(name));
  },
  async forget() {
    clients.clear();
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = await commands[request.command](request);
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
