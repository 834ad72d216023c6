/** Something whose changes elements follow. */

export class Observable {
  readonly #followers = new Set<() => void>();

  follow(follower: () => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  protected changed(): void {
    for (const follower of [...this.#followers]) follower();
  }
}
