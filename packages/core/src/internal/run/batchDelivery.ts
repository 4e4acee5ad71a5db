/**
 * The stage behind `batch`: a batch is a delivery of many. What stands for them is made where a stage, or the user, takes the
 * batch for a delivery; until then its members are what they were, and can be settled each by itself.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import { type Delivery, inFlight, of } from "../../Delivery.js"
import { fromPull, toPull } from "../effect/pull.js"
import type { InFlight } from "../lease/inFlight.js"
import { StandInSources } from "../lease/standInSource.js"
import { idOfAll, StandIn } from "../lease/standIns.js"
import { batchStage, type Gathered, type Limits } from "./batchStage.js"
import { laneRules } from "./laneRules.js"

/** Many deliveries as one, whose body is all of theirs. What settles it settles them. */
export interface Batch<out A, out E = never> extends Delivery<ReadonlyArray<A>, E> {
  /** At least one. They can be settled each by itself, where no stage has the batch. */
  readonly deliveries: ReadonlyArray<Delivery<A, E>>
  /** Why it was closed. */
  readonly closedBy: "count" | "bytes" | "time" | "end"
}

const inOrder = laneRules<unknown, unknown>({})

/**
 * One that has failed is a batch of its own. On an ordered queue what follows it in its group follows it here too: nothing is
 * overtaken.
 */
const parted = <A, E>(deliveries: ReadonlyArray<Delivery<A, E>>): ReadonlyArray<ReadonlyArray<Delivery<A, E>>> => {
  const parts: Array<ReadonlyArray<Delivery<A, E>>> = []
  let rest = deliveries
  while (rest.length > 0) {
    const sound: Array<Delivery<A, E>> = []
    const failed: Array<Delivery<A, E>> = []
    const behind: Array<Delivery<A, E>> = []
    const blocked = new Set<string>()
    for (const delivery of rest) {
      const lanes = inOrder?.of(delivery).flat() ?? []
      const follows = lanes.some((lane) => blocked.has(lane))
      const fails = Exit.isFailure(delivery.body)
      if (follows || fails) for (const lane of lanes) blocked.add(lane)
      ;(follows ? behind : fails ? failed : sound).push(delivery)
    }
    if (sound.length > 0) parts.push(sound)
    for (const delivery of failed) parts.push([delivery])
    rest = behind
  }
  return parts
}

/** It is the first of them, with the ids of all, the highest attempt, and the group where they have one. */
const standInFor = (members: readonly [InFlight, ...ReadonlyArray<InFlight>], standIns: StandInSources): StandIn => {
  const [{ message, source }] = members
  const all = standIns.standFor(members)
  const standIn = new StandIn(all, standIns.of(source), {
    ...message,
    id: idOfAll(members),
    attempt: Math.max(...members.map(({ attempt }) => attempt)),
    group: members.every((member) => member.message.group === message.group) ? message.group : undefined
  })
  all.add(standIn, true)
  return standIn
}

const asOne = <A, E>(
  deliveries: ReadonlyArray<Delivery<A, E>>,
  closedBy: Batch<A, E>["closedBy"],
  standIns: StandInSources
): ReadonlyArray<Batch<A, E>> => {
  const [first, ...others] = deliveries
  if (first === undefined) return []
  const body: Exit.Exit<ReadonlyArray<A>, E> = Exit.isFailure(first.body)
    ? Exit.failCause(first.body.cause)
    : Exit.succeed(deliveries.flatMap(({ body }) => (Exit.isSuccess(body) ? [body.value] : [])))
  const held = () =>
    others.length === 0 ? inFlight(first) : standInFor([inFlight(first), ...others.map(inFlight)], standIns)
  return [Object.assign(of(body, held), { deliveries, closedBy })]
}

export const batchDeliveryStage = <A, E, EX, RX>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  limits: Limits
): Stream.Stream<Batch<A, E>, EX, RX> =>
  fromPull(
    Effect.gen(function* () {
      const pull = yield* toPull(batchStage(self, limits))
      const standIns = new StandInSources(({ demand }) => demand)
      yield* Effect.addFinalizer(() => standIns.close)
      return Effect.map(
        pull,
        Chunk.flatMap(({ closedBy, deliveries }: Gathered<A, E>) =>
          Chunk.unsafeFromArray(parted(deliveries).flatMap((part) => asOne(part, closedBy, standIns)))
        )
      )
    })
  )
