/** What a page uses: `createCoachRelay`. */

import type { CoachRelayOptions, Device, Me, Newcomer, RecoveryKit, RelayApi, RelayEvents } from "./api.ts";
import { hidesAddress, setHidesAddress } from "./calls/hiding.ts";
import type { OwnDevices } from "./devices/page.ts";
import { firstUseAnswers, ownDevices } from "./devices/page.ts";
import type { Happening } from "./engine/messages.ts";
import EngineWorker from "./engine/worker.ts?worker&inline";
import { Bridge } from "./page/bridge.ts";
import { Emitter } from "./page/events.ts";
import { Room } from "./page/room.ts";

export type { CoachRelayOptions } from "./api.ts";
export { CoachRelayFailure } from "./page/bridge.ts";
export { Room } from "./page/room.ts";

/** This person's device in this browser. */
export class CoachRelay extends Emitter<RelayEvents> implements RelayApi {
  readonly #bridge: Bridge;
  readonly #devices: OwnDevices;
  readonly addressAlwaysHidden: boolean;
  readonly #rooms = new Map<string, Room>();
  #me: Me = { portal: "", user: "", name: "", safetyNumber: "" };
  #online = false;
  readonly #destroyed = new AbortController();

  private constructor({ tokenProvider, firstUse, relayOnlyCalls = false }: CoachRelayOptions) {
    super();
    this.addressAlwaysHidden = relayOnlyCalls;
    const answers = { token: async () => tokenProvider(), ...firstUseAnswers(firstUse) };
    this.#bridge = new Bridge(new EngineWorker(), answers);
    this.#devices = ownDevices(this.#bridge);
    this.#bridge.listen((happening) => this.#happen(happening));
  }

  /** Start the Worker and open the vault; does not wait for the relay. Raises CoachRelayFailure. */
  static async create(options: CoachRelayOptions, prepare: (made: CoachRelay) => void): Promise<CoachRelay> {
    const made = new CoachRelay(options);
    prepare(made);
    // Asked for here, as Workers cannot; refused or not, the vault is the same.
    void navigator.storage?.persist?.().catch(() => false);
    const { url, name = "", firstUse } = options;
    made.#me = await made.#bridge.call("start", { url, name, asks: firstUse !== undefined });
    made.#watchNetwork();
    return made;
  }

  get me(): Me {
    return this.#me;
  }

  get online(): boolean {
    return this.#online;
  }

  engagements(): Promise<readonly { readonly id: string; readonly status: string }[]> {
    return this.#bridge.call("engagements");
  }

  /** The conversation of an engagement; waits for the relay only if online. Raises CoachRelayFailure. */
  async engagement(id: string): Promise<Room> {
    const room = this.#rooms.get(id) ?? new Room(id, this.#bridge, { relayOnly: () => this.addressHidden });
    this.#rooms.set(id, room);
    await this.#bridge.call("open", id);
    return room;
  }

  async setName(name: string): Promise<void> {
    this.#me = await this.#bridge.call("setName", name);
  }

  readReceipts(): Promise<boolean> {
    return this.#bridge.call("readReceipts");
  }

  async setReadReceipts(on: boolean): Promise<void> {
    await this.#bridge.call("setReadReceipts", on);
  }

  /** How much this origin stores and may store, in bytes, and whether the browser promised to keep it. */
  async storage(): Promise<{
    readonly usage: number | null;
    readonly quota: number | null;
    readonly kept: boolean;
  }> {
    const estimate = await navigator.storage?.estimate?.();
    const kept = (await navigator.storage?.persisted?.()) ?? false;
    return { usage: estimate?.usage ?? null, quota: estimate?.quota ?? null, kept };
  }

  devices(): Promise<readonly Device[]> {
    return this.#devices.devices();
  }

  renameDevice(id: string, name: string): Promise<void> {
    return this.#devices.renameDevice(id, name);
  }

  removeDevice(id: string): Promise<void> {
    return this.#devices.removeDevice(id);
  }

  findNewcomer(shown: string): Promise<Newcomer> {
    return this.#devices.findNewcomer(shown);
  }

  linkNewcomer(newcomer: Newcomer, options: Parameters<RelayApi["linkNewcomer"]>[1]): Promise<void> {
    return this.#devices.linkNewcomer(newcomer, options);
  }

  refuseNewcomer(newcomer: Newcomer): Promise<void> {
    return this.#devices.refuseNewcomer(newcomer);
  }

  recoveryKitDue(): Promise<boolean> {
    return this.#devices.recoveryKitDue();
  }

  recoveryKit(): Promise<RecoveryKit> {
    return this.#devices.recoveryKit();
  }

  kitMade(words: Readonly<Record<number, string>>): Promise<void> {
    return this.#devices.kitMade(words);
  }

  archive(): Promise<boolean> {
    return this.#devices.archive();
  }

  setArchive(on: boolean): Promise<void> {
    return this.#devices.setArchive(on);
  }

  waitArchived(): Promise<void> {
    return this.#devices.waitArchived();
  }

  get addressHidden(): boolean {
    return this.addressAlwaysHidden || hidesAddress(this.#me);
  }

  async setAddressHidden(on: boolean): Promise<void> {
    setHidesAddress(this.#me, on);
  }

  /** End; what waits to be sent is kept for the next time. */
  async destroy(): Promise<void> {
    this.#destroyed.abort();
    try {
      await this.#bridge.call("destroy");
    } finally {
      this.#bridge.close();
    }
  }

  /** Only the page is told of these: a machine that comes to another network, and one that wakes up. */
  #watchNetwork(): void {
    const { signal } = this.#destroyed;
    const check = () => void this.#bridge.call("checkConnection").catch(() => undefined); // it is over then
    for (const event of ["online", "offline"]) addEventListener(event, check, { signal });
    document.addEventListener("visibilitychange", () => document.hidden || check(), { signal });
  }

  /** Another tab may have the device since the former one was closed: it opens what is shown here. */
  #open(): void {
    for (const id of this.#rooms.keys()) this.#bridge.call("open", id).catch(() => undefined); // it is told
  }

  #happen({ event, engagement, detail }: Happening): void {
    if (event.startsWith("@")) return; // between the halves of a part
    if (event === "online" || event === "offline") this.#online = event === "online";
    if (event === "online") this.#open();
    const target = engagement === null ? this : this.#rooms.get(engagement);
    target?.emit(event, detail);
  }
}

/** This person's device in this browser, made anew at the first time. `prepare` may listen before it starts. */
export const createCoachRelay = (
  options: CoachRelayOptions,
  prepare: (made: CoachRelay) => void = () => undefined,
): Promise<CoachRelay> => CoachRelay.create(options, prepare);
