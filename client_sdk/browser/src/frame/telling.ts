/** What the portal's page hears about a conversation: that something came, of which kind, and how much is unread. */

import type { Item, RelayApi, RoomApi } from "../api.ts";
import { MESSAGE_KINDS } from "../loader/protocol.ts";
import type { Portal } from "./portal.ts";

const MOST_UNREAD = 100; // beyond it a page shows "99+" anyway
const SILENT: ReadonlySet<string> = new Set(["profile", "retracted"]); // changes, nothing to read

/** Tell the page what happens to this device. A code says what is wrong: sentences may have people's names in them. */
export function tellOfRelay(relay: RelayApi, portal: Portal): void {
  relay.on("offline", (notice) => notice && fault(portal, notice.code));
  relay.on("failed", (notice) => fault(portal, notice.code));
  relay.on("token-expiring", (detail) => portal.tell("token-expiring", { endsMs: detail.endsMs }));
}

/** Tell the page what happens in this conversation. */
export async function tellOfRoom(room: RoomApi, portal: Portal): Promise<void> {
  const unread = new Unread(room);
  room.on("message", (item) => {
    if (!unread.isNew(item)) return;
    void unread.count().then((count) => {
      const kind = MESSAGE_KINDS.includes(item.kind) ? item.kind : "unknown";
      portal.tell("message", { id: item.id, kind, mine: item.mine, unread: count });
    });
  });
  room.on("alarm", (notice) => fault(portal, notice.code));
  for (const item of await room.history({ limit: MOST_UNREAD })) unread.isNew(item);
}

export function fault(portal: Portal, code: string): void {
  portal.tell("error", { code, message: `Coach Relay: ${code} (docs/EMBEDDING.md says what to do)` });
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

  async count(): Promise<number> {
    const { readTo } = await this.#room.state();
    return [...this.#positions.values()].filter((position) => position > readTo).length;
  }
}
