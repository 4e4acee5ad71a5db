/** The stage behind `process`: runs a handler on each delivery, and settles it. */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import * as Circuit from "../../Circuit.js"
import { type Delivery, type HandlerTimeout, inFlight } from "../../Delivery.js"
import type { InvalidOptions } from "../../InvalidOptions.js"
import type * as RetryPolicy from "../../RetryPolicy.js"
import { type Guard, NotRun } from "../idempotency/protection.js"
import { type Spans, withBatchSpan, withSpan } from "../observe/span.js"
import { effectOf } from "../userCode/answer.js"
import { AfterFailure, type FailureRules } from "./afterFailure.js"
import { Claims } from "./claims.js"
import { ack, failureOf, type Handling, limited, run } from "./handler.js"
import { laneRules, type Sequence } from "./laneRules.js"
import type { RunFork } from "./runFork.js"
import { type Sharing, shareRules } from "./shareRules.js"
import type { Slots } from "./slots.js"
import { dispatch } from "./stage.js"
import { SizeWarning } from "./warnings.js"
import type { Slot } from "./work.js"

/** As `Pipeline.ProcessOptions` have it; `F` is whatever the handler, an earlier stage or the store of `once` fails with. */
export interface Rules<in A, F, D> extends Sequence<A>, Sharing<A>, FailureRules<F, D> {
  readonly timeout?: Duration.DurationInput | undefined
  readonly span?: Spans | undefined
}

/** What all runs of a stage have in common. */
interface Shared<A, E, B, O, E2, EO, R> {
  readonly claims: Claims
  readonly circuit: Circuit.Engine<RetryPolicy.Failure<E | E2 | EO>> | undefined
  readonly failures: AfterFailure<E | E2 | EO, Delivery<A, E>>
  readonly once: Guard<A, B, O, EO, R> | undefined
  readonly handler: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2 | HandlerTimeout, R>
}

/** One delivery in one slot, until it is done with there. */
class ProcessRun<A, E, B, O, E2, EO, R> implements Handling<A, B | NotRun<B | O>, E | E2 | EO | HandlerTimeout, R> {
  readonly #stage: Shared<A, E, B, O, E2, EO, R>
  readonly #delivery: Delivery<A, E>
  readonly #slot: Slot<B | O>
  readonly #runFork: RunFork<R>
  #ticket: number | undefined
  /** The handler has begun: what `once` itself fails with says nothing of what the handler asks. */
  #began = false

  constructor(stage: Shared<A, E, B, O, E2, EO, R>, delivery: Delivery<A, E>, slot: Slot<B | O>, runFork: RunFork<R>) {
    this.#stage = stage
    this.#delivery = delivery
    this.#slot = slot
    this.#runFork = runFork
  }

  get #isSound(): boolean {
    return Exit.isSuccess(this.#delivery.body)
  }

  start(): void {
    const { circuit, claims } = this.#stage
    this.#ticket = this.#isSound ? circuit?.enter() : undefined
    const { defer } = this.#slot
    if (defer !== undefined && this.#isSound && this.#ticket === undefined) defer()
    else run(claims, this.#delivery, this.#runFork, this)
  }

  handle(body: A): Effect.Effect<B | NotRun<B | O>, E2 | EO | HandlerTimeout, R> {
    const { once } = this.#stage
    if (once === undefined) return this.#begin(body)
    return once.around(
      Effect.suspend(() => this.#begin(body)),
      this.#delivery,
      body,
      this.#runFork
    )
  }

  #begin(body: A): Effect.Effect<B, E2 | HandlerTimeout, R> {
    this.#began = true
    return this.#stage.handler(body, this.#delivery)
  }

  succeeded(value: B | NotRun<B | O>): void {
    if (value instanceof NotRun) {
      this.#leaves("nothing")
      if (value.wait === undefined) {
        this.#acked(value.results)
      } else {
        const { wait } = this.#slot
        this.#stage.failures.wait(inFlight(this.#delivery), value.wait, { wait, settled: () => this.#slot.failed() })
      }
    } else {
      this.#leaves("well")
      this.#acked([value])
    }
  }

  #acked(results: ReadonlyArray<B | O>): void {
    ack(inFlight(this.#delivery))
    this.#slot.done(results)
  }

  failed(cause: Cause.Cause<E | E2 | EO | HandlerTimeout>): void {
    const { circuit, failures } = this.#stage
    const { defer, failed, hold } = this.#slot
    if (this.#isSound) {
      const trips = circuit?.trips(failureOf(this.#delivery, cause)) === true
      this.#leaves(trips ? "tripped" : this.#began ? "well" : "nothing")
    }
    failures.treat(this.#delivery, cause, this.#runFork, {
      ran: this.#isSound,
      settled: () => failed(),
      hold,
      defer,
      runAgain: () => new ProcessRun(this.#stage, this.#delivery, this.#slot, this.#runFork).start()
    })
  }

  skipped(): void {
    this.#leaves("nothing")
    this.#slot.failed()
  }

  /** The circuit hears how it ended. */
  #leaves(verdict: Circuit.Verdict): void {
    this.#stage.circuit?.exit(this.#ticket, verdict)
  }
}

export const processStage = <A, E, B, E2, R2, O, EO, RO, EX, RX>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  handler: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
  makeSlots: () => Slots,
  rules: Rules<A, E | E2 | EO, Delivery<A, E>>,
  once: Guard<A, B, O, EO, RO> | undefined
): Stream.Stream<B | O, EX | InvalidOptions, RX | R2 | RO> =>
  dispatch<Delivery<A, E>, B | O, EX, RX, R2 | RO>(self, () => {
    const claims = new Claims()
    const slots = makeSlots()
    const sizes = new SizeWarning(slots)
    const circuit = rules.circuit && Circuit.engine(rules.circuit)
    const failures = new AfterFailure<E | E2 | EO, Delivery<A, E>>(claims, rules)
    const spanned = (body: A, delivery: Delivery<A, E>) => {
      const effect = limited(effectOf(handler(body, delivery), "Pipeline.process"), rules.timeout, delivery)
      if (rules.span === undefined || rules.span === false) return effect
      const { source, standsFor = [] } = inFlight(delivery)
      const { destination } = source.queue
      if (standsFor.length <= 1) return withSpan(effect, delivery.message, destination, rules.span)
      const messages = standsFor.map(({ message }) => message)
      return withBatchSpan(effect, messages, destination, rules.span)
    }
    const shared: Shared<A, E, B, O, E2, EO, R2 | RO> = { claims, circuit, failures, once, handler: spanned }
    return {
      slots,
      claims,
      deliveries: (delivery) => [inFlight(delivery)],
      lanes: laneRules(rules),
      gate: circuit,
      share: rules.share && shareRules(rules.share),
      settles: true,
      onStart: (source, runFork) => {
        sizes.onStart(source)
        failures.onStart(source, runFork)
      },
      foresee: once && ((delivery, runFork) => once.foresee(delivery, runFork)),
      start: (delivery, slot, runFork) => {
        failures.onStart(inFlight(delivery).source, runFork)
        sizes.begin(runFork)
        new ProcessRun(shared, delivery, slot, runFork).start()
      }
    }
  })
