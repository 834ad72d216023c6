/** This user's signed list of devices: looking at it and changing it. */

import type { Device } from "../api.ts";
import type { Bytes } from "../bytes.ts";
import { equal, text, utf8 } from "../bytes.ts";
import type { Engine } from "../engine/engine.ts";
import { ManifestInvalid, RelayError, RelayRefused, UsageError } from "../errors.ts";
import type { KeyPair } from "../identity/keys.ts";
import type { Manifest, ManifestDevice } from "../identity/manifest.ts";
import { checkSuccessor, lists, MAY_LINK, nextManifest, verifyManifest } from "../identity/manifest.ts";
import { deviceId, deviceName } from "../wire/ids.ts";
import { MAX_DEVICES_PER_USER } from "../wire/limits.ts";
import {
  DeviceError,
  DevicesChanged,
  MayNotLink,
  OtherListHeld,
  TooManyDevices,
  UnknownDevice,
} from "./errors.ts";
import { usableName } from "./names.ts";
import { deviceNameRecord } from "./told.ts";

const INTENDED = "own-list/intended";

export class OwnList {
  readonly #engine: Engine;
  #changing: Promise<unknown> = Promise.resolve();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  // Looking

  /** All devices that the list names; a name is empty if this device never heard it. */
  async devices(): Promise<readonly Device[]> {
    const { manifest, device: own } = this.#engine.account;
    return Promise.all(
      manifest.devices.map(async ({ deviceKey, flags }): Promise<Device> => {
        const id = deviceName(deviceId(deviceKey));
        const name = await this.#engine.vault.get(deviceNameRecord(id));
        const mayLink = (BigInt(flags) & BigInt(MAY_LINK)) !== 0n;
        return { id, name: name === null ? "" : text(name), isThis: equal(deviceKey, own.public), mayLink };
      }),
    );
  }

  /** What this person calls a device; it stays among their own devices. */
  async rename(id: string, name: string): Promise<void> {
    const known = (await this.devices()).some((device) => device.id === id);
    if (!known) throw unknown();
    await this.#engine.vault.write([{ name: deviceNameRecord(id), value: utf8(usableName(name)) }]);
    this.#engine.tell("devices", null, null);
  }

  /** Whether this device holds the identity key; raises MayNotLink. */
  checkMayChange(): KeyPair {
    const { identity } = this.#engine.account;
    if (identity === null) {
      throw new MayNotLink(
        "This device may not change the list of your devices. Do it on the device that you linked it from, or use " +
          "your recovery kit.",
      );
    }
    return identity;
  }

  /** Whether one more device may be listed; raises TooManyDevices. */
  checkRoom(deviceKey: Bytes | null): void {
    const { manifest } = this.#engine.account;
    if (deviceKey !== null && lists(manifest, deviceKey)) return;
    if (manifest.devices.length >= MAX_DEVICES_PER_USER) {
      throw new TooManyDevices(
        `You have ${MAX_DEVICES_PER_USER} devices already, which is as many as there can be. ` +
          "Remove one that you do not use any more, then link the new one.",
      );
    }
  }

