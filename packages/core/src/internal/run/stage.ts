/**
 * A stage runs work on the items of a stream, so many at once, without a tree of fibers for each: a driver pulls as much
 * as is of use, and starts what is ready as far as there are slots and the gate lets it; a reader takes the results as
 * they come. Invariant 5 (order) is kept by its lanes, invariant 2 (demand) begins here: what is not wanted is not pulled.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { InvalidOptions } from "../../InvalidOptions.js"
import { forkScoped } from "../effect/fork.js"
import { forkFor } from "../effect/forkFor.js"
import { fromPull, type Pull, toPull } from "../effect/pull.js"
import { Timer } from "../effect/timer.js"
import { within } from "../effect/within.js"
import { downstream } from "../handOver/downstream.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"
import { onLoop } from "../observe/loopTime.js"
import type { StageGauge, StageReadings } from "../observe/observer.js"
import * as Phase from "../settle/phase.js"
import { Held } from "./held.js"
import { InTurn } from "./inTurn.js"
import { Lanes } from "./lanes.js"
import { PipelineEnd, upstreamOf } from "./pipelineEnd.js"
import { type HowEnded, InOrder, type Ready } from "./ready.js"
import { Results } from "./results.js"
import type { RunFork } from "./runFork.js"
import { Signal } from "./signal.js"
import type { Slots } from "./slots.js"
import type { Slot, Work } from "./work.js"

/** Results that nobody has taken yet: more stop the stage. */
const mostResults = (slots: number): number => Math.max(8, slots)

class Stage<In, Out, E, R> {
  readonly #work: Work<In, Out, R>
  readonly #slots: Slots
  readonly #runFork: RunFork<R>
  readonly #unsubscribe: () => void
  readonly #lanes: Lanes<In>
  readonly #ready: Ready<In>
  readonly #inTurn: InTurn<In> | undefined
  /** Starts what has waited for its rate. */
  readonly #alarm: Timer
  readonly #held: Held<In>
  /** What is held without a lane, until it ends. */
  readonly #laneless = new Set<In>()
  /** The consumers that are told how much there is use for. */
  readonly #sources = new Set<Source<InFlight>>()
  readonly #results: Results<Out, E | InvalidOptions>
  readonly #driver = new Signal()
  #gauge: StageGauge | undefined
  readonly #readings: StageReadings
  #now = () => 0
  #closing = false
  #starting = false

