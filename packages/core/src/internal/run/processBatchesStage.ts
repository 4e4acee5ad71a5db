/**
 * The stage behind `processBatches`: runs a handler on many deliveries at once, and settles each by its own result. What
 * is to run again does so together, in a batch of its own; what follows a failure in its lane waits for it.
 */

import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import * as Circuit from "../../Circuit.js"
import { type Delivery, type HandlerTimeout, inFlight } from "../../Delivery.js"
import type { InvalidOptions } from "../../InvalidOptions.js"
import type * as RetryPolicy from "../../RetryPolicy.js"
import * as Settlement from "../../Settlement.js"
import { interrupted } from "../effect/interruption.js"
import { type BatchAnswer, type Guard, NotRun } from "../idempotency/protection.js"
import type { InFlight } from "../lease/inFlight.js"
import { withBatchSpan } from "../observe/span.js"
import * as Phase from "../settle/phase.js"
import { effectOf } from "../userCode/answer.js"
import { resultsOf } from "../userCode/batchAnswer.js"
import { AfterFailure } from "./afterFailure.js"
import type { Gathered } from "./batchStage.js"
import { Claims } from "./claims.js"
import { Followers } from "./followers.js"
import { ack, failureOf, limited, ownFailure } from "./handler.js"
import { laneRules } from "./laneRules.js"
import type { LaneRules } from "./lanes.js"
import type { Rules } from "./processStage.js"
import type { RunFork } from "./runFork.js"
import type { Slots } from "./slots.js"
import { dispatch } from "./stage.js"
import { SizeWarning } from "./warnings.js"
import type { Slot } from "./work.js"

/** @typeParam F - what may have failed: the handler, one of its results, an earlier stage, the store of `once` */
type Handler<A, E, B, F, R> = (
  bodies: ReadonlyArray<A>,
  deliveries: ReadonlyArray<Delivery<A, E>>
) => Effect.Effect<ReadonlyArray<Either.Either<B, F>> | void, F, R>

interface Sound<A, E> {
  readonly delivery: Delivery<A, E>
  readonly body: A
}

/** What all batches of a stage have in common. */
interface Shared<A, E, B, O, F, R> {
  readonly handler: Handler<A, E, B, F, R>
  readonly rules: Pick<Rules<A, F, Delivery<A, E>>, "timeout" | "span">
  readonly once: Guard<A, B, O, F, R> | undefined
  readonly claims: Claims
  readonly lanes: LaneRules<Delivery<A, E>> | undefined
  readonly lanesOf: (delivery: Delivery<A, E>) => ReadonlyArray<string>
  readonly circuit: Circuit.Engine<RetryPolicy.Failure<F>> | undefined
  readonly failures: AfterFailure<F, Delivery<A, E>>
}

/** One batch in its slot, until each of its deliveries has left that: settled, or held to run again. */
class BatchRun<A, E extends F, B, O, F, R> {
  readonly #stage: Shared<A, E, B, O, F, R>
  readonly #deliveries: ReadonlyArray<Delivery<A, E>>
  readonly #slot: Slot<B | O>
  readonly #runFork: RunFork<R>
  readonly #mayHold: boolean
  readonly #results: Array<B | O> = []
  readonly #held: Array<InFlight> = []
  #left: number
  #failed = false

  constructor(
    stage: Shared<A, E, B, O, F, R>,
    deliveries: ReadonlyArray<Delivery<A, E>>,
    slot: Slot<B | O>,
    runFork: RunFork<R>
  ) {
    this.#stage = stage
    this.#deliveries = deliveries
    this.#slot = slot
    this.#runFork = runFork
    this.#mayHold = (slot.hold ?? slot.wait) !== undefined
    this.#left = deliveries.length
  }

  start(): void {
    const there = this.#deliveries.filter((delivery) => !inFlight(delivery).isSettling)
    this.#afterAcks(there, () => this.#work(this.#deliveries))
  }

  /** One of them leaves the slot. */
  #leaves(results: ReadonlyArray<B | O> = []): void {
    for (const result of results) this.#results.push(result)
    if (--this.#left > 0) return
    const again = this.#held.filter((delivery) => !delivery.isSettling)
    const hold = this.#slot.hold ?? this.#slot.wait
    const [first] = again
    if (first !== undefined && hold !== undefined) {
      const now = first.source.clock.now()
      const next = again.reduce(
        (least, { heldUntil }) => (heldUntil > now ? Math.min(least, heldUntil) : least),
        Infinity
      )
      hold(next === Infinity ? 0 : next - now, this.#results)
    } else if (this.#failed || this.#held.length > 0) {
      this.#slot.failed(this.#results)
    } else {
      this.#slot.done(this.#results)
    }
  }

  /** It has failed: what is behind it in its lane waits for its end. */
  #fails(): void {
    this.#failed = true
    this.#leaves()
  }

