import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Stream from "effect/Stream"
import type * as LeaseQueue from "../../LeaseQueue.js"
import * as Sequencer from "../../Sequencer.js"
import * as Settlement from "../../Settlement.js"
import type { Tunable } from "../../Tunable.js"
import { legibleRuntime } from "../effect/legible.js"
import { within } from "../effect/within.js"
import { type Introduction, introduction } from "../handOver/downstream.js"
import { type Custodian, type InFlight, type Owner, Phase } from "../lease/inFlight.js"
import { onLoop, Turns } from "../observe/loopTime.js"
import { StageGauge } from "../observe/observer.js"

// Not a concurrent `forEach`: one that is interrupted at the wrong moment never ends (Effect 3.22).
const together = <A>(items: ReadonlyArray<A>, f: (item: A) => Effect.Effect<void>): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.forEach(items, (item) => Effect.fork(f(item))),
    (fibers) => Effect.forEach(fibers, (fiber) => Fiber.await(fiber), { discard: true })
  )

/** The deliveries that a stage answers for, and the fibers that work on them. */
export class Claims implements Owner {
  closed = false
  readonly held = new Set<InFlight>()
  readonly #waiting = new Set<InFlight>()
  readonly #working = new Map<InFlight, Fiber.RuntimeFiber<unknown, unknown>>()
  readonly #stopped = new WeakSet<Fiber.RuntimeFiber<unknown, unknown>>()

  /** How long what it interrupts may take to end: as long as the most patient of its consumers says. */
  patience: Duration.Duration = Duration.zero
  #latest: Custodian | undefined

  claim(delivery: InFlight): boolean {
    if (!delivery.claim(this)) return false
    if (delivery.custodian !== this.#latest) {
      this.#latest = delivery.custodian
      this.patience = Duration.max(this.patience, delivery.custodian.flushWithin)
    }
    this.held.add(delivery)
    return true
  }

  left(delivery: InFlight): void {
    this.held.delete(delivery)
    this.#waiting.delete(delivery)
  }

  /** It waits its turn in a lane, or runs no more until its retry. */
  parks(delivery: InFlight): void {
    this.#waiting.add(delivery)
  }

  waits(delivery: InFlight): boolean {
    return this.#waiting.has(delivery)
  }

  works(delivery: InFlight, fiber: Fiber.RuntimeFiber<unknown, unknown>): void {
    const { custodian, receivedAt } = delivery
    const { observer } = custodian
    delivery.startedAt = custodian.now()
    delivery.startedWith = ++observer.running
    if (delivery.retries + delivery.holds === 0) observer.waited.add(delivery.startedAt - receivedAt)
    this.#working.set(delivery, fiber)
  }

  /** No handler runs on it: it waits for what its policy says. That ends like a handler, should it be interrupted. */
  ponders(delivery: InFlight, fiber: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.#working.set(delivery, fiber)
  }

  rests(delivery: InFlight): void {
    if (delivery.startedAt !== undefined) delivery.custodian.observer.running--
    delivery.startedAt = undefined
    this.#working.delete(delivery)
  }

  interrupt(delivery: InFlight): void {
    if (!this.#stop(delivery, FiberId.none)) delivery.settle(Settlement.release)
  }

  lose(delivery: InFlight): void {
    this.#stop(delivery, Settlement.leaseLostId)
  }

  #stop(delivery: InFlight, by: FiberId.FiberId): boolean {
    const fiber = this.#working.get(delivery)
    if (fiber === undefined) return false
    this.#stopped.add(fiber)
    fiber.unsafeInterruptAsFork(by)
    return true
  }

  /** Whether it ended because it was told to, by a stop or a lost lease, and not as interrupted by its own doing. */
  stopped<A, E>(fiber: Fiber.RuntimeFiber<A, E>, exit: Exit.Exit<A, E>): boolean {
    return Exit.isFailure(exit) && Cause.isInterrupted(exit.cause) && this.#stopped.has(fiber)
  }

  interruptAll(): void {
    for (const delivery of [...this.held]) this.interrupt(delivery)
  }

