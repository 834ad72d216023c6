/** Message counters: every device numbers its messages in a conversation without gaps (docs/PROTOCOL.md 9). */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { unhex } from "../bytes.ts";
import { RecordInvalid } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { deviceName, parseDeviceId } from "../wire/ids.ts";

/** Devices remembered, also after they left: eight times what one conversation may have at once. */
const MOST_DEVICES = 256;
const FORMAT = 1;

/** The last counter of each device (by the name of its id), the device heard last at the end. */
export class MessageCounters {
  readonly #last: ReadonlyMap<string, number>;

  constructor(last: ReadonlyMap<string, number> = new Map()) {
    this.#last = last;
  }

  /**
   * Whether this is the device's next message; raises SecurityAlarm (`stream_gap`). A device not heard before
   * may begin anywhere: it may have taken part before this device joined.
   */
  check(device: string, counter: number): void {
    const expected = (this.#last.get(device) ?? counter - 1) + 1;
    if (counter !== expected) throw new SecurityAlarm("stream_gap", { device, expected, got: counter });
  }

  /** Behind that message (also when its check raised, so that one gap alarms once). */
  after(device: string, counter: number): MessageCounters {
    const others = [...this.#last].filter(([name]) => name !== device).slice(1 - MOST_DEVICES);
    return new MessageCounters(new Map([...others, [device, counter]]));
  }

  /** A device that rejoined has a gap of its own: it may go on with any counter. */
  without(device: string): MessageCounters {
    return new MessageCounters(new Map([...this.#last].filter(([name]) => name !== device)));
  }

  /** Encode for the vault. */
  serialize(): Bytes {
    return pack([FORMAT, [...this.#last].map(([name, counter]) => [unhex(name), counter] as const)]);
  }

  /** Decode from the vault; raises RecordInvalid. */
  static parse(data: Bytes): MessageCounters {
    try {
      const values = unpack(data);
      const [format, pairs] = Array.isArray(values) ? values : [];
      if (format !== FORMAT || !Array.isArray(pairs)) throw new PackingError("another form");
      const last = pairs.map((pair): [string, number] => {
        const [device, counter] = Array.isArray(pair) ? pair : [];
        if (!(device instanceof Uint8Array) || typeof counter !== "number") {
          throw new PackingError("a field of another form");
        }
        return [deviceName(parseDeviceId(device)), counter];
      });
      return new MessageCounters(new Map(last));
    } catch (error) {
      if (!(error instanceof PackingError)) throw error;
      throw new RecordInvalid("Stored message counters are damaged. Set this browser up anew.");
    }
  }
}
