/** Looks now and then, while anything is in flight, for deliveries that nobody answers for, and for a stream that is stuck. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Settlement from "../../Settlement.js"
import type { Fork } from "../effect/fork.js"
import { Timer } from "../effect/timer.js"
import type { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import type { Permits } from "../receive/permits.js"
import type { Ends } from "../settle/ends.js"

/** What it needs of its consumer. */
export interface Host {
  readonly queueName: string
  readonly runFork: Fork
  readonly now: () => number
  readonly table: InFlightTable
  readonly ends: Ends
  readonly permits: Pick<Permits, "allInFlight" | "max">
  /** When something of any who share the permits has last ended, where no stage works on anything. */
  readonly idleSince: () => number | undefined
  /** Whether a stage of its pipeline settles, as that said when the stream began. */
  readonly hasSettler: () => boolean
  /** Nobody takes from the stream any more. */
  readonly isClosed: () => boolean
}

/** Before a pipeline without a stage that settles is warned about, in milliseconds, and messages that a warning names. */
const unsettledAfter = 10_000
const mostNamed = 10

export class Watchdog {
  readonly #host: Host
  readonly #warnAfter: number
  readonly #warned = new WeakSet<InFlight>()
  #toldUnsettled = false
  readonly #timer: Timer

  constructor(host: Host, warnAfter: Duration.Duration) {
    this.#host = host
    this.#warnAfter = Duration.toMillis(warnAfter)
    this.#timer = new Timer(host.runFork)
  }

  start(): void {
    const { now, table } = this.#host
    if (this.#timer.isSet || table.size === 0) return
    const patience = this.#patience
    this.#timer.set(now() + patience, patience, () => {
      this.#look()
      this.start()
    })
  }

  stop(): void {
    this.#timer.cancel()
  }

  /** When something has last ended, where no stage works on anything. */
  get idleSince(): number | undefined {
    const { ends, table } = this.#host
    for (const { isWorkedOn } of table) if (isWorkedOn) return undefined
    return ends.latest
  }

  /** Before what nobody answers for is warned about: less where no stage settles and nothing has ended by another's hand. */
  get #patience(): number {
    return this.#unsettling ? Math.min(this.#warnAfter, unsettledAfter) : this.#warnAfter
  }

  get #unsettling(): boolean {
    const { ends, hasSettler } = this.#host
    return !hasSettler() && !this.#toldUnsettled && ends.none
  }

  #look(): void {
    const { now, runFork } = this.#host
    const overdue = now() - this.#patience
    for (const message of [...this.#lookForForgotten(overdue), ...this.#lookForStuck(overdue)]) {
      runFork(Effect.logWarning(message))
    }
  }

  #lookForForgotten(overdue: number): ReadonlyArray<string> {
    const { isClosed, queueName, table } = this.#host
    const unsettling = this.#unsettling
    const forgotten = [...table].filter(
      (delivery) => !this.#warned.has(delivery) && (delivery.unattendedSince ?? Infinity) <= overdue
    )
    for (const delivery of forgotten) {
      this.#warned.add(delivery)
      if (isClosed()) delivery.settle(Settlement.release)
    }
    if (forgotten.length === 0) return []
    if (unsettling) this.#toldUnsettled = true
    const ids = forgotten.slice(0, mostNamed).map((delivery) => delivery.message.id)
    if (forgotten.length > mostNamed) ids.push(`and ${forgotten.length - mostNamed} more`)
    const which = `${forgotten.length} deliveries of ${queueName} were taken from the stream and never claimed or settled (${ids.join(", ")})`
    return [
      unsettling
        ? `${which}, since no stage settles them: end the pipeline with Pipeline.process, or settle them yourself (delivery.ack and the like)`
        : `${which}: end the pipeline with Pipeline.process, or settle them yourself; where it ends so, an operator drops or holds them: use Pipeline.filter and Pipeline.batch`
    ]
  }

  #lookForStuck(overdue: number): ReadonlyArray<string> {
    const { idleSince, now, permits, queueName } = this.#host
    if (permits.allInFlight < permits.max) return []
    const since = idleSince()
    if (since === undefined || since > overdue) return []
    return [
      `the stream of ${queueName} is stuck: all ${permits.max} permits are taken, no stage works on any of them, and none has been settled for ${Duration.format(Duration.millis(now() - since))}`
    ]
  }
}