  /** What does not end though it was interrupted is waited for no longer. */
  abandonWorking(): void {
    for (const delivery of [...this.#working.keys()]) delivery.custodian.abandon(delivery)
  }

  #custodians(): Map<Custodian, Array<InFlight>> {
    const custodians = new Map<Custodian, Array<InFlight>>()
    for (const delivery of this.held) {
      const deliveries = custodians.get(delivery.custodian)
      if (deliveries === undefined) custodians.set(delivery.custodian, [delivery])
      else deliveries.push(delivery)
    }
    return custodians
  }

  /** What is released comes straight back to a receive that is still open, so receives end first. */
  readonly stopReceiving: Effect.Effect<void> = Effect.suspend(() =>
    together([...this.#custodians().keys()], (custodian) => custodian.stopReceiving)
  )

  /** Waits until all that is held has ended, for the time that its consumers allow. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() =>
    together([...this.#custodians()], ([custodian, deliveries]) => custodian.settled(deliveries))
  )
}

const noLanes: ReadonlyArray<string | undefined> = []

/** One item's right to run; given back by the first of these to be called. */
export interface Slot<in Out> {
  /** It is done with, and has become so much. */
  readonly done: (...results: ReadonlyArray<Out>) => void
  /** The same for one that has failed: what is behind it in its lane waits for its end, also where an ack is not waited for. */
  readonly failed: (...results: ReadonlyArray<Out>) => void
  /** It runs again after this long; its lane waits for it meanwhile, and nothing else does. So much has come of it already. */
  readonly hold: ((millis: number, ...results: ReadonlyArray<Out>) => void) | undefined
  /** It could not run after all: it runs as soon as the gate lets it. */
  readonly defer: (() => void) | undefined
  /** It cannot run yet: the same as `hold`, in a lane or not. Where the stage `foresees`. */
  readonly wait: ((millis: number, ...results: ReadonlyArray<Out>) => void) | undefined
}

/** What can keep a stage from starting anything for a while. */
export interface Gate {
  /** Whether everything may start, only so many as a probe, or nothing; and with nothing, nothing is asked for. */
  readonly flow: "all" | "probes" | "none"
  /** Whether one more may start now. */
  readonly admits: boolean
  /** Calls back when either may have changed, until it is cancelled. */
  readonly onChange: (listener: () => void) => () => void
}

/** What keeps the items of a group in order. */
export interface Lanes<in In> {
  /**
   * The lane of each of an item's deliveries, in their order: one item of a lane runs at a time. None: it waits for
   * nobody.
   */
  readonly of: (item: In) => ReadonlyArray<string | undefined>
  /** Whether an item may be in several lanes. */
  readonly mixed: boolean
  /** Begin with the next before the settlement of the one before is confirmed. */
  readonly ackAhead: boolean
}

export interface Options<in In, Out, R> {
  /** Items worked on at once. */
  readonly concurrency: Tunable
  readonly claims: Claims
  readonly deliveries: (item: In) => ReadonlyArray<InFlight>
  readonly lanes: Lanes<In> | undefined
  readonly gate?: Gate | undefined
  /** Whether the stage settles what it claims, and so ends only when that is confirmed. */
  readonly settles: boolean
  /** Told, now and then, of an item that waits for nothing but a slot. Such a stage may find that an item has to wait. */
  readonly foresee?: ((item: In, runFork: RunFork<R>) => void) | undefined
  /** Told of a consumer as its stream starts. */
  readonly meets?: ((custodian: Custodian, runFork: RunFork<R>) => void) | undefined
  /** The delivery that a result is, where the stage passes it on. */
  readonly passedOn?: ((result: Out) => InFlight) | undefined
  /** Starts the work on one item and returns; calls one of `slot` once, then or later. */
  readonly start: (item: In, slot: Slot<Out>, runFork: RunFork<R>) => void
}

/**
 * Runs an effect in a fiber of its own, for one delivery or a batch of them where it is given: how long that holds the event
 * loop is the first one's to answer for, and the logs name a delivery that is alone.
 */
export type RunFork<R> = <A, E>(
  effect: Effect.Effect<A, E, R>,
  held?: InFlight,
  batched?: boolean
) => Fiber.RuntimeFiber<A, E>

// Set as the fiber begins: `Effect.annotateLogs` would cost as much as all the rest.
const annotatedFork = <R>(runtime: Runtime.Runtime<R>): RunFork<R> => {
  const runFork = Runtime.runFork(runtime)
  const fiberRef = FiberRef.currentLogAnnotations
  const outer = FiberRefs.getOrDefault(runtime.fiberRefs, fiberRef)
  const firstAttempt = HashMap.set(outer, "attempt", 1)
  const annotations = ({ attempt, group, id }: LeaseQueue.Message) => {
    const named = attempt === 1 ? firstAttempt : HashMap.set(outer, "attempt", attempt)
    return HashMap.set(group === undefined ? named : HashMap.set(named, "group", group), "messageId", id)
  }
  const scheduler = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentScheduler)
  return (effect, held, batched = false) => {
    if (held === undefined) return runFork(effect)
    const what = batched ? "the handler of its batch" : "its handler or policy"
    return onLoop(held, what, () =>
      runFork(effect, {
        // The new fiber's own: `FiberRefs.updateAs` would copy all of them once more for each message.
        updateRefs: (refs, fiberId) => {
          refs.locals.set(FiberRef.currentScheduler, [[fiberId, new Turns(held, what, scheduler)]])
          if (!batched) refs.locals.set(fiberRef, [[fiberId, annotations(held.message)]])
          return refs
        }
      })
    )
  }
}

const drop = <A>(items: Array<A>, item: A): void => {
  const i = items.indexOf(item)
  if (i >= 0) items.splice(i, 1)
}

/** Results that nobody has taken yet: more stop the stage. */
const mostResults = (slots: number): number => Math.max(16, slots)

class Dispatcher<In, Out, E, R> {
  readonly #options: Options<In, Out, R>
  readonly #runFork: RunFork<R>
  readonly #unsubscribe: () => void
  readonly #sequencer: Sequencer.Sequencer<In> | undefined
  /** Deliveries in flight, by lane. */
  readonly #perLane = new Map<string, number>()
  #running = 0
  /** What may run as soon as there is a slot. */
  readonly #ready: Array<In> = []
  /** What runs again after a while, by its timer. */
  readonly #held = new Map<In, Fiber.RuntimeFiber<void>>()
  /** What has been held without a lane. */
  readonly #watched = new Set<In>()
  /** What the gate has turned back; in its lane's place still. */
  readonly #deferred: Array<In> = []
  readonly #sources = new Set<Custodian>()
  #gauge: StageGauge | undefined
  #results: Array<Out> = []
  #closing = false
  /** The reader knows of the end: it has taken all that came before. */
  #told = false
  #end: Exit.Exit<never, Option.Option<E>> | undefined
  #wakeReader: (() => void) | undefined
  #wakeDriver: (() => void) | undefined
  #readerMissed = false
  #driverMissed = false

  constructor(options: Options<In, Out, R>, runFork: RunFork<R>) {
    this.#options = options
    this.#runFork = runFork
    const pump = () => this.#pump()
    const unsubscribe = options.concurrency.unsafeSubscribe(() => {
      this.#gauge?.resize(options.concurrency.unsafeGet())
      pump()
    })
    const leaveGate = options.gate?.onChange(pump)
    this.#unsubscribe = () => {
      unsubscribe()
      leaveGate?.()
    }
    const { deliveries, lanes } = options
    this.#sequencer =
      lanes &&
      Sequencer.make<In>({
        onReady: (item) => {
          this.#ready.push(item)
          this.#pump()
        },
        mayRun: (item) => deliveries(item).some((delivery) => delivery.phase < Phase.Settling)
      })
  }

  /**
   * Puts an item into its lanes, where it waits its turn. False where it has none. What may wait at a gate is claimed
   * too: a drain gives it back.
   */
  #admit(item: In): boolean {
    const { claims, deliveries, gate, lanes } = this.#options
    const laneOf = lanes?.of(item) ?? noLanes
    if (gate === undefined && laneOf.every((lane) => lane === undefined)) return false
    /** Deliveries of the item that have not ended, by lane. */
    const left = new Map<string, number>()
    let held = 0
    deliveries(item).forEach((delivery, i) => {
      // Released meanwhile, or more than its share: one group must not take all permits.
      if (!claims.claim(delivery)) return
      const lane = laneOf[i]
      if (lane !== undefined && this.#overflows(lane, delivery)) {
        delivery.settle(delivery.custodian.overflow(delivery))
        return
      }
      held++
      claims.parks(delivery)
      delivery.urgent = lane !== undefined && lanes?.ackAhead === false
      if (lane !== undefined) {
        delivery.custodian.joins(delivery, lane)
        left.set(lane, (left.get(lane) ?? 0) + 1)
        this.#perLane.set(lane, (this.#perLane.get(lane) ?? 0) + 1)
      }
      delivery.onEnded(() => {
        const ofLane = lane === undefined ? undefined : this.#ends(lane, left)
        if (--held === 0) this.#leave(item)
        else if (lane !== undefined && ofLane === 0) this.#sequencer?.leave(lane, item)
      })
    })
    if (held === 0) return true
    if (left.size > 0) this.#sequencer?.add([...left.keys()], item)
    if (lanes?.mixed === true) for (const lane of left.keys()) if (this.#isHeldUp(lane)) this.#uncouple(lane)
    return left.size > 0
  }

  #isHeldUp(lane: string): boolean {
    const [first] = this.#sequencer?.in(lane) ?? []
    return first !== undefined && this.#held.has(first)
  }

  /** What waits behind a held item, and is in an item together with others, would hold those up: it goes back. */
  #uncouple(lane: string): void {
    const { deliveries, lanes } = this.#options
    const [, ...behind] = this.#sequencer?.in(lane) ?? []
    for (const item of behind) {
      const laneOf = lanes?.of(item) ?? noLanes
      const staying = deliveries(item).map((delivery, i) => ({ delivery, isInIt: laneOf[i] === lane }))
      if (!staying.some(({ delivery, isInIt }) => !isInIt && !delivery.isSettling)) continue
      for (const { delivery, isInIt } of staying) if (isInIt) delivery.settle(delivery.custodian.overflow(delivery))
    }
  }

