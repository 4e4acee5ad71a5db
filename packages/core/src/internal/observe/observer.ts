import * as Effect from "effect/Effect"
import type * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import { Quantiles } from "../data/quantiles.js"
import { SpaceSaving } from "../data/spaceSaving.js"

/** Counts times by bucket. */
export class Recorder {
  #count = 0
  #sum = 0
  readonly #buckets: Array<number> = []

  add(millis: number): void {
    const bucket = Histogram.bucketOf(millis)
    while (this.#buckets.length <= bucket) this.#buckets.push(0)
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1
    this.#count++
    this.#sum += millis
  }

  get histogram(): Histogram.Histogram {
    return { count: this.#count, sum: this.#sum, buckets: this.#buckets.slice() }
  }
}

/** Adds up the time in which something holds. */
export class Stopwatch {
  #total = 0
  #since: number | undefined

  set(on: boolean, now: number): void {
    if (on === (this.#since !== undefined)) return
    if (this.#since !== undefined) this.#total += now - this.#since
    this.#since = on ? now : undefined
  }

  at(now: number): number {
    return this.#total + (this.#since === undefined ? 0 : now - this.#since)
  }
}

/** What can be read of a stage at any time. */
export interface StageReadings {
  readonly slots: { readonly count: number; readonly taken: number }
  readonly waiting: () => number
  readonly circuit: () => Figures.Stage["circuit"]
}

/** The slots of one stage over time. A stage that serves several consumers has one, and each of them lists it. */
export class StageGauge {
  #running: number
  #slots: number
  #at: number
  #slotTime = 0
  #busyTime = 0
  readonly #clock: { readonly now: () => number }
  readonly #readings: StageReadings

  constructor(clock: { readonly now: () => number }, readings: StageReadings) {
    this.#running = readings.slots.taken
    this.#slots = readings.slots.count
    this.#clock = clock
    this.#at = clock.now()
    this.#readings = readings
  }

  #pass(): void {
    const now = this.#clock.now()
    const elapsed = now - this.#at
    this.#at = now
    this.#slotTime += elapsed * this.#slots
    this.#busyTime += elapsed * this.#running
  }

  run(running: number): void {
    this.#pass()
    this.#running = running
  }

  resize(slots: number): void {
    this.#pass()
    this.#slots = slots
  }

  get stage(): Figures.Stage {
    this.#pass()
    return {
      slots: this.#slots,
      running: this.#running,
      waiting: this.#readings.waiting(),
      slotTime: this.#slotTime,
      busyTime: this.#busyTime,
      circuit: this.#readings.circuit()
    }
  }
}

/** The latest so many of something. */
class Latest<A> {
  readonly #items: Array<A> = []
  readonly #size: number
  #next = 0

  constructor(size: number) {
    this.#size = size
  }

  add(item: A): void {
    this.#items[this.#next] = item
    this.#next = (this.#next + 1) % this.#size
  }

  /** The oldest first. */
  get items(): Array<A> {
    return [...this.#items.slice(this.#next), ...this.#items.slice(0, this.#next)]
  }
}

interface Sum {
  handlers: number
  time: number
}

/** Tags may be made of what messages say: so many kinds of failures are told apart, and so much of each is kept. */
const mostKinds = 100
const longestKind = 100
const otherKinds = "others"

/** What a consumer's parts tell of, and may ask again. */
export interface Observing {
  /** Handlers that run now. */
  running: number
  deferredFor: number
  readonly loopHeldBy: Figures.LoopHeld | undefined
  readonly queued: Pick<Recorder, "add">
  readonly waited: Pick<Recorder, "add">
  readonly settled: Pick<Recorder, "add">
  readonly full: Pick<Stopwatch, "set">
  readonly stages: { readonly add: (gauge: StageGauge) => void }
  /** For a stage that has none yet; none where nothing is measured. */
  readonly gauge: (clock: { readonly now: () => number }, readings: StageReadings) => StageGauge | undefined
  readonly byGroup: Pick<SpaceSaving, "add">
  readonly ran: (millis: number, running: number, succeeded: boolean) => void
  readonly loopHeld: (held: Figures.LoopHeld) => void
  readonly failed: (failure: Figures.Failure) => void
  readonly received: (group: string | undefined) => void
  /** The same queue, with its calls measured. */
  readonly timed: <E>(queue: LeaseQueue.LeaseQueue<E>, now: () => number) => LeaseQueue.LeaseQueue<E>
}

/** What one consumer measures, beside what it counts, for who asks for its figures. */
export class Observer implements Observing {
  readonly queued = new Recorder()
  readonly waited = new Recorder()
  readonly handler = new Recorder()
  readonly settled = new Recorder()
  readonly calls: Readonly<Record<Figures.Operation, Recorder>> = {
    receive: new Recorder(),
    ack: new Recorder(),
    setLease: new Recorder(),
    deadLetter: new Recorder()
  }
  /** How long handlers took of late. */
  readonly handlerMillis = new Quantiles()
  readonly failedCalls: Record<LeaseQueue.ErrorKind, number> = { throttled: 0, transient: 0, fatal: 0 }
  readonly full = new Stopwatch()
  readonly stages = new Set<StageGauge>()
  readonly failures = new Map<string, number>()
  readonly recentFailures = new Latest<Figures.Failure>(100)
  readonly #groups = new Latest<string>(1000)
  running = 0
  failedTime = 0
  deferredFor = 0
  /** By bucket, so that it stays small at any concurrency. */
  readonly #byRunning = new Map<number, Sum>()

  ran(millis: number, running: number, succeeded: boolean): void {
    this.handler.add(millis)
    this.handlerMillis.add(millis)
    if (!succeeded) this.failedTime += millis
    const level = running <= 8 ? running : Math.round(Histogram.middleOf(Histogram.bucketOf(running)))
    const sum = this.#byRunning.get(level)
    if (sum === undefined) {
      this.#byRunning.set(level, { handlers: 1, time: millis })
    } else {
      sum.handlers++
      sum.time += millis
    }
  }

  loopHeldFor = 0
  loopHeldBy: Figures.LoopHeld | undefined

  loopHeld(held: Figures.LoopHeld): void {
    this.loopHeldFor += held.millis
    this.loopHeldBy = held
  }

  failed(failure: Figures.Failure): void {
    const error = failure.error.length > longestKind ? `${failure.error.slice(0, longestKind)}…` : failure.error
    const kind = this.failures.has(error) || this.failures.size < mostKinds ? error : otherKinds
    this.failures.set(kind, (this.failures.get(kind) ?? 0) + 1)
    this.recentFailures.add({ ...failure, error })
  }

  /** The handlers' time of late, by group: of however many, those that have most. */
  readonly byGroup = new SpaceSaving(100, 60_000)

  received(group: string | undefined): void {
    if (group !== undefined) this.#groups.add(group)
  }

  get byRunning(): ReadonlyArray<Figures.AtRunning> {
    return [...this.#byRunning]
      .map(([running, { handlers, time }]) => ({ running, handlers, time }))
      .sort((a, b) => a.running - b.running)
  }

  /** Which part each group has of what was received of late. */
  get shares(): ReadonlyMap<string, number> {
    const groups = this.#groups.items
    const shares = new Map<string, number>()
    for (const group of groups) shares.set(group, (shares.get(group) ?? 0) + 1 / groups.length)
    return shares
  }

  gauge(clock: { readonly now: () => number }, readings: StageReadings): StageGauge {
    return new StageGauge(clock, readings)
  }

  timed<E>(queue: LeaseQueue.LeaseQueue<E>, now: () => number): LeaseQueue.LeaseQueue<E> {
    const timed = <A>(
      operation: Figures.Operation,
      call: Effect.Effect<A, E>,
      counts: (answer: A) => boolean
    ): Effect.Effect<A, E> =>
      Effect.suspend(() => {
        const sentAt = now()
        return Effect.matchCauseEffect(call, {
          onSuccess: (answer) => {
            if (counts(answer)) this.calls[operation].add(now() - sentAt)
            return Effect.succeed(answer)
          },
          onFailure: (cause) => {
            if (cause._tag === "Fail") this.failedCalls[queue.errorKind(cause.error)]++
            return Effect.failCause(cause)
          }
        })
      })
    const always = () => true
    const deadLetter = queue.deadLetter?.bind(queue)
    return {
      name: queue.name,
      limits: queue.limits,
      leaseDuration: queue.leaseDuration,
      maxAttempts: queue.maxAttempts,
      connections: queue.connections,
      errorKind: (error) => queue.errorKind(error),
      receive: (request) => timed("receive", queue.receive(request), ({ length }) => length === request.max),
      ack: (leases) => timed("ack", queue.ack(leases), always),
      setLease: (entries) => timed("setLease", queue.setLease(entries), always),
      deadLetter: deadLetter && ((entries) => timed("deadLetter", deadLetter(entries), always))
    }
  }
}
