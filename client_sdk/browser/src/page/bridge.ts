/** The page's end of the line to the Worker: calls and their answers, what happens, the Worker's questions. */

import type { Calls, Failure, Happening, Method, ToPage, ToWorker } from "../engine/messages.ts";
import { CoachRelayError } from "../errors.ts";

/** An error that came from the Worker, with its stable code. */
export class CoachRelayFailure extends CoachRelayError {
  readonly code: string;

  constructor({ code, message }: Failure) {
    super(message);
    this.code = code;
  }
}

/** What the page answers to the Worker's questions, by their names. */
export type Answers = Readonly<Record<string, (...args: readonly never[]) => Promise<unknown>>>;

type Answer<M extends Method> = Awaited<ReturnType<Calls[M]>>;

export class Bridge {
  readonly #worker: Worker;
  readonly #answers: Answers;
  readonly #calls = new Map<string, { resolve(value: unknown): void; reject(error: Error): void }>();
  readonly #listeners = new Set<(happening: Happening) => void>();
  #closed = false;

  constructor(worker: Worker, answers: Answers) {
    this.#worker = worker;
    this.#answers = answers;
    worker.onmessage = ({ data }: MessageEvent<ToPage>) => this.#take(data);
  }

  /** Ask the Worker; raises CoachRelayFailure. */
  call<M extends Method>(method: M, ...args: Parameters<Calls[M]>): Promise<Answer<M>> {
    if (this.#closed) return Promise.reject(new CoachRelayFailure(CLOSED));
    const id = crypto.randomUUID();
    return new Promise<Answer<M>>((resolve, reject) => {
      this.#calls.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#post({ kind: "call", id, method, args });
    }).finally(() => this.#calls.delete(id));
  }

  /** Hear all that happens; gives the function that ends it. */
  listen(listener: (happening: Happening) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Hear one kind of event of one conversation (null: of the device), typed by whoever knows it. */
  on<D>(event: string, engagement: string | null, listener: (detail: D) => void): () => void {
    return this.listen((happening) => {
      if (happening.event === event && happening.engagement === engagement) listener(happening.detail as D);
    });
  }

  /** The Worker ends; what was not answered never will be. */
  close(): void {
    this.#closed = true;
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(new CoachRelayFailure(CLOSED));
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #take(data: ToPage): void {
    if (data.kind === "answer") this.#calls.get(data.id)?.resolve(data.value);
    else if (data.kind === "failure") this.#calls.get(data.id)?.reject(new CoachRelayFailure(data.failure));
    else if (data.kind === "question") void this.#reply(data.id, data.name, data.args);
    else for (const listener of [...this.#listeners]) listener(data.happening);
  }

  async #reply(id: string, name: string, args: readonly unknown[]): Promise<void> {
    try {
      const answer = this.#answers[name];
      if (answer === undefined) throw new Error("nobody answers this here");
      this.#post({ kind: "reply", id, value: await answer(...(args as readonly never[])) });
    } catch (error) {
      const known = error instanceof CoachRelayError;
      const failure = known ? { code: error.code, message: error.message } : NO_ANSWER;
      this.#post({ kind: "refusal", id, failure });
    }
  }
}

const CLOSED: Failure = { code: "closed", message: "This was ended. Make it anew." };
const NO_ANSWER: Failure = { code: "no_answer", message: "The page gave no answer." };
