/**
 * The stage behind `split`: a delivery goes on as its parts, each a delivery of its own that stands for it. A part's permit
 * and lease are its message's; how many messages are asked for goes by how many parts they have had.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import { type Delivery, inFlight, of } from "../../Delivery.js"
import * as Settlement from "../../Settlement.js"
import type { Tunable } from "../../Tunable.js"
import { fromPull, toPull } from "../effect/pull.js"
import type { InFlight } from "../lease/inFlight.js"
import { StandInSources } from "../lease/standInSource.js"
import { StandIn } from "../lease/standIns.js"
import { onLoop } from "../observe/loopTime.js"
import * as Phase from "../settle/phase.js"
import { itemsOf } from "../userCode/answer.js"
import { downstream } from "./downstream.js"

/** Of parts there may be more at work than there are messages in flight. */
const unbounded: Tunable = {
  get: Effect.succeed(Number.MAX_SAFE_INTEGER),
  set: () => Effect.void,
  unsafeGet: () => Number.MAX_SAFE_INTEGER,
  unsafeSubscribe: () => () => {}
}

class Split<A, E, B> {
  readonly #partsOf: (body: A, delivery: Delivery<A, E>) => Iterable<B>
  readonly standIns = new StandInSources((base) => ({
    bound: unbounded,
    wants: (parts) => base.demand.wants(Math.ceil(parts * Math.min(1, (this.#messages + 1) / (this.#parts + 1))))
  }))
  #messages = 0
  #parts = 0

  constructor(partsOf: (body: A, delivery: Delivery<A, E>) => Iterable<B>) {
    this.#partsOf = partsOf
  }

  readonly split = (delivery: Delivery<A, E>): ReadonlyArray<Delivery<B, E>> => {
    const { body } = delivery
    const whole = inFlight(delivery)
    if (Exit.isFailure(body)) return this.#asOne(whole, body.cause)
    let parts: ReadonlyArray<B>
    try {
      parts = onLoop(whole, "Pipeline.split", () => itemsOf(this.#partsOf(body.value, delivery), "Pipeline.split"))
    } catch (defect) {
      return this.#asOne(whole, Cause.die(defect))
    }
    this.#messages++
    this.#parts += parts.length
    if (parts.length === 0) {
      whole.settle(Settlement.ack)
      return []
    }
    return this.#standIns(
      whole,
      parts.map((_, i) => `${whole.message.id}/${i}`)
    ).map((standIn, i) => of(Exit.succeed(parts[i] as B), standIn))
  }

  /** What has failed goes on whole, and to the stages behind it is of the same source as the parts: demand goes by that. */
  #asOne(whole: InFlight, cause: Cause.Cause<E>): ReadonlyArray<Delivery<B, E>> {
    return this.#standIns(whole, [whole.message.id]).map((standIn) => {
      if (whole.tries !== undefined) standIn.failures.runsElsewhere = whole.tries.runsElsewhere
      return of(Exit.failCause(cause), standIn)
    })
  }

  #standIns(whole: InFlight, ids: ReadonlyArray<string>): ReadonlyArray<StandIn> {
    const passedOn = whole.phase === Phase.Claimed
    if (whole.isSettling || whole.source.leases.isOver(whole)) return []
    const all = this.standIns.standFor([whole])
    const source = this.standIns.of(whole.source)
    return ids.map((id) => {
      const standIn = new StandIn(all, source, { ...whole.message, id })
      all.add(standIn, passedOn)
      return standIn
    })
  }
}

/** @internal */
export const splitStage = <A, E, B, EX, RX>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  partsOf: (body: A, delivery: Delivery<A, E>) => Iterable<B>
): Stream.Stream<Delivery<B, E>, EX, RX> =>
  fromPull(
    Effect.gen(function* () {
      const pull = yield* toPull(self)
      const { split, standIns } = new Split(partsOf)
      yield* Effect.addFinalizer(() => standIns.close)
      return downstream.locallyWith(
        Effect.map(pull, (chunk) => Chunk.unsafeFromArray(Chunk.toReadonlyArray(chunk).flatMap(split))),
        (further) => ({ ...further, onStart: (base) => further.onStart(standIns.of(base)) })
      )
    })
  )
