/** Typed events on top of EventTarget: `on` for those who like types, `addEventListener` for all others. */

export class Emitter<Events> extends EventTarget {
  /** Hear an event; gives the function that ends it. */
  on<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): () => void {
    const take = (happened: Event) => listener((happened as CustomEvent<Events[E]>).detail);
    this.addEventListener(String(event), take);
    return () => this.removeEventListener(String(event), take);
  }

  /** @internal */
  emit(event: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}
