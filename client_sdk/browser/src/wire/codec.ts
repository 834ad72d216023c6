/** Frames to bytes and back: one websocket message holds one or more frames (docs/PROTOCOL.md section 2). */

import type { Bytes } from "../bytes.ts";
import { concat } from "../bytes.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, Reader } from "../msgpack.ts";
import { WireError } from "./errors.ts";
import type { Field } from "./fields.ts";
import { record, uint } from "./fields.ts";
import type { DeviceFrame, Frame, RelayFrame, UnknownFrame } from "./frames.ts";
import { DEVICE_FRAMES, RELAY_FRAMES } from "./frames.ts";
import {
  MAX_ARRAYS_PER_MESSAGE,
  MAX_FRAME_BYTES,
  MAX_FRAMES_PER_MESSAGE,
  MAX_MESSAGE_BYTES,
  MAX_NESTING,
} from "./limits.ts";

interface Known {
  readonly name: string;
  readonly type: number;
  readonly fields: Field<Record<string, unknown>>;
}

const known = (table: typeof DEVICE_FRAMES | typeof RELAY_FRAMES): readonly Known[] =>
  Object.entries(table).map(([name, [type, shape]]) => ({
    name,
    type,
    fields: record(shape) as unknown as Field<Record<string, unknown>>,
  }));

const BY_NAME = new Map(
  [...known(DEVICE_FRAMES), ...known(RELAY_FRAMES)].map((found) => [found.name, found]),
);
const FROM_DEVICE = new Map(known(DEVICE_FRAMES).map((found) => [found.type, found]));
const FROM_RELAY = new Map(known(RELAY_FRAMES).map((found) => [found.type, found]));

const BOUNDS = {
  maxDepth: MAX_NESTING,
  maxArray: MAX_FRAMES_PER_MESSAGE,
  maxMap: -1,
  maxArrays: MAX_ARRAYS_PER_MESSAGE,
};

/** One frame as bytes. */
export function encodeFrame(frame: Frame): Bytes {
  const found = BY_NAME.get(frame.frame);
  if (found === undefined) throw new WireError("unknown_frame", "there is no such frame");
  const fields = found.fields.write({ ...frame });
  return pack([found.type, ...(fields as readonly Value[])]);
}

/** One websocket message holding these frames; raises WireError if they do not fit into one. */
export function encode(frames: readonly Frame[]): Bytes {
  const packed = frames.map(encodeFrame);
  const message = concat(...packed);
  const crowded = packed.length === 0 || packed.length > MAX_FRAMES_PER_MESSAGE;
  if (crowded || message.length > MAX_MESSAGE_BYTES || packed.some((one) => one.length > MAX_FRAME_BYTES)) {
    throw new WireError("too_big", "these frames do not fit into one message");
  }
  return message;
}

/** All frames of a message that a relay sent; raises WireError and then none of them counts. */
export const decodeFromRelay = (message: Bytes): (RelayFrame | UnknownFrame)[] =>
  decode(message, FROM_RELAY, FROM_DEVICE) as (RelayFrame | UnknownFrame)[];

/** All frames of a message that a device sent; raises WireError and then none of them counts. */
export const decodeFromDevice = (message: Bytes): (DeviceFrame | UnknownFrame)[] =>
  decode(message, FROM_DEVICE, FROM_RELAY) as (DeviceFrame | UnknownFrame)[];

type Schema = ReadonlyMap<number, Known>;

function decode(message: Bytes, schema: Schema, reverse: Schema): unknown[] {
  if (message.length > MAX_MESSAGE_BYTES) throw new WireError("too_big", "a message beyond its bound");
  const reader = new Reader(message, BOUNDS);
  const frames: unknown[] = [];
  while (!reader.atEnd) {
    if (frames.length === MAX_FRAMES_PER_MESSAGE)
      throw new WireError("too_big", "too many frames in a message");
    const start = reader.position;
    const frame = readFrame(readValue(reader), schema, reverse);
    if (reader.position - start > MAX_FRAME_BYTES) throw new WireError("too_big", "a frame beyond its bound");
    frames.push(frame);
  }
  if (frames.length === 0) throw new WireError("malformed", "not a whole number of frames");
  return frames;
}

function readValue(reader: Reader): Value {
  try {
    return reader.read();
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    if (error.reason === "too_big") throw new WireError("too_big", "too many arrays in a message");
    if (error.reason === "too_deep") throw new WireError("too_deep", "nested too deeply");
    throw new WireError("malformed", "not MessagePack");
  }
}

function readFrame(values: Value, schema: Schema, reverse: Schema): unknown {
  if (!Array.isArray(values) || values.length === 0) {
    throw new WireError("malformed", "a frame is an array that begins with its type");
  }
  const type = values[0] ?? null;
  const found = typeof type === "number" ? schema.get(type) : undefined;
  if (found !== undefined) return { frame: found.name, ...found.fields.read(values.slice(1)) };
  const frameType = uint.read(type);
  if (reverse.has(frameType)) throw new WireError("out_of_order", "a frame of the other direction");
  return { frame: "Unknown", frameType };
}