  /** How many of the item are left in the lane. */
  #ends(lane: string, left: Map<string, number>): number {
    const all = (this.#perLane.get(lane) ?? 1) - 1
    if (all === 0) this.#perLane.delete(lane)
    else this.#perLane.set(lane, all)
    const ofItem = (left.get(lane) ?? 1) - 1
    left.set(lane, ofItem)
    return ofItem
  }

  #overflows(lane: string, { custodian }: InFlight): boolean {
    return (this.#perLane.get(lane) ?? 0) >= Math.ceil(custodian.maxInFlight / 2)
  }

  #leave(item: In): void {
    this.#held.get(item)?.unsafeInterruptAsFork(FiberId.none)
    this.#sequencer?.remove(item)
    if (this.#options.gate !== undefined) {
      drop(this.#ready, item)
      drop(this.#deferred, item)
    }
    this.#wake("driver")
  }

  #free(): boolean {
    const slots = this.#options.concurrency.unsafeGet()
    return this.#running < slots && this.#results.length < mostResults(slots)
  }

  /** Starts what is ready, as far as there are slots and the gate lets it. */
  #pump(): void {
    const { gate } = this.#options
    if (this.#deferred.length > 0 && gate?.flow === "all") this.#ready.unshift(...this.#deferred.splice(0))
    while (this.#ready.length + this.#deferred.length > 0 && this.#free() && !this.#closing && gate?.admits !== false) {
      // Others first, as probes: one that trips for its own sake must not be all that is tried.
      const item = (this.#ready.length > 0 ? this.#ready : this.#deferred).shift() as In
      this.#gauge?.run(++this.#running)
      this.#options.start(item, this.#slot(item), this.#runFork)
    }
    // A pull that was begun with nothing wanted may want something now.
    if (gate !== undefined) this.#demand()
    if (this.#closing || this.#running === 0 || this.#wanted() > 0) this.#wake("driver")
  }

  #slot(item: In): Slot<Out> {
    const inLane = this.#sequencer?.has(item) === true
    const { foresee, gate } = this.#options
    if (!inLane && gate === undefined && foresee === undefined) return this.#done
    const hold = (millis: number, ...results: ReadonlyArray<Out>) => this.#hold(item, millis, results)
    const defer = () => {
      this.#park(item)
      this.#deferred.push(item)
      this.#done.done()
    }
    return {
      done: (...results) => {
        if (this.#options.lanes?.ackAhead === true) this.#leave(item)
        this.#done.done(...results)
      },
      failed: this.#done.failed,
      hold: inLane ? hold : undefined,
      defer: gate === undefined ? undefined : defer,
      wait: foresee === undefined ? undefined : hold
    }
  }

  readonly #vacate = (...results: ReadonlyArray<Out>): void => {
    this.#gauge?.run(--this.#running)
    this.#results.push(...results)
    if (results.length > 0) this.#wake("reader")
    this.#pump()
  }

  readonly #done: Slot<Out> = {
    done: this.#vacate,
    failed: this.#vacate,
    hold: undefined,
    defer: undefined,
    wait: undefined
  }

