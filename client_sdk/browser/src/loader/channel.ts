/** The page's end of the channel to the frame. */

import { LoaderError } from "./frame.ts";
import {
  type Details,
  type EventName,
  MAX_TEXT,
  MAX_TOKENS_AT_ONCE,
  parseToPage,
  type ToFrame,
} from "./protocol.ts";

export interface Listening {
  token(): Promise<string>;
  happened<E extends EventName>(event: E, detail: Details[E]): void;
}

export class Channel {
  readonly #port: MessagePort;
  readonly #listening: Listening;
  #asking = 0;
  #gone: () => void = () => undefined;

  constructor(port: MessagePort, listening: Listening) {
    this.#port = port;
    this.#listening = listening;
    port.onmessage = ({ data }: MessageEvent<unknown>) => this.#take(data);
  }

  post(message: ToFrame): void {
    this.#port.postMessage(message);
  }

  /** Resolves when the frame has left in order. */
  goodbye(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#gone = resolve;
    });
    this.post({ kind: "destroy" });
    return gone;
  }

  close(): void {
    this.#port.close();
  }

  #take(data: unknown): void {
    const said = parseToPage(data);
    if (said === null) return;
    if (said.kind === "gone") this.#gone();
    else if (said.kind === "event") this.#listening.happened(said.event, said.detail);
    else void this.#answer(said.id);
  }

  async #answer(id: number): Promise<void> {
    if (this.#asking >= MAX_TOKENS_AT_ONCE) return;
    this.#asking += 1;
    let token: string | null = null;
    try {
      token = usable(await this.#listening.token());
    } catch (error) {
      // The frame says that there is none and asks again; the portal's developer sees why.
      const why = error instanceof Error ? error.message : String(error);
      const code = error instanceof LoaderError ? error.code : "token_refused";
      this.#listening.happened("error", { code, message: `No access token: ${why}` });
    }
    this.#asking -= 1;
    this.post({ kind: "token", id, token });
  }
}

function usable(token: unknown): string {
  const text = typeof token === "string" ? token.trim() : "";
  if (text.length <= MAX_TEXT && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) return text;
  const what = typeof token === "string" ? `a text of ${token.length} characters that is no JWT` : `${token}`;
  throw new LoaderError(
    "token_malformed",
    `the tokenProvider has to return the token itself as a text (a JWT), and returned ${what}. Does it look at the ` +
      "answer's status, and take the token out of JSON?",
  );
}
