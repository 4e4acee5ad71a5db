/**
 * The lanes of a stage: an item waits there until what is before it in each of its lanes has ended. What waits is claimed,
 * so that a drain gives it back; what is more than a lane's share of the permits, or would be held up for another's sake,
 * goes back at once.
 */

import * as Sequencer from "../lease/groupOrder.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Claims } from "./claims.js"
import { Holders } from "./holders.js"

/** What keeps the items of a group in order. */
export interface LaneRules<in In> {
  /**
   * The lanes of each of an item's deliveries, in their order: one item of a lane runs at a time. None: it waits for
   * nobody. One that stands for several messages has the lane of each of them.
   */
  readonly of: (item: In) => ReadonlyArray<ReadonlyArray<string>>
  /** Whether an item's deliveries may be in several lanes. */
  readonly mixed: boolean
  /** Begin with the next before the settlement of the one before is confirmed. */
  readonly ackAhead: boolean
}

/** What they need of the stage that they are in. */
export interface Host<in In> {
  readonly claims: Claims
  readonly deliveries: (item: In) => ReadonlyArray<InFlight>
  /** Whether every item waits here for its turn, in a lane or not: a gate may keep it waiting. */
  readonly all: boolean
  /** It is the first in all its lanes. */
  readonly onReady: (item: In) => void
  /** All of it has ended. */
  readonly onEnded: (item: In) => void
  /** Whether it is to run again after a while. */
  readonly isHeld: (item: In) => boolean
}

const noLanes: ReadonlyArray<ReadonlyArray<string>> = []

/** Of its lanes, how many permits it has in each. */
const permitsIn = (lanes: ReadonlyArray<string> | undefined, holder: InFlight): ReadonlyMap<string, number> => {
  const permits = new Map<string, number>()
  for (const lane of lanes ?? []) permits.set(lane, (permits.get(lane) ?? 0) + 1)
  const [only] = permits.keys()
  return only !== undefined && permits.size === 1 ? permits.set(only, holder.permits) : permits
}

export class Lanes<In> {
  readonly #rules: LaneRules<In> | undefined
  readonly #host: Host<In>
  readonly #sequencer: Sequencer.Sequencer<In> | undefined
  readonly #perLane = new Map<string, Holders>()

  constructor(rules: LaneRules<In> | undefined, host: Host<In>) {
    this.#rules = rules
    this.#host = host
    this.#sequencer =
      rules &&
      Sequencer.make<In>({
        onReady: host.onReady,
        mayRun: (item) => host.deliveries(item).some((delivery) => !delivery.isSettling)
      })
  }

  /** Items in all lanes. */
  get size(): number {
    return this.#sequencer?.size() ?? 0
  }

  has(item: In): boolean {
    return this.#sequencer?.has(item) === true
  }

  /** Takes it out of its lanes; what was behind it moves up. */
  remove(item: In): void {
    this.#sequencer?.remove(item)
  }

  /** Puts an item into its lanes, where it waits its turn. False where it has none. */
  admit(item: In): boolean {
    const lanesOf = this.#rules?.of(item) ?? noLanes
    return (this.#host.all || lanesOf.some((lanes) => lanes.length > 0)) && this.#join(item, lanesOf)
  }

  #join(item: In, lanesOf: ReadonlyArray<ReadonlyArray<string>>): boolean {
    const { claims, deliveries, onEnded } = this.#host
    const rules = this.#rules
    /** Deliveries of the item that have not ended, by lane. */
    const left = new Map<string, number>()
    let staying = 0
    deliveries(item).forEach((delivery, i) => {
      // Released meanwhile, or more than its share: one group must not take all permits.
      if (!claims.claim(delivery)) return
      const lanes = permitsIn(lanesOf[i], delivery.holder)
      for (const lane of lanes.keys()) {
        if (!this.#overflows(lane, delivery)) continue
        goBack(delivery)
        return
      }
      staying++
      claims.waitsFromNow(delivery)
      delivery.urgent = lanes.size > 0 && rules?.ackAhead === false
      for (const [lane, permits] of lanes) {
        delivery.source.lanes.join(delivery, lane)
        left.set(lane, (left.get(lane) ?? 0) + 1)
        const holders = this.#perLane.get(lane) ?? new Holders()
        this.#perLane.set(lane, holders)
        holders.add(delivery.holder, permits)
      }
      delivery.onEnded(() => {
        const empty: Array<string> = []
        for (const [lane, permits] of lanes) if (this.#ends(lane, delivery, permits, left) === 0) empty.push(lane)
        if (--staying === 0) onEnded(item)
        else for (const lane of empty) this.#sequencer?.leave(lane, item)
      })
    })
    if (staying === 0) return true
    if (left.size > 0) this.#sequencer?.add([...left.keys()], item)
    if (rules?.mixed === true) for (const lane of left.keys()) if (this.#isHeldUp(lane)) this.#uncouple(lane)
    return left.size > 0
  }

  /** It has failed and is to run again after a while: its lanes wait for it. */
  hold(item: In): void {
    const rules = this.#rules
    const lanesOf = rules?.of(item) ?? noLanes
    this.#host.deliveries(item).forEach((delivery, i) => {
      if (delivery.isSettling || delivery.heldUntil <= delivery.source.clock.now()) return
      if (rules?.mixed === true) for (const lane of new Set(lanesOf[i])) this.#uncouple(lane)
      delivery.source.lanes.hold(delivery)
    })
  }

  #isHeldUp(lane: string): boolean {
    const [first] = this.#sequencer?.in(lane) ?? []
    return first !== undefined && this.#host.isHeld(first)
  }

  /** What waits behind a held item, and is in an item together with others, would hold those up: it goes back. */
  #uncouple(lane: string): void {
    const [, ...behind] = this.#sequencer?.in(lane) ?? []
    for (const item of behind) {
      const lanesOf = this.#rules?.of(item) ?? noLanes
      const inItem = this.#host
        .deliveries(item)
        .map((delivery, i) => ({ delivery, isInLane: lanesOf[i]?.includes(lane) === true }))
      if (!inItem.some(({ delivery, isInLane }) => !isInLane && !delivery.isSettling)) continue
      for (const { delivery, isInLane } of inItem) if (isInLane) goBack(delivery)
    }
  }

  /** How many of the item are left in the lane. */
  #ends(lane: string, { holder }: InFlight, permits: number, left: Map<string, number>): number {
    const holders = this.#perLane.get(lane)
    holders?.delete(holder, permits)
    if (holders?.isEmpty === true) this.#perLane.delete(lane)
    const ofItem = (left.get(lane) ?? 1) - 1
    left.set(lane, ofItem)
    return ofItem
  }

  #overflows(lane: string, { holder, source }: InFlight): boolean {
    const holders = this.#perLane.get(lane)
    return holders !== undefined && !holders.has(holder) && holders.permits >= Math.ceil(source.demand.maxInFlight / 2)
  }
}

const goBack = (delivery: InFlight) => delivery.settle(delivery.source.settlements.overflow(delivery))
