/** What a stage warns about, once: what a consumer cannot do for it, as it stands. */
import * as Effect from "effect/Effect"
import * as RetryPolicy from "../../RetryPolicy.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"
import type { RunFork } from "./runFork.js"
import type { Slots } from "./slots.js"

/** What its queue cannot do for a policy, once a consumer. */
export class PolicyWarnings {
  readonly #said = new Set<string>()

  look(policy: RetryPolicy.RetryPolicy<never>, { queue }: Source<InFlight>, runFork: RunFork<never>): void {
    for (const warning of RetryPolicy.warnings(policy, queue)) {
      if (this.#said.has(warning)) continue
      this.#said.add(warning)
      runFork(Effect.logWarning(warning))
    }
  }
}

/** More work at a time than the consumers of a stage may have in flight together. */
export class SizeWarning {
  readonly #slots: Slots
  readonly #max: number | undefined
  readonly #sources = new Set<Source<InFlight>>()
  #begun = false

  /** `max` is how many make a full batch. */
  constructor(slots: Slots, max?: number) {
    this.#slots = slots
    this.#max = max
  }

  onStart(source: Source<InFlight>): void {
    this.#sources.add(source)
  }

  /** The work begins: all consumers are known. */
  begin(runFork: RunFork<never>): void {
    if (this.#begun || this.#sources.size === 0) return
    this.#begun = true
    const sources = [...this.#sources]
    const bounds = new Set(sources.map(({ demand }) => demand.bound))
    const all = [...bounds].reduce((sum, bound) => sum + bound.unsafeGet(), 0)
    const names = sources.map(({ queue }) => queue.name).join(", ")
    const { count, tunable } = this.#slots
    const max = this.#max
    if (max !== undefined && max > all) {
      const advice = `max is ${max}, and at most ${all} messages of ${names} are in flight: no batch is ever full, and each waits for its time; raise maxInFlight to twice max or more, or lower max`
      runFork(Effect.logWarning(advice))
    } else if (count > all && tunable !== undefined) {
      const advice = `concurrency is ${count}, and at most ${all} messages of ${names} are in flight: no more handlers than that ever run; raise maxInFlight above concurrency, or lower concurrency`
      runFork(Effect.logWarning(advice))
    }
  }
}