  isListed(deviceKey: Bytes): boolean {
    return lists(this.#engine.account.manifest, deviceKey);
  }

  // Changing

  /** List a device; one that is listed already stays as it is. */
  add(deviceKey: Bytes, name: string, mayLink: boolean): Promise<void> {
    return this.#change(async (devices) => {
      await this.#engine.vault.write([
        { name: deviceNameRecord(deviceName(deviceId(deviceKey))), value: utf8(usableName(name)) },
      ]);
      if (this.isListed(deviceKey)) return null;
      this.checkRoom(deviceKey);
      return [...devices, { deviceKey, flags: mayLink ? MAY_LINK : 0 }];
    });
  }

  /**
   * Take a device off the list: the relay ends its access, and every conversation removes it. A relay that does not
   * take the new list cannot keep it from the conversations; it is told it again at every connection.
   */
  remove(id: string): Promise<void> {
    return this.#change(async (devices) => {
      if (id === deviceName(this.#engine.account.deviceId)) {
        throw new UsageError("A device does not remove itself. Do it on another one of your devices.");
      }
      const left = devices.filter(({ deviceKey }) => deviceName(deviceId(deviceKey)) !== id);
      if (left.length === devices.length) throw unknown();
      return left;
    }, true);
  }

  #change(
    change: (devices: readonly ManifestDevice[]) => Promise<readonly ManifestDevice[] | null>,
    althoughRefused = false,
  ): Promise<void> {
    const next = this.#changing.then(async () => {
      const identity = this.checkMayChange();
      const { manifest } = this.#engine.account;
      const devices = await change(manifest.devices);
      if (devices !== null) await this.#put(nextManifest(manifest, identity, { devices }), althoughRefused);
    });
    this.#changing = next.catch(() => undefined); // whoever asked for it hears of it
    return next;
  }

  /** Have the relay take the list before anybody sees it: so no two devices sign one version. */
  async #put(manifest: Manifest, althoughRefused = false): Promise<void> {
    const { vault, account } = this.#engine;
    await vault.write([{ name: INTENDED, value: manifest.raw }]);
    const held = await this.#held(manifest, althoughRefused);
    const taken = held !== null && equal(held.raw, manifest.raw);
    const another = held !== null && !taken && succeeds(account.manifest, held);
    if (taken || (althoughRefused && !another)) {
      await this.#engine.useAccount({ ...this.#engine.account, manifest });
      await vault.write([{ name: INTENDED, value: null }]);
      return;
    }
    await vault.write([{ name: INTENDED, value: null }]);
    if (held !== null && !equal(held.recoveryKey, account.manifest.recoveryKey))
      throw new OtherListHeld(OTHER);
    if (another) {
      throw new DevicesChanged(
        "Your devices were changed on another one of them at the same time. Nothing was done here. " +
          "Look at the list again, then repeat what you wanted.",
      );
    }
    throw new RelayRefused(
      "The relay did not take the new list of your devices. Try again later.",
      "refused",
    );
  }

  /** Which list the relay holds when it was given this one; null: none that anybody signed, or it does not say. */
  async #held(manifest: Manifest, althoughRefused: boolean): Promise<Manifest | null> {
    try {
      const question = { frame: "PutManifest", manifest: manifest.raw } as const;
      const answer = await this.#engine.askRelay(question, "HeldManifest");
      return answer.manifest && verified(answer.manifest);
    } catch (error) {
      if (!(althoughRefused && error instanceof RelayRefused)) throw error;
      return null;
    }
  }

  /** Finish a change that was interrupted: the relay may have taken it, or another device was first. */
  async goOn(): Promise<void> {
    const next = this.#changing.then(async () => {
      const intended = await this.#engine.vault.get(INTENDED);
      const { identity, manifest } = this.#engine.account;
      if (intended === null || identity === null) return;
      const wanted = verified(intended);
      if (wanted !== null && succeeds(manifest, wanted)) {
        const removes = wanted.devices.every(({ deviceKey }) => lists(manifest, deviceKey));
        await this.#put(wanted, removes);
      } else await this.#engine.vault.write([{ name: INTENDED, value: null }]);
    });
    this.#changing = next.catch(() => undefined);
    try {
      await next;
    } catch (error) {
      // Nobody waits for it any more: the list stays as it is, for the person to look at.
      if (!(error instanceof DeviceError || error instanceof RelayError)) throw error;
    }
  }
}

const OTHER =
  "The relay still keeps another list of devices for you: that of the devices which you had before you began anew, " +
  "or of somebody who connects in your name. Until it is ended, you can link no other device. Ask whoever runs " +
  "your coaching portal to end your earlier list of devices; those on it are shut out then.";

const unknown = () =>
  new UnknownDevice("There is no such device in the list of your devices. Look at it again.");

function verified(raw: Bytes): Manifest | null {
  try {
    return verifyManifest(raw);
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    return null;
  }
}

function succeeds(before: Manifest, after: Manifest): boolean {
  if (equal(before.raw, after.raw)) return false;
  try {
    checkSuccessor(before, after);
    return true;
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    return false;
  }
}