  /** It stays in its lane and runs again. */
  #hold(delivery: Delivery<A, E>): void {
    this.#held.push(inFlight(delivery))
    this.#leaves()
  }

  /**
   * Runs once the deletes of what these follow in their lanes are confirmed (invariant 5): what succeeded in the same batch
   * is in front of what of it runs again.
   */
  #afterAcks(again: ReadonlyArray<Delivery<A, E>>, run: () => void): void {
    const { lanes, lanesOf } = this.#stage
    const own = new Set(again.flatMap(lanesOf))
    // A part of a message ends with the others at the latest: they do not wait for it.
    const holders = new Set(again.map((delivery) => inFlight(delivery).holder))
    let unconfirmed = 1
    const confirmed = () => {
      if (--unconfirmed === 0) run()
    }
    for (const delivery of lanes === undefined || lanes.ackAhead ? [] : this.#deliveries) {
      if (inFlight(delivery).phase !== Phase.Settling || !lanesOf(delivery).some((lane) => own.has(lane))) continue
      if (holders.has(inFlight(delivery).holder)) continue
      unconfirmed++
      inFlight(delivery).onEnded(confirmed)
    }
    confirmed()
  }

  #work(deliveries: ReadonlyArray<Delivery<A, E>>): void {
    const { claims, lanesOf } = this.#stage
    const sound: Array<Sound<A, E>> = []
    const unsound = new Followers<Delivery<A, E>, F | HandlerTimeout>(lanesOf)
    const waiting = new Set<string>()
    for (const delivery of deliveries) {
      const lanes = lanesOf(delivery)
      const { heldUntil, source } = inFlight(delivery)
      if (!claims.claim(inFlight(delivery))) this.#leaves()
      else if (this.#mayHold && (heldUntil > source.clock.now() || lanes.some((lane) => waiting.has(lane)))) {
        for (const lane of lanes) waiting.add(lane)
        this.#hold(delivery)
      } else if (unsound.follows(delivery)) continue
      else if (Exit.isFailure(delivery.body)) unsound.fails(delivery, delivery.body.cause)
      else sound.push({ delivery, body: delivery.body.value })
    }
    this.#treat(unsound)
    // What the policy has just given back may have taken others of its group with it.
    const begun = sound.filter(({ delivery }) => !inFlight(delivery).isSettling)
    for (let i = begun.length; i < sound.length; i++) this.#leaves()
    this.#run(begun)
  }

  /** What is to run again does so together, once the policy has spoken on all: a batch takes one slot. */
  #treat(failed: Followers<Delivery<A, E>, F | HandlerTimeout>): void {
    const { failures, lanesOf } = this.#stage
    const again: Array<Delivery<A, E>> = []
    let undecided = failed.size
    const decided = () => {
      if (--undecided === 0 && again.length > 0) this.#afterAcks(again, () => this.#work(again))
    }
    failed.forEach((delivery, cause, followers) => {
      const hold = () => {
        for (const each of [delivery, ...followers]) this.#hold(each)
        decided()
      }
      failures.treat(delivery, cause, this.#runFork, {
        ran: Exit.isSuccess(delivery.body),
        hold: this.#mayHold && lanesOf(delivery).length > 0 ? hold : undefined,
        defer: undefined,
        runAgain: () => {
          again.push(delivery)
          for (const follower of followers) again.push(follower)
          decided()
        },
        settled: () => {
          for (const follower of followers) {
            inFlight(follower).settle(Settlement.release)
            this.#fails()
          }
          this.#fails()
          decided()
        }
      })
    })
  }

  #run(begun: ReadonlyArray<Sound<A, E>>): void {
    const { circuit, claims, failures, lanesOf, once } = this.#stage
    const held = begun.map(({ delivery }) => inFlight(delivery))
    const [first] = held
    if (first === undefined) return
    const ticket = circuit?.enter()
    // The gate has let it start; it may have closed since, before what runs again in place.
    if (circuit !== undefined && ticket === undefined) {
      for (const delivery of held) failures.turnedBack(delivery, { defer: undefined, settled: () => this.#fails() })
      return
    }
    let ran = false
    let well = false
    const handle = (which: ReadonlyArray<number>) => {
      ran = true
      const items = which.flatMap((i) => begun[i] ?? [])
      return Effect.map(Effect.exit(this.#handled(items)), (exit) => {
        well = Exit.isSuccess(exit)
        return resultsOf(exit, items.length)
      })
    }
    const answered: Effect.Effect<ReadonlyArray<BatchAnswer<B, O, F | HandlerTimeout>>, never, R> = once === undefined
      ? handle(begun.map((_, i) => i))
      : once.aroundBatch(
          handle,
          begun.map((item) => ({ ...item, lanes: lanesOf(item.delivery) })),
          this.#runFork
        )
    const { clock } = first.source
    const startedAt = clock.now()
    const fiber = this.#runFork(answered, first, true)
    for (const delivery of held) claims.runs(delivery, fiber, startedAt)
    fiber.addObserver((exit) => {
      const stopped = claims.stopped(fiber, exit)
      for (const delivery of held) claims.rests(delivery)
      const millis = clock.now() - startedAt
      const results = begun.map(
        (_, i): BatchAnswer<B, O, F | HandlerTimeout> =>
          Exit.isFailure(exit) ? Exit.failCause(exit.cause) : (exit.value[i] ?? interrupted)
      )
      held.forEach((delivery, i) => {
        const result = results[i]
        if (stopped || (result?._tag === "Success" && result.value instanceof NotRun)) return
        delivery.source.reports.handled(delivery, millis, well)
      })
      circuit?.exit(ticket, stopped ? "nothing" : verdictOf(circuit, begun, results, ran))
      this.#answered(begun, results, stopped)
    })
  }

  #handled(items: ReadonlyArray<Sound<A, E>>) {
    const { handler, rules } = this.#stage
    const deliveries = items.map(({ delivery }) => delivery)
    const [first] = deliveries
    const bodies = items.map(({ body }) => body)
    const effect = limited(
      Effect.suspend(() => effectOf(handler(bodies, deliveries), "Pipeline.processBatches")),
      rules.timeout,
      first
    )
    if (rules.span === undefined || rules.span === false || first === undefined) return effect
    const messages = deliveries.map(({ message }) => message)
    return withBatchSpan(effect, messages, inFlight(first).source.queue.destination, rules.span)
  }

  /** Settles each by its own result. */
  #answered(
    begun: ReadonlyArray<Sound<A, E>>,
    results: ReadonlyArray<BatchAnswer<B, O, F | HandlerTimeout>>,
    stopped: boolean
  ): void {
    const { failures, lanesOf } = this.#stage
    const failed = new Followers<Delivery<A, E>, F | HandlerTimeout>(lanesOf)
    begun.forEach(({ delivery }, i) => {
      if (failed.follows(delivery)) return
      const result = results[i] ?? interrupted
      if (stopped) {
        inFlight(delivery).settle(inFlight(delivery).source.draining.afterStop)
        this.#fails()
      } else if (Exit.isFailure(result)) {
        failed.fails(delivery, ownFailure(result.cause))
      } else if (result.value instanceof NotRun && result.value.wait !== undefined) {
        failures.wait(inFlight(delivery), result.value.wait, {
          wait: this.#mayHold ? () => this.#hold(delivery) : undefined,
          settled: () => this.#fails()
        })
      } else {
        ack(inFlight(delivery))
        this.#leaves(result.value instanceof NotRun ? result.value.results : result.value)
      }
    })
    this.#treat(failed)
  }
}

