/** The handle on a consumer. */
import type { EventEmitter } from "node:events"
import type { Events, Health, Stats, StopReport, Time, Tuning } from "./types.js"

export interface Consumer {
  /** Finds the queue and begins to receive. Rejects where the queue is not there, or may not be read. */
  readonly start: () => Promise<void>
  /**
   * Receives no more, lets handlers end for `timeout` (default: `stopTimeout`, 20 seconds), aborts their signals then, and gives
   * back what is left. A consumer that was stopped is not started again.
   */
  readonly stop: (options?: { readonly timeout?: Time | undefined }) => Promise<StopReport>
  /**
   * Starts it where it is not started, and resolves when it has stopped: by `stop`, or by `stopWhenIdle`. Rejects with what it
   * failed of, or could not start for.
   */
  readonly ended: () => Promise<void>
  /** Receives no more until `resume`; what is in flight goes on. */
  readonly pause: () => void
  readonly resume: () => void
  /** Changes it while it runs. */
  readonly tune: (to: Tuning) => void
  readonly stats: () => Stats
  /** For a container's probe. */
  readonly health: () => Health
  readonly events: EventEmitter<Events>
  /** `stop()`, by `await using`. */
  readonly [Symbol.asyncDispose]: () => Promise<void>
}
