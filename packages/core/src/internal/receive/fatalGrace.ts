/** How long a fatal error is borne: from the first one on, until something has succeeded. */
export class FatalGrace {
  readonly #grace: number
  #since: number | undefined

  /** In milliseconds. */
  constructor(grace: number) {
    this.#grace = grace
  }

  succeeded(): void {
    this.#since = undefined
  }

  /** Another fatal error: whether they have gone on for too long. */
  failed(now: number): boolean {
    this.#since ??= now
    return now - this.#since >= this.#grace
  }
}
