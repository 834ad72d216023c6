/** The typed frames of docs/PROTOCOL.md section 2.2; one is the MessagePack array of its type and fields. */

import * as f from "./fields.ts";
import * as ids from "./ids.ts";
import * as lim from "./limits.ts";

const engagementId = f.id(ids.parseEngagementId);
const deviceId = f.id(ids.parseDeviceId);
const userId = f.id(ids.parseUserId);
const token = f.text(lim.MAX_TOKEN_CHARS);
const code = f.text(lim.MAX_CODE_CHARS);
const detail = f.text(lim.MAX_DETAIL_CHARS);
const keyPackage = f.binary(lim.MAX_KEY_PACKAGE_BYTES);
const iceText = f.text(lim.MAX_ICE_FIELD_CHARS);
const channel = f.fixed(lim.CHANNEL_BYTES);
const rendezvousBody = f.binary(lim.MAX_RENDEZVOUS_BODY_BYTES);
const series = f.fixed(lim.ARCHIVE_SERIES_BYTES);
const archivePart = f.binary(lim.MAX_ARCHIVE_PART_BYTES);
const manifest = f.binary(lim.MAX_MANIFEST_BYTES);
const ephemeralBody = f.binary(lim.MAX_EPHEMERAL_BODY_BYTES);

const entry = f.record({
  seq: f.positive,
  kind: f.entryKind,
  afterCommit: f.uint,
  timeMs: f.uint,
  counter: f.uint,
  body: f.optional(f.binary(lim.MAX_COMMIT_BODY_BYTES)),
});
const engagement = f.record({
  id: engagementId,
  status: f.oneOf("active", "ended"),
  created: f.uint,
  retentionHours: f.uint,
  participants: f.many(f.record({ user: userId, role: f.id(ids.parseRole) }), lim.MAX_PARTICIPANTS),
  devices: f.many(
    f.record({ user: userId, device: deviceId, member: f.boolean, hasKeyPackage: f.boolean }),
    lim.MAX_PARTICIPANTS * lim.MAX_DEVICES_PER_USER,
  ),
  lastCommit: f.uint,
});
const iceServer = f.record({
  urls: f.many(iceText, lim.MAX_URLS_PER_ICE_SERVER),
  username: f.optional(iceText),
  credential: f.optional(iceText),
});

/** One entry as delivered. `counter` is 0 and `body` present, except in the receiver's own entries. */
export type Entry = f.Of<typeof entry>;
export type Engagement = f.Of<typeof engagement>;
export type IceServer = f.Of<typeof iceServer>;

export const DEVICE_FRAMES = {
  Hello: [1, { versions: f.many(f.uint, lim.MAX_VERSIONS, 1), clientNonce: f.fixed(lim.NONCE_BYTES) }],
  Authenticate: [
    2,
    { token, deviceKey: f.fixed(lim.DEVICE_KEY_BYTES), signature: f.fixed(lim.SIGNATURE_BYTES) },
  ],
  Renew: [3, { request: f.positive, token }],
  Append: [
    10,
    {
      stream: engagementId,
      counter: f.positive,
      kind: f.entryKind,
      afterCommit: f.uint,
      body: f.binary(lim.MAX_FRAME_BYTES),
      blobs: f.many(f.id(ids.parseBlobId), lim.MAX_BLOBS_PER_ENTRY),
    },
  ],
  Open: [11, { request: f.positive, stream: engagementId, after: f.uint }],
  Ack: [12, { stream: engagementId, seq: f.uint }],
  Ephemeral: [20, { stream: engagementId, body: ephemeralBody }],
  PublishKeyPackages: [
    30,
    {
      request: f.positive,
      packages: f.many(keyPackage, lim.MAX_KEY_PACKAGES),
      lastResort: f.optional(keyPackage),
    },
  ],
  ClaimKeyPackages: [
    31,
    { request: f.positive, stream: engagementId, devices: f.many(deviceId, lim.MAX_CLAIMED_DEVICES, 1) },
  ],
  ListEngagements: [32, { request: f.positive }],
  RequestBlobAccess: [33, { request: f.positive, stream: engagementId }],
  RequestIceServers: [34, { request: f.positive, stream: engagementId }],
  PutArchive: [
    35,
    { request: f.positive, stream: engagementId, series, number: f.positive, part: archivePart },
  ],
  ListArchive: [36, { request: f.positive, stream: engagementId }],
  ReadArchive: [37, { request: f.positive, stream: engagementId, series, after: f.uint }],
  EraseArchive: [38, { request: f.positive, stream: engagementId, series: f.optional(series) }],
  CallOutcome: [39, { path: f.text(lim.MAX_CALL_PATH_CHARS) }],
  Rendezvous: [40, { request: f.positive, channel, body: rendezvousBody }],
  PutManifest: [41, { request: f.positive, manifest: f.optional(manifest) }],
} as const;