  constructor(work: Work<In, Out, R>, runFork: RunFork<R>) {
    const { claims, deliveries, gate, lanes, passedOn, share, slots } = work
    this.#work = work
    this.#slots = slots
    this.#readings = {
      slots,
      waiting: () => Math.max(this.#ready.size, this.#lanes.size - slots.taken),
      circuit: () => gate?.flow
    }
    this.#runFork = runFork
    this.#alarm = new Timer(runFork)
    this.#held = new Held(runFork)
    this.#inTurn =
      share &&
      new InTurn<In>(
        share,
        (item) => deliveries(item)[0],
        (warning) => runFork(Effect.logWarning(warning))
      )
    this.#ready = this.#inTurn ?? new InOrder<In>((item) => deliveries(item)[0]?.source.queue.rank ?? 0)
    this.#lanes = new Lanes(lanes, {
      claims,
      deliveries,
      all: this.#all,
      onReady: (item) => {
        this.#ready.push(item)
        this.#pump()
      },
      onEnded: (item) => this.#leave(item),
      isHeld: (item) => this.#held.has(item)
    })
    this.#results = new Results((results) => {
      if (passedOn !== undefined) for (const result of results) passedOn(result).passOn()
      this.#pump()
    })
    const unsubscribe = slots.onChange(() => {
      this.#gauge?.resize(slots.count)
      this.#pump()
    })
    const leaveGate = gate?.onChange(() => this.#pump())
    this.#unsubscribe = () => {
      unsubscribe()
      leaveGate?.()
    }
  }

  /** Whether every item may wait here for long: it is claimed, and known until it ends. */
  get #all(): boolean {
    return this.#work.gate !== undefined || this.#work.share !== undefined
  }

  /** Whether it can work for a consumer, which starts; it fails where not. */
  readonly accepts = (source: Source<InFlight>): boolean => {
    const refusal = this.#work.share?.refuses(source)
    if (refusal === undefined) {
      this.#work.knows?.(source)
      return true
    }
    this.#results.end(Exit.fail(Option.some(refusal)))
    return false
  }

  /** It is not here any more. */
  #leave(item: In): void {
    this.#held.letGo(item)
    this.#lanes.remove(item)
    if (this.#all) this.#ready.drop(item)
    // Another of its key may have its place.
    if (this.#inTurn === undefined) this.#driver.wake()
    else this.#pump()
  }

  #free(): boolean {
    return this.#slots.free > 0 && this.#results.length < mostResults(this.#slots.count)
  }

  /** Starts what is ready, as far as there are slots and the gate lets it. */
  #pump(): void {
    // What ends as it starts leads back here: the loop goes on, and the stack does not grow with what is ready.
    if (this.#starting) return
    this.#starting = true
    try {
      this.#start()
    } finally {
      this.#starting = false
    }
    // A pull that was begun with nothing wanted may want something now.
    if (this.#all) this.#demand()
    if (this.#inTurn !== undefined) this.#setAlarm(this.#inTurn)
    if (this.#slots.taken === 0 || this.#wanted() > 0) this.#driver.wake()
  }

  #start(): void {
    const { gate, start } = this.#work
    for (;;) {
      this.#ready.resume(gate)
      if (this.#ready.size === 0 || !this.#free() || this.#closing || gate?.admits === false) return
      const item = this.#ready.shift()
      if (item === undefined) return
      this.#slots.take()
      this.#gauge?.run(this.#slots.taken)
      start(item, this.#slot(item), this.#runFork)
    }
  }

  #setAlarm(inTurn: InTurn<In>): void {
    const millis = this.#closing ? undefined : inTurn.wakesIn
    const at = millis === undefined ? Infinity : this.#now() + millis
    if (at === this.#alarm.at) return
    if (millis === undefined) this.#alarm.cancel()
    else this.#alarm.set(at, millis, () => this.#pump())
  }

  #slot(item: In): Slot<Out> {
    const inLane = this.#lanes.has(item)
    const { foresee, gate, lanes } = this.#work
    if (!inLane && !this.#all && foresee === undefined) return this.#plain
    const hold = (millis: number, results?: ReadonlyArray<Out>) => this.#hold(item, millis, results, "held")
    const wait = (millis: number, results?: ReadonlyArray<Out>) => this.#hold(item, millis, results, "notRun")
    const defer = () => {
      this.#waits(item)
      this.#ready.ends(item, "deferred")
      this.#vacate()
    }
    return {
      done: (results) => {
        this.#ready.ends(item, "done")
        if (lanes?.ackAhead === true) this.#lanes.remove(item)
        this.#vacate(results)
      },
      failed: (results) => {
        this.#ready.ends(item, "done")
        this.#vacate(results)
      },
      hold: inLane ? hold : undefined,
      defer: gate === undefined ? undefined : defer,
      wait: foresee === undefined ? undefined : wait
    }
  }

  readonly #vacate = (results?: ReadonlyArray<Out>): void => {
    this.#slots.giveBack()
    this.#gauge?.run(this.#slots.taken)
    if (results !== undefined) this.#results.push(results)
    this.#pump()
  }

  /** The slot of an item that is in no lane. */
  readonly #plain: Slot<Out> = {
    done: this.#vacate,
    failed: this.#vacate,
    hold: undefined,
    defer: undefined,
    wait: undefined
  }

  #waits(item: In): void {
    const { claims, deliveries } = this.#work
    for (const delivery of deliveries(item)) if (!delivery.isSettling) claims.waitsFromNow(delivery)
  }

  #hold(item: In, millis: number, results: ReadonlyArray<Out> | undefined, how: HowEnded): void {
    this.#waits(item)
    this.#ready.ends(item, how)
    this.#untilEnded(item)
    this.#held.hold(item, millis, (due) => {
      if (due) this.#ready.push(item)
      this.#pump()
    })
    this.#vacate(results)
    this.#lanes.hold(item)
  }

  /** What its lanes do not tell of leaves when all of it has ended. */
  #untilEnded(item: In): void {
    if (this.#all || this.#lanes.has(item) || this.#laneless.has(item)) return
    this.#laneless.add(item)
    const deliveries = this.#work.deliveries(item)
    const ended = () => {
      if (deliveries.every(({ outcome }) => outcome !== undefined) && this.#laneless.delete(item)) this.#leave(item)
    }
    for (const delivery of deliveries) delivery.onEnded(ended)
  }

  /** Takes what the upstream gave: into its lanes, or straight to what is ready. */
  #receive(items: ReadonlyArray<In>): void {
    const { deliveries, foresee } = this.#work
    const [first] = items
    const [delivery] = first === undefined ? [] : deliveries(first)
    // The first of our stages tells its consumers how much it has use for.
    if (delivery !== undefined && delivery.phase < Phase.Claimed) this.#sources.add(delivery.source)
    if (delivery !== undefined) this.#measure(delivery.source)
    for (const item of items) this.#admit(item)
    this.#pump()
    // What waits here for a slot is not forgotten. Where it shares, it is claimed.
    if (this.#work.share !== undefined && foresee === undefined) return
    for (const item of this.#ready.items) {
      for (const waiting of deliveries(item)) waiting.awaited = true
      foresee?.(item, this.#runFork)
    }
  }

  #admit(item: In): void {
    if (!this.#ready.admits(item)) return
    if (!this.#lanes.admit(item)) this.#ready.push(item)
    // It may have been sent back, or have ended.
    if (this.#inTurn !== undefined && this.#work.deliveries(item).every(({ isSettling }) => isSettling)) {
      this.#ready.drop(item)
    }
  }

  /** A stage without a bound has no slots to be busy. */
  #measure({ clock, observer }: Source<InFlight>): void {
    this.#now = () => clock.now()
    if (this.#slots.tunable === undefined) return
    this.#gauge ??= observer.gauge(clock, this.#readings)
    if (this.#gauge !== undefined) observer.stages.add(this.#gauge)
  }

  /**
   * How many more items are of use, beside those that are ready: a few more than there are free slots, since in a busy
   * stage slots come free one at a time, and each pull has its price.
   */
  #wanted(): number {
    const { count, free } = this.#slots
    const flow = this.#work.gate?.flow
    const ready = this.#ready.useful
    if (this.#results.length >= mostResults(count) || flow === "none") return 0
    if (flow === "probes") return ready > 0 ? 0 : 1
    if (ready > Math.floor(count / 8)) return 0
    return free + Math.floor(count / 4) - ready
  }

  /** Demand travels upstream here. False where there is none. */
  readonly #wants = (): boolean => {
    if (this.#wanted() <= 0 && !this.#mayWatch()) return false
    this.#demand()
    return true
  }

  readonly #untilWanted = this.#driver.until(this.#wants)

  #demand(): void {
    const wanted = Math.max(0, this.#wanted())
    for (const { demand } of this.#sources) demand.wants(wanted)
  }

  // With the gate shut the upstream is pulled all the same, with nothing wanted, so that its end is noticed: a drain does
  // not wait for a gate. Before the first delivery, or behind another stage, there is nobody to tell: then what comes
  // is little, since the next pull waits for its end.
  #mayWatch(): boolean {
    return this.#work.gate?.flow === "none" && (this.#sources.size > 0 || this.#ready.size === 0)
  }

  // With lanes, what waits in one counts as begun: it is claimed, and the source may have gone.
  readonly #untilIdle = this.#driver.until(
    () => this.#slots.taken === 0 && this.#ready.size + this.#held.size + this.#lanes.size === 0
  )

  readonly #untilStill = this.#driver.until(() => this.#slots.taken === 0)

  /** Runs until the upstream ends, then until all that it began is done. */
  drive<RX>(pull: Pull<In, E, RX>): Effect.Effect<void, never, RX> {
    const { claims, settles } = this.#work
    const receive: Effect.Effect<never, Option.Option<E>, RX> = Effect.flatMap(pull, (chunk) => {
      this.#receive(Chunk.toReadonlyArray(chunk))
      return receiveWanted
    })
    const receiveWanted = Effect.zipRight(this.#untilWanted, receive)
    return receiveWanted.pipe(
      Effect.exit,
      Effect.tap(this.#untilIdle),
      Effect.tap(settles ? claims.settled : Effect.void),
      Effect.map((exit: Exit.Exit<never, Option.Option<E>>) => this.#results.end(exit))
    )
  }

  get pull(): Effect.Effect<Chunk.Chunk<Out>, Option.Option<E | InvalidOptions>> {
    return this.#results.pull
  }

  /** Ends early: interrupts what runs, releases what is left, and waits until the queue has confirmed it. */
  readonly close: Effect.Effect<void> = Effect.gen(this, function* () {
    const { claims, deliveries } = this.#work
    this.#unsubscribe()
    this.#alarm.cancel()
    this.#gauge?.resize(0)
    if (!this.#results.isDone) {
      this.#closing = true
      // What has come and waits for a slot is known to nobody else.
      for (const item of this.#ready.items) for (const delivery of deliveries(item)) claims.claim(delivery)
      yield* claims.stopReceiving
      this.#held.letAllGo()
      claims.interruptAll()
      yield* within(this.#untilStill, claims.patience)
      claims.abandonWorking()
      claims.interruptAll()
      yield* claims.settled
    }
    claims.closed = true
  })
}

/** Runs a stage's work on the items of a stream; `make` is called once for each run of it. */
export const dispatch = <In, Out, E, R, R2>(
  self: Stream.Stream<In, E, R>,
  make: () => Work<In, Out, R2>
): Stream.Stream<Out, E | InvalidOptions, R | R2> =>
  fromPull(
    Effect.gen(function* () {
      const runFork = yield* forkFor<InFlight, R2>(onLoop)
      // Before the upstream is opened, and so done when all of it has closed: what a stage has passed on, and an operator
      // between holds, no other stage releases.
      const end = new PipelineEnd()
      yield* Effect.addFinalizer(() => end.isOver)
      const pull = yield* toPull(self)
      const work = make()
      const stage = new Stage<In, Out, E, R2>(work, runFork)
      yield* Effect.addFinalizer(() => stage.close)
      const drive = stage.drive(pull)
      yield* forkScoped(downstream.locallyWith(drive, upstreamOf(work, stage.accepts, end, runFork)))
      return stage.pull
    })
  )
