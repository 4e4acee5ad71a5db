/**
 * The stage behind `coalesce`: what comes with one key within a time waits here, and goes on as one delivery that stands for
 * all of it. What waits is in flight and claimed, and takes half of the permits at most: then the oldest goes on. One that is
 * due and that nobody takes yet waits on, and takes in more.
 *
 * Invariant 5 (order): on an ordered queue only neighbours of a group come together. Another key of it, or a delivery that
 * has failed, ends what waits of that group, and follows it.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import { type Delivery, inFlight, of } from "../../Delivery.js"
import type { Tunable } from "../../Tunable.js"
import { forkScoped } from "../effect/fork.js"
import { fromPull, type Pull, toPull } from "../effect/pull.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"
import { StandInSources } from "../lease/standInSource.js"
import { idOfAll, StandIn } from "../lease/standIns.js"
import { Steady } from "../lease/steady.js"
import { onLoop } from "../observe/loopTime.js"
import * as Phase from "../settle/phase.js"
import { foldedBody } from "../userCode/answer.js"
import { Claims } from "./claims.js"
import { Holders } from "./holders.js"
import { keyOf } from "./keys.js"
import { Signal } from "./signal.js"

/** As `Pipeline.CoalesceOptions` have it; `within` in milliseconds. */
export interface Rules<A> {
  readonly key: "group" | ((body: A) => string | undefined)
  readonly fold: (before: A, next: A) => A
  readonly within: number
}

interface Sound<A, E> {
  readonly delivery: Delivery<A, E>
  readonly body: A
}

/** What waits with one key, at least one. */
interface Window<A, E> {
  readonly name: string
  /** The group whose neighbours it takes, of an ordered queue. */
  readonly group: string | undefined
  readonly openedAt: number
  readonly sound: Array<Sound<A, E>>
}

class Coalescing<A, E, EX> {
  readonly claims = new Claims()
  readonly standIns = new StandInSources(({ demand }) => demand)
  readonly #rules: Rules<A>
  readonly #now: () => number
  /** The oldest first. */
  readonly #windows = new Map<string, Window<A, E>>()
  /** Of ordered queues, the one that is open in a group. */
  readonly #byGroup = new Map<string, Window<A, E>>()
  /** What goes on as soon as it is taken. */
  #ready: Array<Delivery<A, E>> = []
  readonly #bounds = new Set<Tunable>()
  /** The consumers that are told how much there is use for. */
  readonly #sources = new Set<Source<InFlight>>()
  /** What waits, and has not ended. */
  readonly #waiting = new Set<InFlight>()
  /** Whose permits that has. */
  readonly #holders = new Holders()
  /** What has come and has no room yet. */
  #outside: ReadonlyArray<Delivery<A, E>> = []
  #end: Exit.Exit<never, Option.Option<EX>> | undefined
  #told = false
  /** For the reader: something may be due, or the end. */
  readonly #changed = new Signal()
  /** For the driver: there may be room. */
  readonly #taken = new Signal()

  constructor(rules: Rules<A>, now: () => number) {
    this.#rules = rules
    this.#now = now
  }

  get #room(): number {
    let permits = 0
    for (const bound of this.#bounds) permits += bound.unsafeGet()
    return Math.max(1, Math.floor(permits / 2))
  }

