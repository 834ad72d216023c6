/** A file that is taken back: the relay is told to erase what this device uploaded, also after a reload. */

import { withdraw } from "../attachments/uploading.ts";
import { text, utf8 } from "../bytes.ts";
import type { Stored } from "../engine/history.ts";
import type { Write } from "../vault/vault.ts";
import { parseBlobId } from "../wire/ids.ts";
import type { FilesHost } from "./host.ts";

/** Which blob each message of ours names; and which of them the relay is still to erase. */
const SENT = "sent-blob/";
const GONE = "gone-blob/";

export const sentBlob = (engagement: string, id: string, blob: string): Write => ({
  name: `${SENT}${engagement}/${id}`,
  value: utf8(blob),
});

export class Withdrawn {
  readonly #host: FilesHost;

  constructor(host: FilesHost) {
    this.#host = host;
  }

  /** An item of the history has changed: is it a file of ours that was taken back? */
  heard(engagement: string, { id, mine, envelope, notice }: Stored): void {
    if (!mine || envelope !== null || notice !== null) return;
    void this.#note(engagement, id)
      .then((noted) => (noted ? this.goOn() : undefined))
      .catch(() => undefined); // the next connection tries it again
  }

  async #note(engagement: string, id: string): Promise<boolean> {
    const name = `${SENT}${engagement}/${id}`;
    const blob = await this.#host.vault.get(name);
    if (blob === null) return false;
    await this.#host.vault.write([
      { name, value: null },
      { name: `${GONE}${engagement}/${id}`, value: blob },
    ]);
    return true;
  }

  /** Tell the relay of all that it has not been told of; what it does not do now, it is asked again. */
  async goOn(): Promise<void> {
    for (const [name, blob] of await this.#host.vault.scan(GONE)) {
      const [engagement = ""] = name.slice(GONE.length).split("/");
      const told = await withdraw(parseBlobId(text(blob)), () => this.#host.access(engagement)).catch(
        () => false,
      );
      if (told) await this.#host.vault.write([{ name, value: null }]);
    }
  }
}