/** A batch is one run: it has tripped where any message of it has, and says nothing where no handler `ran` on any. */
const verdictOf = <F>(
  circuit: Circuit.Engine<RetryPolicy.Failure<F>>,
  begun: ReadonlyArray<{ readonly delivery: Delivery<unknown, unknown> }>,
  results: ReadonlyArray<Exit.Exit<unknown, F | HandlerTimeout>>,
  ran: boolean
): Circuit.Verdict => {
  for (const [i, { delivery }] of begun.entries()) {
    const result = results[i]
    if (result === undefined || Exit.isSuccess(result)) continue
    if (circuit.trips(failureOf(delivery, result.cause))) return "tripped"
  }
  return ran ? "well" : "nothing"
}

/** `max` is how many make a full batch. */
export const processBatchesStage = <A, E extends F, B, O, F, R, EX, RX>(
  self: Stream.Stream<Gathered<A, E>, EX, RX>,
  handler: Handler<A, E, B, F, R>,
  makeSlots: () => Slots,
  max: number,
  rules: Rules<A, F, Delivery<A, E>>,
  once: Guard<A, B, O, F, R> | undefined
): Stream.Stream<B | O, EX | InvalidOptions, RX | R> =>
  dispatch<Gathered<A, E>, B | O, EX, RX, R>(self, () => {
    const claims = new Claims()
    const slots = makeSlots()
    const sizes = new SizeWarning(slots, max)
    const lanes = laneRules<A, E>(rules)
    const lanesOf = (delivery: Delivery<A, E>) => lanes?.of(delivery)[0] ?? []
    const circuit = rules.circuit && Circuit.engine(rules.circuit)
    const failures = new AfterFailure<F, Delivery<A, E>>(claims, rules)
    const stage = { handler, rules, once, claims, lanes, lanesOf, circuit, failures }
    return {
      slots,
      claims,
      deliveries: ({ deliveries }) => deliveries.map(inFlight),
      gate: circuit,
      lanes: lanes && { ...lanes, mixed: true, of: ({ deliveries }) => deliveries.map(lanesOf) },
      settles: true,
      onStart: (source, runFork) => {
        sizes.onStart(source)
        failures.onStart(source, runFork)
      },
      foresee:
        once &&
        (({ deliveries }, runFork) => {
          for (const delivery of deliveries) once.foresee(delivery, runFork)
        }),
      start: ({ deliveries }, slot, runFork) => {
        for (const delivery of deliveries) failures.onStart(inFlight(delivery).source, runFork)
        sizes.begin(runFork)
        new BatchRun(stage, deliveries, slot, runFork).start()
      }
    }
  })