  get #isFull(): boolean {
    return this.#holders.permits >= this.#room
  }

  // ----------------------------------------------------------------------------------------------------------- in

  #add(delivery: Delivery<A, E>): void {
    const held = inFlight(delivery)
    // Of parts there may be more than permits: what counts, and is asked for, are their messages.
    const { demand } = held.holder.source
    if (held.phase < Phase.Claimed) this.#sources.add(held.holder.source)
    if (!this.claims.claim(held)) return
    const { message, source } = held
    this.#bounds.add(demand.bound)
    const group =
      source.queue.ordered && message.group !== undefined
        ? JSON.stringify([source.queue.name, message.group])
        : undefined
    const open = group === undefined ? undefined : this.#byGroup.get(group)
    const { body } = delivery
    const key = Exit.isFailure(body)
      ? undefined
      : this.#rules.key === "group"
        ? message.group
        : keyOf(this.#rules.key, body.value)
    if (Exit.isFailure(body) || key === undefined) {
      if (open !== undefined) this.#close(open)
      this.#passOn(delivery)
      return
    }
    this.claims.waitsFromNow(held)
    this.#waiting.add(held)
    this.#holders.add(held.holder, held.holder.permits)
    held.onEnded(() => {
      if (this.#leaves(held)) this.#makesRoom()
    })
    const name = JSON.stringify([source.queue.name, group, key])
    if (open !== undefined && open.name !== name) this.#close(open)
    const window = this.#windows.get(name) ?? { name, group, openedAt: this.#now(), sound: [] }
    window.sound.push({ delivery, body: body.value })
    this.#windows.set(name, window)
    if (group !== undefined) this.#byGroup.set(group, window)
  }

  /** It does not wait here any more. False where it did not. */
  #leaves(held: InFlight): boolean {
    if (!this.#waiting.delete(held)) return false
    this.#holders.delete(held.holder, held.holder.permits)
    return true
  }

  #passOn(delivery: Delivery<A, E>): void {
    inFlight(delivery).passOn()
    this.#ready.push(delivery)
  }

  /** What waits there goes on, as one; what has ended meanwhile (lost, or given back by a drain) is not in it. */
  #close(window: Window<A, E>): void {
    this.#windows.delete(window.name)
    if (window.group !== undefined) this.#byGroup.delete(window.group)
    const sound = window.sound.filter(({ delivery }) => {
      const held = inFlight(delivery)
      this.#leaves(held)
      return !held.isSettling && !held.source.leases.isOver(held)
    })
    const [first] = sound
    if (first === undefined) return
    if (sound.length === 1) this.#passOn(first.delivery)
    else this.#ready.push(this.#asOne(first, sound))
  }

  /** It is the last of them, with all their ids, and the attempt of the one that was received most often. */
  #asOne(first: Sound<A, E>, sound: ReadonlyArray<Sound<A, E>>): Delivery<A, E> {
    const { fold } = this.#rules
    const members = sound.map(({ delivery }) => inFlight(delivery))
    const last = sound[sound.length - 1] ?? first
    const { source } = inFlight(first.delivery)
    let body: Exit.Exit<A, E>
    try {
      const folded = () => sound.slice(1).reduce((before, next) => foldedBody(fold(before, next.body)), first.body)
      body = Exit.succeed(onLoop(inFlight(last.delivery), "Pipeline.coalesce", folded))
    } catch (defect) {
      body = Exit.failCause(Cause.die(defect))
    }
    const attempt = Math.max(...members.map(({ attempt }) => attempt))
    const all = this.standIns.standFor(members)
    const standIn = new StandIn(all, this.standIns.of(source), {
      ...last.delivery.message,
      id: idOfAll(members),
      attempt
    })
    all.add(standIn, true)
    return of(body, standIn)
  }

  #feed(deliveries: ReadonlyArray<Delivery<A, E>>, from: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      for (let i = from; i < deliveries.length; i++) {
        if (this.#isFull || this.#ready.length > 0) {
          // What waits here for its turn is not forgotten.
          this.#outside = deliveries.slice(i)
          for (const waiting of this.#outside) inFlight(waiting).awaited = true
          this.#demand()
          this.#changed.wake()
          return Effect.zipRight(this.#taken.wait, this.#feed(deliveries, i))
        }
        this.#add(deliveries[i] as Delivery<A, E>)
      }
      this.#outside = []
      this.#changed.wake()
      return Effect.void
    })
  }

  /** Demand begins here, unless a stage in front tells its consumers itself how much it has use for. */
  #demand(): void {
    const wanted = Math.max(0, this.#room - this.#holders.permits)
    for (const { demand } of this.#sources) demand.wants(wanted)
  }

  /** Less waits here than before: who has more may go on, and there is use for more. */
  #makesRoom(): void {
    this.#taken.wake()
    this.#demand()
  }

  drive<R>(pull: Pull<Delivery<A, E>, EX, R>): Effect.Effect<void, never, R> {
    const receive = Effect.flatMap(pull, (chunk) => this.#feed(Chunk.toReadonlyArray(chunk), 0))
    return Effect.forever(
      Effect.zipRight(
        Effect.sync(() => this.#demand()),
        receive
      )
    ).pipe(
      Effect.exit,
      Effect.map((exit) => {
        this.#end = exit
        this.#changed.wake()
      })
    )
  }

  // ---------------------------------------------------------------------------------------------------------- out

  readonly pull: Effect.Effect<Chunk.Chunk<Delivery<A, E>>, Option.Option<EX>> = Effect.suspend(() => {
    const left = this.#closeDue()
    if (this.#ready.length > 0) {
      const ready = this.#ready
      this.#ready = []
      this.#makesRoom()
      return Effect.succeed(Chunk.unsafeFromArray(ready))
    }
    // All that was in a window may have ended.
    this.#makesRoom()
    if (this.#end !== undefined) {
      this.#told = true
      return this.#end
    }
    const wait = this.#changed.wait
    return Effect.zipRight(left === undefined ? wait : Effect.raceFirst(wait, Effect.sleep(left)), this.pull)
  })

  /** For how long the next one waits yet, in milliseconds. */
  #closeDue(): number | undefined {
    const now = this.#now()
    for (const window of this.#windows.values()) {
      const left = window.openedAt + this.#rules.within - now
      if (left > 0 && !this.#isFull && this.#end === undefined) return left
      this.#close(window)
    }
    return undefined
  }

  /** What waits here when the stream ends early goes back to the queue. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const finished = Effect.sync(() => {
      this.claims.closed = true
    })
    const ended =
      this.#told &&
      this.#end?._tag === "Failure" &&
      this.#end.cause._tag === "Fail" &&
      Option.isNone(this.#end.cause.error)
    if (ended) return finished
    for (const delivery of this.#outside) this.claims.claim(inFlight(delivery))
    return this.claims.stopReceiving.pipe(
      Effect.zipRight(Effect.sync(() => this.claims.interruptAll())),
      Effect.zipRight(this.standIns.close),
      Effect.zipRight(this.claims.settled),
      Effect.zipRight(finished)
    )
  })
}

/** @internal */
export const coalesceStage = <A, E, EX, RX>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  rules: Rules<A>
): Stream.Stream<Delivery<A, E>, EX, RX> =>
  fromPull(
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const pull = yield* toPull(self)
      const steady = new Steady(clock)
      const coalescing = new Coalescing<A, E, EX>(rules, () => steady.exactly())
      yield* Effect.addFinalizer(() => coalescing.close)
      yield* forkScoped(coalescing.drive(pull))
      return coalescing.pull
    })
  )
