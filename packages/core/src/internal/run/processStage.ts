/** The stage behind `process`: runs a handler on each delivery, and settles it. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import * as Circuit from "../../Circuit.js"
import { type Delivery, type HandlerTimeout, inFlight } from "../../Delivery.js"
import type { InvalidOptions } from "../../InvalidOptions.js"
import { type Guard, NotRun } from "../idempotency/protection.js"
import { type Spans, withBatchSpan, withSpan } from "../observe/span.js"
import { effectOf } from "../userCode/answer.js"
import { AfterFailure, type FailureRules } from "./afterFailure.js"
import { Claims } from "./claims.js"
import { ack, failureOf, limited, run } from "./handler.js"
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
    const plain = (body: A, delivery: Delivery<A, E>) => {
      const effect = limited(effectOf(handler(body, delivery), "Pipeline.process"), rules.timeout, delivery)
      if (rules.span === undefined || rules.span === false) return effect
      const { source, standsFor = [] } = inFlight(delivery)
      const { destination } = source.queue
      if (standsFor.length <= 1) return withSpan(effect, delivery.message, destination, rules.span)
      const messages = standsFor.map(({ message }) => message)
      return withBatchSpan(effect, messages, destination, rules.span)
    }
    const start = (delivery: Delivery<A, E>, slot: Slot<B | O>, runFork: RunFork<R2 | RO>): void => {
      failures.onStart(inFlight(delivery).source, runFork)
      sizes.begin(runFork)
      const ran = Exit.isSuccess(delivery.body)
      const ticket = ran ? circuit?.enter() : undefined
      if (slot.defer !== undefined && ran && ticket === undefined) {
        slot.defer()
        return
      }
      /** The handler has begun: what `once` itself fails with says nothing of what the handler asks. */
      let began = false
      const begin = (body: A) => {
        began = true
        return plain(body, delivery)
      }
      const handle = (body: A): Effect.Effect<B | NotRun<B | O>, E2 | EO | HandlerTimeout, R2 | RO> =>
        once === undefined
          ? begin(body)
          : once.around(
              Effect.suspend(() => begin(body)),
              delivery,
              body,
              runFork
            )
      run(claims, delivery, handle, runFork, {
        succeeded: (value) => {
          if (value instanceof NotRun && value.wait !== undefined) {
            circuit?.exit(ticket, "nothing")
            failures.wait(inFlight(delivery), value.wait, { wait: slot.wait, settled: () => slot.failed() })
            return
          }
          circuit?.exit(ticket, value instanceof NotRun ? "nothing" : "well")
          ack(inFlight(delivery))
          if (value instanceof NotRun) slot.done(...value.results)
          else slot.done(value)
        },
        failed: (cause) => {
          if (ran)
            circuit?.exit(ticket, circuit.trips(failureOf(delivery, cause)) ? "tripped" : began ? "well" : "nothing")
          failures.treat(delivery, cause, runFork, {
            ran,
            settled: () => slot.failed(),
            hold: slot.hold,
            defer: slot.defer,
            runAgain: () => start(delivery, slot, runFork)
          })
        },
        skipped: () => {
          circuit?.exit(ticket, "nothing")
          slot.failed()
        }
      })
    }
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
      start
    }
  })
