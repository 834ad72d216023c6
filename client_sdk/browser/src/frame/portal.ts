/** The frame's end of the channel to the portal's page: tokens come in; what happens goes out, never what is said. */

import type { Look } from "../loader/protocol.ts";
import { type Details, type EventName, MAX_TOKENS_AT_ONCE, type ToPage } from "../loader/protocol.ts";
import { parseToFrame } from "./parsing.ts";

export interface Ordering {
  look(look: Look): void;
  destroy(): void;
}

export class Portal {
  readonly #port: MessagePort;
  readonly #waiting = new Map<number, { resolve(token: string): void; reject(error: Error): void }>();
  readonly #ordering: Ordering;
  #lastToken = 0;
  #hasToken = true;

  constructor(port: MessagePort, ordering: Ordering) {
    this.#port = port;
    this.#ordering = ordering;
    port.onmessage = ({ data }: MessageEvent<unknown>) => this.#take(data);
  }

  /** Ask the page for an access token. */
  token(): Promise<string> {
    if (this.#waiting.size >= MAX_TOKENS_AT_ONCE)
      return Promise.reject(new Error("the page does not answer"));
    const id = ++this.#lastToken;
    return new Promise<string>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#post({ kind: "token", id });
    }).finally(() => this.#waiting.delete(id));
  }

  /** Whether the page gave a token when it was last asked; if not, it was told why already. */
  get hasToken(): boolean {
    return this.#hasToken;
  }

  tell<E extends EventName>(event: E, detail: Details[E]): void {
    this.#post({ kind: "event", event, detail } as ToPage);
  }

  /** The frame has left in order. */
  gone(): void {
    this.#post({ kind: "gone" });
    this.#port.close();
  }

  #post(message: ToPage): void {
    this.#port.postMessage(message);
  }

  #take(data: unknown): void {
    const said = parseToFrame(data);
    if (said === null) return;
    if (said.kind === "look") this.#ordering.look(said);
    else if (said.kind === "destroy") this.#ordering.destroy();
    else this.#answered(said.id, said.token);
  }

  #answered(id: number, token: string | null): void {
    this.#hasToken = token !== null;
    if (token === null) this.#waiting.get(id)?.reject(new Error("the page gave no token"));
    else this.#waiting.get(id)?.resolve(token);
  }
}