export const RELAY_FRAMES = {
  Challenge: [64, { version: f.uint, relayNonce: f.fixed(lim.NONCE_BYTES) }],
  Ready: [
    65,
    {
      device: deviceId,
      portal: f.id(ids.parsePortalId),
      user: userId,
      tokenExpires: f.uint,
      keyPackagesLeft: f.uint,
      windowEntries: f.positive,
      windowBytes: f.positive,
      time: f.uint,
    },
  ],
  Renewed: [66, { request: f.positive, tokenExpires: f.uint }],
  Error: [67, { request: f.uint, code, detail }],
  Goodbye: [68, { code, detail, reconnectAfterMs: f.uint }],
  Appended: [
    70,
    {
      stream: engagementId,
      results: f.many(f.record({ counter: f.positive, seq: f.positive }), lim.MAX_FRAMES_PER_MESSAGE, 1),
    },
  ],
  Refused: [71, { stream: engagementId, counter: f.positive, code, lastCommit: f.uint }],
  Opened: [
    72,
    {
      request: f.positive,
      stream: engagementId,
      incarnation: f.fixed(lim.INCARNATION_BYTES),
      head: f.uint,
      lastCommit: f.uint,
      first: f.uint,
      cursor: f.uint,
      lastCounter: f.uint,
      member: f.boolean,
    },
  ],
  Entries: [73, { stream: engagementId, entries: f.many(entry, lim.WINDOW_ENTRIES, 1) }],
  EphemeralFrom: [74, { stream: engagementId, body: ephemeralBody }],
  Published: [80, { request: f.positive, left: f.uint }],
  KeyPackages: [
    81,
    {
      request: f.positive,
      packages: f.many(
        f.record({ device: deviceId, package: f.optional(keyPackage), lastResort: f.boolean }),
        lim.MAX_CLAIMED_DEVICES,
      ),
    },
  ],
  Engagements: [82, { request: f.positive, engagements: f.many(engagement, lim.MAX_ENGAGEMENTS_PER_USER) }],
  EngagementChanged: [83, { engagement }],
  BlobAccess: [84, { request: f.positive, token, expires: f.uint }],
  IceServers: [85, { request: f.positive, servers: f.many(iceServer, lim.MAX_ICE_SERVERS), expires: f.uint }],
  KeyPackagesLow: [86, { left: f.uint }],
  Met: [90, { request: f.positive, present: f.boolean }],
  RendezvousFrom: [91, { channel, body: rendezvousBody }],
  HeldManifest: [92, { request: f.positive, manifest: f.optional(manifest) }],
  ArchiveStored: [100, { request: f.positive, parts: f.uint }],
  ArchiveListed: [
    101,
    {
      request: f.positive,
      series: f.many(f.record({ series, parts: f.positive }), lim.MAX_ARCHIVE_SERIES),
    },
  ],
  ArchiveParts: [102, { request: f.positive, parts: f.many(archivePart, lim.MAX_ARCHIVE_PARTS_READ) }],
} as const;

type Table = Readonly<Record<string, readonly [number, object]>>;
type Frames<T extends Table> = { [K in keyof T]: { readonly frame: K } & f.Struct<T[K][1]> };

export type DeviceFrames = Frames<typeof DEVICE_FRAMES>;
export type RelayFrames = Frames<typeof RELAY_FRAMES>;
export type DeviceFrame = DeviceFrames[keyof DeviceFrames];
export type RelayFrame = RelayFrames[keyof RelayFrames];
export type Frame = DeviceFrame | RelayFrame;

/** A well-formed frame of a type that this version lacks: skipped. */
export interface UnknownFrame {
  readonly frame: "Unknown";
  readonly frameType: number;
}
