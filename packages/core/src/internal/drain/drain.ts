/**
 * Invariant 7 (drain): how a consumer ends. No receive is sent any more, and the open ones end (`Intake.stop`); what no
 * handler runs on is released; what runs may finish until the deadline and is then interrupted; the settlements are
 * flushed, for a bounded time; and what has no confirmed end then counts as lost: the queue delivers it again. A reader
 * that goes is a drain of what no stage has claimed, and the end of the last stage one of what is nobody's.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Settlement from "../../Settlement.js"
import type { Fork } from "../effect/fork.js"
import { within } from "../effect/within.js"
import type { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import type * as Source from "../lease/source.js"
import type { ConsumerMetrics } from "../observe/metrics.js"
import type { Reports } from "../observe/reports.js"
import type { Ends } from "../settle/ends.js"
import type { HandBack } from "../settle/handBack.js"
import * as Phase from "../settle/phase.js"
import type { Settlements } from "../settle/settlements.js"
import type { Report } from "./companions.js"

/** What it needs of its consumer. */
export interface Host {
  readonly runFork: Fork
  readonly table: InFlightTable
  readonly handBack: HandBack
  readonly settlements: Settlements
  readonly ends: Ends
  readonly reports: Reports
  readonly metrics: ConsumerMetrics
  readonly stopReceiving: Effect.Effect<void>
  /** Sends what lingers. */
  readonly flush: () => void
  /** The reader has gone. */
  readonly onClosed: () => void
  /** Nothing is in flight and nothing comes: no timer may be left. */
  readonly onOver: () => void
}

export class Drain implements Source.Draining<InFlight> {
  readonly #host: Host
  flushWithin: Duration.Duration
  begun = false
  afterStop: Settlement.Settlement = Settlement.release
  /** Nobody takes from the stream any more. */
  sourceClosed = false
  /** The stages that its pipeline ends in, as far as they are not over: two where its stream is run twice. */
  readonly #stages = new Set<object>()
  /** A stage that settles is, or was, at the end of its pipeline. */
  hasSettler = false
  /** Who waits for the last settlements. */
  #flushing = 0

  constructor(host: Host, flushWithin: Duration.Duration) {
    this.#host = host
    this.flushWithin = flushWithin
  }

  /** What the queue refuses now is not waited for. */
  get isEnding(): boolean {
    return this.begun || this.sourceClosed || this.#flushing > 0
  }

  /**
   * `interrupted` is how what its deadline stops goes back, and `flushWithin` what its last settlements may take: as an
   * earlier drain or the consumer has said, where it says nothing.
   */
  run(
    deadline: Duration.Duration,
    interrupted?: "release" | "leave",
    flushWithin?: Duration.Duration
  ): Effect.Effect<Report> {
    return Effect.gen(this, function* () {
      const { handBack, metrics, stopReceiving, table } = this.#host
      const before = { ...metrics.counts }
      this.begun = true
      if (interrupted !== undefined) this.afterStop = interrupted === "leave" ? Settlement.leave : Settlement.release
      if (flushWithin !== undefined) this.flushWithin = flushWithin
      yield* stopReceiving
      handBack.release(waits)
      yield* within(table.until(this.#noneClaimed()), deadline)
      yield* this.#interruptClaimed()
      yield* this.settled([...table])
      const since = (name: keyof typeof before) => metrics.counts[name] - before[name]
      return {
        finished: since("acked") + since("retried") + since("deadLettered") + since("left"),
        released: since("released"),
        lost: since("lost"),
        stranded: since("stranded")
      }
    })
  }

  /** Begins it, and does not wait. */
  start(deadline: Duration.Duration): void {
    this.#host.runFork(this.run(deadline))
  }

  /** The reader has gone: what no stage has claimed is released. Claimed deliveries are their stage's to settle. */
  readonly closeSource: Effect.Effect<void> = Effect.gen(this, function* () {
    const { handBack, onClosed, stopReceiving } = this.#host
    yield* stopReceiving
    yield* this.settled(handBack.release(unclaimed))
    this.sourceClosed = true
    onClosed()
    this.rest()
  })

  endsIn(stage: object): void {
    this.#stages.add(stage)
    this.hasSettler = true
  }

  endIsOver(stage: object): Effect.Effect<void> {
    return Effect.gen(this, function* () {
      this.#stages.delete(stage)
      if (this.#stages.size > 0 || !this.sourceClosed) return
      yield* this.settled(this.#host.handBack.release(nobodys))
      this.rest()
    })
  }

  /** Waits until these have ended, for `flushWithin` at most; then they count as lost. */
  settled(deliveries: Iterable<InFlight>): Effect.Effect<void> {
    const { ends, flush, settlements, table } = this.#host
    const waiting = new Set(deliveries)
    const lose = () => {
      for (const delivery of waiting) ends.end(delivery, "lost")
    }
    const allEnded = () => {
      for (const delivery of waiting) {
        if (delivery.outcome === undefined) return false
        waiting.delete(delivery)
      }
      return true
    }
    return Effect.suspend(() => {
      for (const delivery of waiting) if (settlements.isRefused(delivery)) ends.end(delivery, "lost")
      if (allEnded()) return Effect.void
      flush()
      this.#flushing++
      return within(table.until(allEnded), this.flushWithin).pipe(
        Effect.zipRight(Effect.sync(lose)),
        Effect.ensuring(
          Effect.sync(() => {
            this.#flushing--
          })
        )
      )
    })
  }

  abandon(delivery: InFlight): void {
    if (delivery.outcome !== undefined) return
    if (delivery.startedAt !== undefined) this.#host.reports.goesOn(delivery)
    this.#host.ends.end(delivery, "lost")
  }

  /** Looks whether it is over, as after each end. */
  rest(): void {
    if (this.#host.table.size === 0 && this.sourceClosed) this.#host.onOver()
  }

  /** Asked at each end: it goes on from where it found one, so that all of a drain looks through the table a few times. */
  #noneClaimed(): () => boolean {
    const claimed = new Set<InFlight>()
    const found = () => {
      for (const delivery of claimed) {
        if (delivery.phase === Phase.Claimed) return true
        claimed.delete(delivery)
      }
      return false
    }
    return () => {
      if (found()) return false
      for (const delivery of this.#host.table) if (delivery.phase === Phase.Claimed) claimed.add(delivery)
      return claimed.size === 0
    }
  }

  #interruptClaimed(): Effect.Effect<void> {
    const { table } = this.#host
    for (const delivery of [...table]) {
      if (delivery.phase !== Phase.Claimed) continue
      if (delivery.owner === undefined || delivery.owner.closed) delivery.settle(Settlement.release)
      else delivery.owner.interrupt(delivery)
    }
    return within(table.until(this.#noneClaimed()), this.flushWithin).pipe(
      Effect.zipRight(
        Effect.sync(() => {
          for (const delivery of [...table]) if (delivery.phase === Phase.Claimed) this.abandon(delivery)
        })
      )
    )
  }
}

const unclaimed = (delivery: InFlight): boolean => delivery.phase < Phase.Claimed

/** No stage that is still there answers for it. */
const nobodys = ({ owner, phase }: InFlight): boolean =>
  phase < Phase.Claimed || (phase === Phase.Claimed && (owner === undefined || owner.closed))

const waits = (delivery: InFlight): boolean => delivery.waits
