/**
 * Invariant 3 (one settlement): every delivery ends exactly once. Its phases go one way only, `beginSettling` is the only
 * door to `Settling`, and `end` the only one to `Ended`.
 */
import type * as Settlement from "../../Settlement.js"
import * as Phase from "./phase.js"

export abstract class OneSettlement {
  phase: Phase.Phase = Phase.Prefetched
  /** How it ended. */
  outcome: Settlement.Outcome | undefined
  #onEnded: Array<(outcome: Settlement.Outcome) => void> | undefined

  /** Its settlement begins, or it ends without one: told once. */
  protected abstract begins(): void
  /** Told once, before those that wait for its end. */
  protected abstract ends(): void

  get isSettling(): boolean {
    return this.phase >= Phase.Settling
  }

  /** Closes the door to any other settlement. False where it is closed already. */
  beginSettling(): boolean {
    if (this.phase >= Phase.Settling) return false
    this.phase = Phase.Settling
    this.begins()
    return true
  }

  /** For who keeps count of what is in flight. False where it had ended before. */
  end(outcome: Settlement.Outcome): boolean {
    if (this.phase === Phase.Ended) return false
    this.beginSettling()
    this.phase = Phase.Ended
    this.outcome = outcome
    this.ends()
    for (const f of this.#onEnded ?? []) f(outcome)
    return true
  }

  /** Calls back when it ends, or at once where it has. */
  onEnded(f: (outcome: Settlement.Outcome) => void): void {
    if (this.outcome !== undefined) f(this.outcome)
    else if (this.#onEnded === undefined) this.#onEnded = [f]
    else this.#onEnded.push(f)
  }
}
