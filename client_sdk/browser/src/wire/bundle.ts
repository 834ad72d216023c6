/** The body of a commit entry (docs/PROTOCOL.md section 5): commit, Welcome and GroupInfo in one. */

import type { Bytes } from "../bytes.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { WireError } from "./errors.ts";
import * as f from "./fields.ts";
import type { DeviceId } from "./ids.ts";
import { deviceName, parseDeviceId } from "./ids.ts";
import { MAX_COMMIT_BODY_BYTES, MAX_MEMBER_DEVICES } from "./limits.ts";

const VERSION = 1;
const devices = f.many(f.id(parseDeviceId), MAX_MEMBER_DEVICES);
const message = f.binary(MAX_COMMIT_BODY_BYTES);
const fields = f.record({
  version: f.uint,
  adds: devices,
  removes: devices,
  commit: message,
  welcome: f.optional(message),
  groupInfo: message,
});

/** `commit` is empty when the group's creator is alone in it. MLS messages are opaque here. */
export interface Bundle {
  readonly adds: readonly DeviceId[];
  readonly removes: readonly DeviceId[];
  readonly commit: Bytes;
  readonly welcome: Bytes | null;
  readonly groupInfo: Bytes;
}

/** The bundle as the body of a commit entry; raises WireError (`entry_too_big`) above 1 MiB. */
export function serializeBundle(bundle: Bundle): Bytes {
  const packed = pack(fields.write({ version: VERSION, ...bundle }));
  if (packed.length > MAX_COMMIT_BODY_BYTES)
    throw new WireError("entry_too_big", "a bundle beyond its bound");
  return packed;
}

/** The bundle in a commit entry's body; raises WireError (`bundle_invalid` or `entry_too_big`). */
export function parseBundle(body: Bytes): Bundle {
  if (body.length > MAX_COMMIT_BODY_BYTES) throw new WireError("entry_too_big", "a bundle beyond its bound");
  try {
    const { version, ...bundle } = fields.read(unpack(body, { maxDepth: 2, maxMap: -1 }));
    if (version !== VERSION || twice(bundle.adds) || twice(bundle.removes)) throw invalid();
    return bundle;
  } catch (error) {
    if (error instanceof PackingError || error instanceof WireError) throw invalid();
    throw error;
  }
}

const twice = (named: readonly DeviceId[]): boolean => new Set(named.map(deviceName)).size !== named.length;
const invalid = (): WireError => new WireError("bundle_invalid", "not a bundle");
