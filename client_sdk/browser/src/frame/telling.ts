/** What the portal's page hears about a conversation: that something came, of which kind, and how much is unread. */

import type { Item, RelayApi, RoomApi } from "../api.ts";
import { MESSAGE_KINDS } from "../loader/protocol.ts";
import { fault } from "./faults.ts";
import type { Portal } from "./portal.ts";

const MOST_UNREAD = 100; // beyond it a page shows "99+" anyway
const SILENT: ReadonlySet<string> = new Set(["profile", "retracted"]); // changes, nothing to read

/** Tell the page what happens to this device. A code says what is wrong: sentences may have people's names in them. */
export function tellOfRelay(relay: RelayApi, portal: Portal): void {
  let last = ""; // it is tried again and again: what is the same each time is told once
  relay.on("offline", (notice) => {
    if (notice && notice.code !== last) fault(portal, notice);
    last = notice?.code ?? "";
  });
  relay.on("online", () => {
    last = "";
  });
  relay.on("failed", (notice) => fault(portal, notice));
  relay.on("token-expiring", (detail) => portal.tell("token-expiring", { endsMs: detail.endsMs }));
}

/** Tell the page what happens in this conversation. */
export async function tellOfRoom(room: RoomApi, portal: Portal): Promise<void> {
  const unread = new Unread(room);
  let told = 0;
  const count = async (): Promise<number> => {
    const now = await unread.count();
    if (now !== told) portal.tell("unread", { count: now });
    told = now;
    return now;
  };
  room.on("message", (item) => {
    const fresh = unread.isNew(item);
    void count().then((now) => {
      const kind = MESSAGE_KINDS.includes(item.kind) ? item.kind : "unknown";
      if (fresh) portal.tell("message", { id: item.id, kind, mine: item.mine, unread: now });
    });
  });
  room.on("removed", ({ id }) => unread.forget(id));
  room.on("changed", () => void count());
  room.on("alarm", (notice) => fault(portal, notice));
  for (const item of await room.history({ limit: MOST_UNREAD })) unread.isNew(item);
  await count();
}

class Unread {
  readonly #room: RoomApi;
  /** Positions of what others said, newest last. */
  readonly #positions = new Map<string, number>();

  constructor(room: RoomApi) {
    this.#room = room;
  }

  /** Whether this item comes for the first time. */
  isNew(item: Item): boolean {
    if (this.#positions.has(item.id)) {
      this.#note(item);
      return false;
    }
    this.#note(item);
    return !SILENT.has(item.kind);
  }

  #note(item: Item): void {
    this.#positions.set(item.id, item.mine || SILENT.has(item.kind) ? 0 : item.seq);
    const [oldest] = this.#positions.keys();
    if (this.#positions.size > 2 * MOST_UNREAD && oldest !== undefined) this.#positions.delete(oldest);
  }

  forget(id: string): void {
    this.#positions.delete(id);
  }

  async count(): Promise<number> {
    const { readTo } = await this.#room.state();
    return [...this.#positions.values()].filter((position) => position > readTo).length;
  }
}