  #park(item: In): void {
    for (const delivery of this.#options.deliveries(item)) {
      if (delivery.phase < Phase.Settling) this.#options.claims.parks(delivery)
    }
  }

  // The slot is free for others while it waits; its permit and its lane's leases are kept.
  #hold(item: In, millis: number, results: ReadonlyArray<Out>): void {
    this.#park(item)
    this.#watch(item)
    const fiber = this.#runFork(Effect.sleep(millis))
    this.#held.set(item, fiber)
    fiber.addObserver((exit) => {
      this.#held.delete(item)
      if (Exit.isSuccess(exit)) this.#ready.push(item)
      this.#pump()
    })
    this.#done.done(...results)
    const { deliveries, lanes } = this.#options
    const laneOf = lanes?.of(item) ?? noLanes
    deliveries(item).forEach((delivery, i) => {
      if (delivery.isSettling || delivery.heldUntil <= delivery.custodian.now()) return
      const lane = laneOf[i]
      if (lanes?.mixed === true && lane !== undefined) this.#uncouple(lane)
      delivery.custodian.holds(delivery)
    })
  }

  /** What was admitted leaves when all of it has ended; so does what is held without a lane. */
  #watch(item: In): void {
    if (this.#options.gate !== undefined || this.#sequencer?.has(item) === true || this.#watched.has(item)) return
    this.#watched.add(item)
    const deliveries = this.#options.deliveries(item)
    const ended = () => {
      if (deliveries.every(({ outcome }) => outcome !== undefined) && this.#watched.delete(item)) this.#leave(item)
    }
    for (const delivery of deliveries) delivery.onEnded(ended)
  }

  #wake(who: "reader" | "driver"): void {
    const wake = who === "reader" ? this.#wakeReader : this.#wakeDriver
    if (who === "reader") {
      this.#wakeReader = undefined
      this.#readerMissed = wake === undefined
    } else {
      this.#wakeDriver = undefined
      this.#driverMissed = wake === undefined
    }
    wake?.()
  }

  // A fiber may lose its turn after it has looked and before it waits here: a wake-up in between is kept for it. Who
  // waits looks again, so one too many does no harm.
  readonly #untilDriverWoken = Effect.async<void>((resume) => {
    if (this.#driverMissed) resume(Effect.void)
    else this.#wakeDriver = () => resume(Effect.void)
    this.#driverMissed = false
    return Effect.sync(() => {
      this.#wakeDriver = undefined
    })
  })

  readonly #untilReaderWoken = Effect.async<void>((resume) => {
    if (this.#readerMissed) resume(Effect.void)
    else this.#wakeReader = () => resume(Effect.void)
    this.#readerMissed = false
    return Effect.sync(() => {
      this.#wakeReader = undefined
    })
  })

  /** Takes what the upstream gave: into its lanes, or straight to what is ready. */
  #receive(items: ReadonlyArray<In>): void {
    const [first] = items
    const [delivery] = first === undefined ? [] : this.#options.deliveries(first)
    // The first of our stages tells its consumers how much it has use for.
    if (delivery !== undefined && delivery.phase < Phase.Claimed) this.#sources.add(delivery.custodian)
    if (delivery !== undefined) this.#measure(delivery.custodian)
    for (const item of items) if (!this.#admit(item)) this.#ready.push(item)
    this.#pump()
    // What waits here for a slot is not forgotten.
    const { deliveries, foresee } = this.#options
    for (const item of this.#ready) {
      for (const waiting of deliveries(item)) waiting.awaited = true
      foresee?.(item, this.#runFork)
    }
  }

  /** A stage without a bound has no slots to be busy. */
  #measure(custodian: Custodian): void {
    const { concurrency, gate } = this.#options
    if (concurrency.unsafeGet() === Number.MAX_SAFE_INTEGER) return
    if (this.#gauge === undefined) {
      this.#gauge = new StageGauge(
        concurrency.unsafeGet(),
        custodian.now,
        () => Math.max(this.#ready.length + this.#deferred.length, (this.#sequencer?.size() ?? 0) - this.#running),
        () => gate?.flow
      )
      this.#gauge.run(this.#running)
    }
    custodian.observer.stages.add(this.#gauge)
  }

  /**
   * How many more items are of use, beside those that are ready: a few more than there are free slots, since in a busy
   * stage slots come free one at a time, and each pull has its price.
   */
  #wanted(): number {
    const slots = this.#options.concurrency.unsafeGet()
    const flow = this.#options.gate?.flow
    if (this.#results.length >= mostResults(slots) || flow === "none") return 0
    if (flow === "probes") return this.#ready.length > 0 ? 0 : 1
    if (this.#ready.length > Math.floor(slots / 8)) return 0
    return slots - this.#running + Math.floor(slots / 4) - this.#ready.length
  }

  /** Demand travels upstream here. */
  readonly #untilWanted: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#wanted() <= 0 && !this.#mayWatch()) return Effect.zipRight(this.#untilDriverWoken, this.#untilWanted)
    this.#demand()
    return Effect.void
  })

  #demand(): void {
    const wanted = Math.max(0, this.#wanted())
    for (const source of this.#sources) source.wants(wanted)
  }

  // With the gate shut the upstream is pulled all the same, with nothing wanted, so that its end is noticed: a drain does
  // not wait for a gate. Before the first delivery, or behind another stage, there is nobody to tell: then what comes
  // is little, since the next pull waits for its end.
  #mayWatch(): boolean {
    return (
      this.#options.gate?.flow === "none" &&
      (this.#sources.size > 0 || this.#ready.length + this.#deferred.length === 0)
    )
  }

  // With lanes, what waits in one counts as begun: it is claimed, and the source may have gone.
  readonly #untilIdle: Effect.Effect<void> = Effect.suspend(() =>
    this.#running === 0 &&
    this.#ready.length + this.#deferred.length + this.#held.size + (this.#sequencer?.size() ?? 0) === 0
      ? Effect.void
      : Effect.zipRight(this.#untilDriverWoken, this.#untilIdle)
  )

  readonly #untilStill: Effect.Effect<void> = Effect.suspend(() =>
    this.#running === 0 ? Effect.void : Effect.zipRight(this.#untilDriverWoken, this.#untilStill)
  )

  /** Runs until the upstream ends, then until all that it began is done. */
  drive(pull: Effect.Effect<Chunk.Chunk<In>, Option.Option<E>>): Effect.Effect<void> {
    const { claims, settles } = this.#options
    const receive = Effect.map(pull, (chunk) => this.#receive(Chunk.toReadonlyArray(chunk)))
    return Effect.forever(Effect.zipRight(this.#untilWanted, receive)).pipe(
      Effect.exit,
      Effect.tap(this.#untilIdle),
      Effect.tap(settles ? claims.settled : Effect.void),
      Effect.flatMap((exit) =>
        Effect.sync(() => {
          this.#end = exit
          this.#wake("reader")
        })
      )
    )
  }

  readonly pull: Effect.Effect<Chunk.Chunk<Out>, Option.Option<E>> = Effect.suspend(() => {
    if (this.#results.length > 0) {
      const results = this.#results
      this.#results = []
      const { passedOn } = this.#options
      if (passedOn !== undefined) for (const result of results) passedOn(result).passOn()
      this.#pump()
      return Effect.succeed(Chunk.unsafeFromArray(results))
    }
    if (this.#end === undefined) return Effect.zipRight(this.#untilReaderWoken, this.pull)
    this.#told = true
    return this.#end
  })

  /** Ends early: interrupts what runs, releases what is left, and waits until the queue has confirmed it. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const { claims } = this.#options
    this.#unsubscribe()
    this.#gauge?.resize(0)
    const finished = Effect.sync(() => {
      claims.closed = true
    })
    if (
      this.#told &&
      this.#end !== undefined &&
      Exit.isFailure(this.#end) &&
      this.#end.cause._tag === "Fail" &&
      Option.isNone(this.#end.cause.error) &&
      this.#results.length === 0
    ) {
      return finished
    }
    this.#closing = true
    // What has come and waits for a slot is known to nobody else.
    for (const item of this.#ready) for (const delivery of this.#options.deliveries(item)) claims.claim(delivery)
    return claims.stopReceiving.pipe(
      Effect.zipRight(
        Effect.sync(() => {
          for (const timer of this.#held.values()) timer.unsafeInterruptAsFork(FiberId.none)
          claims.interruptAll()
        })
      ),
      Effect.zipRight(Effect.suspend(() => within(this.#untilStill, claims.patience))),
      Effect.zipRight(
        Effect.sync(() => {
          claims.abandonWorking()
          claims.interruptAll()
        })
      ),
      Effect.zipRight(claims.settled),
      Effect.zipRight(finished)
    )
  })
}

/** The consumers whose pipeline ends in a stage. */
class End {
  readonly #custodians = new Set<Custodian>()

  meets(custodian: Custodian): void {
    this.#custodians.add(custodian)
    custodian.endsIn(this)
  }

  readonly isOver: Effect.Effect<void> = Effect.suspend(() =>
    together([...this.#custodians], (custodian) => custodian.endIsOver(this))
  )
}

/** A stage that settles ends a pipeline: what is further down is another one's. */
const introduce =
  <In, Out, R>({ concurrency, meets }: Options<In, Out, R>, end: End, runFork: RunFork<R>) =>
  ({ meet, slots }: Introduction): Introduction => {
    const own = concurrency.unsafeGet() === Number.MAX_SAFE_INTEGER ? [] : [concurrency]
    if (meets === undefined) return { meet, slots: [...own, ...slots] }
    return {
      meet: (custodian) => {
        end.meets(custodian)
        meets(custodian, runFork)
      },
      slots: own
    }
  }

/**
 * Runs work on the items of a stream, so many at once, without a tree of fibers for each: one driver counts slots and
 * starts the work, one reader takes the results as they come.
 */
export const dispatch = <In, Out, E, R, R2>(
  self: Stream.Stream<In, E, R>,
  make: () => Options<In, Out, R2>
): Stream.Stream<Out, E, R | R2> =>
  Stream.fromPull(
    Effect.gen(function* () {
      // Captured where finalizers may not be interrupted, maybe; handlers must be.
      const runtime = Runtime.enableRuntimeFlag(yield* legibleRuntime<R | R2>(), RuntimeFlags.Interruption)
      // Before the upstream is opened, and so done when all of it has closed: what a stage has passed on, and an operator
      // between holds, no other stage releases.
      const end = new End()
      yield* Effect.addFinalizer(() => end.isOver)
      const pull = yield* Stream.toPull(self)
      const options = make()
      const runFork = annotatedFork<R2>(runtime)
      const dispatcher = new Dispatcher<In, Out, E, R2>(options, runFork)
      yield* Effect.addFinalizer(() => dispatcher.close)
      const drive = dispatcher.drive(Effect.provide(pull, runtime.context))
      yield* Effect.forkScoped(Effect.locallyWith(drive, introduction, introduce(options, end, runFork)))
      return dispatcher.pull
    })
  )
