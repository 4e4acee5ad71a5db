/**
 * What is ready, by whose turn it is. What is over its key's share waits here as far as there is room, and goes back for as
 * long as its key needs: on an ordered queue behind what its group has here, which comes to the same.
 */
import * as Settlement from "../../Settlement.js"
import type { Tunable } from "../../Tunable.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Clock, Source } from "../lease/source.js"
import type { Gate } from "./gate.js"
import { type HowEnded, type Ready, remove } from "./ready.js"
import { fewReceives, isLast, noGroups, type ShareRules, spared } from "./shareRules.js"
import { Shares } from "./shares.js"

/** Messages before a queue counts as one without groups. */
const looksAt = 100

export class InTurn<A> implements Ready<A> {
  readonly #rules: ShareRules<A>
  readonly #deliveryOf: (item: A) => InFlight | undefined
  readonly #shares: Shares<A>
  readonly #sources = new Set<Source<InFlight>>()
  readonly #warn: (text: string) => void
  /** Messages without a group, before the first that has one. */
  #groupless = 0
  /** Queues that share one have it in common. */
  readonly #bounds = new Set<Tunable>()
  #deferred: Array<A> = []
  #clock: Clock | undefined

  constructor(rules: ShareRules<A>, deliveryOf: (item: A) => InFlight | undefined, warn: (text: string) => void) {
    this.#rules = rules
    this.#warn = warn
    this.#deliveryOf = deliveryOf
    this.#shares = new Shares<A>({
      terms: rules.terms,
      now: () => this.#clock?.now() ?? 0,
      room: () => {
        let room = 0
        for (const bound of this.#bounds) room += bound.unsafeGet()
        return room
      }
    })
  }

  get size(): number {
    return this.#shares.ready + this.#deferred.length
  }

  get useful(): number {
    return this.#shares.useful
  }

  get items(): Iterable<A> {
    return this.#shares
  }

  /** When something may run, or more be asked for, though nothing happens: on the stage's clock, in milliseconds. */
  get wakesIn(): number | undefined {
    const at = this.#shares.wakeAt
    return at === undefined ? undefined : Math.max(1, at - (this.#clock?.now() ?? 0))
  }

  admits(item: A): boolean {
    const delivery = this.#deliveryOf(item)
    if (delivery === undefined || delivery.isSettling) return false
    const { source } = delivery
    this.#clock ??= source.clock
    if (!this.#sources.has(source)) this.#meet(source)
    const key = this.#rules.key(item)
    if (this.#rules.byGroup) this.#count(key, source)
    if (key === undefined || isLast(delivery) || this.#shares.hasRoom(key, spared(delivery))) {
      this.#shares.add(key, item)
      return true
    }
    source.reports.overShare()
    // Behind what is here of its group the queue keeps it anyhow: it takes no time of its key's of its own.
    const follows = source.queue.ordered && followsOne(delivery)
    delivery.settle(follows ? source.settlements.overflow(delivery) : Settlement.retry(this.#shares.awayFor(key)))
    return false
  }

  #meet(source: Source<InFlight>): void {
    this.#sources.add(source)
    this.#bounds.add(source.demand.bound)
    const warning = fewReceives(source)
    if (warning !== undefined) this.#warn(warning)
  }

  #count(group: string | undefined, source: Source<InFlight>): void {
    if (this.#groupless > looksAt) return
    if (group !== undefined) this.#groupless = Infinity
    else if (++this.#groupless === looksAt) this.#warn(noGroups(looksAt, source))
  }

  push(item: A): void {
    this.#shares.push(item)
  }

  resume(gate: Gate | undefined): void {
    if (this.#deferred.length === 0 || gate?.flow !== "all") return
    for (const item of this.#deferred.reverse()) this.#shares.push(item, true)
    this.#deferred = []
  }

  shift(): A | undefined {
    const next = this.#shares.next()
    if (next !== undefined || this.#deferred.length === 0) return next
    // As a probe.
    const item = this.#deferred.shift()
    if (item !== undefined) this.#shares.push(item, true)
    return this.#shares.next()
  }

  ends(item: A, how: HowEnded): void {
    if (how === "done" && this.#rules.untilEnded) return
    if (how === "done") {
      this.#shares.ends(item)
      return
    }
    this.#shares.waits(item, how !== "notRun")
    if (how === "deferred") this.#deferred.push(item)
  }

  drop(item: A): void {
    if (this.#rules.untilEnded) this.#shares.ends(item)
    this.#shares.leaves(item)
    remove(this.#deferred, item)
  }
}

/** Whether something of its group that stays here came before it. */
const followsOne = (delivery: InFlight): boolean => {
  for (const member of delivery.lane?.members ?? []) {
    if (member === delivery) return false
    if (!member.isSettling) return true
  }
  return false
}
