/**
 * The consumer of what stand-ins stand for, as the stand-ins know it: what is asked for one is asked for all of these. And
 * what a stage that makes stand-ins keeps of them: a source for each consumer, and those whose members have not ended.
 */
import * as Effect from "effect/Effect"
import { together } from "../effect/together.js"
import type { InFlight } from "./inFlight.js"
import type { Demand, Draining, Source } from "./source.js"
import { StandIn, StandIns } from "./standIns.js"

const allOf = (delivery: InFlight): StandIns => {
  if (delivery instanceof StandIn) return delivery.all
  throw new Error(`message ${delivery.message.id} stands for itself`)
}

const forEach = (delivery: InFlight, f: (member: InFlight) => void): void => allOf(delivery).members.forEach(f)

/** Waits until these have ended, each as its own consumer has it; what is not being settled is not waited for. */
const settled = (deliveries: Iterable<InFlight>): Effect.Effect<void> => {
  const bySource = new Map<Source<InFlight>, Array<InFlight>>()
  for (const delivery of deliveries) {
    if (!delivery.isSettling) continue
    const ofSource = bySource.get(delivery.source)
    if (ofSource === undefined) bySource.set(delivery.source, [delivery])
    else ofSource.push(delivery)
  }
  return Effect.asVoid(together([...bySource].map(([{ draining }, own]) => draining.settled(own))))
}

/** Of one run of a stage. */
export class StandInSources {
  readonly #demand: (base: Source<InFlight>) => Pick<Demand, "bound" | "wants">
  readonly #sources = new Map<Source<InFlight>, Source<InFlight>>()
  readonly #open = new Set<StandIns>()

  constructor(demand: (base: Source<InFlight>) => Pick<Demand, "bound" | "wants">) {
    this.#demand = demand
  }

  /** The same one each time: stages keep what they know by it. */
  readonly of = (base: Source<InFlight>): Source<InFlight> => {
    const known = this.#sources.get(base)
    if (known !== undefined) return known
    const source = make(base, this.#demand(base))
    this.#sources.set(base, source)
    return source
  }

  /** What is to stand for these, which must not be over. */
  standFor(members: ReadonlyArray<InFlight>): StandIns {
    const all = new StandIns(members, () => this.#open.delete(all))
    this.#open.add(all)
    return all
  }

  /** The reader has gone: what it has not given to a stage goes back, and receives end first. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const all = [...this.#open]
    if (all.length === 0) return Effect.void
    const members = all.flatMap(({ members }) => members)
    const sources = new Set(members.map(({ source }) => source))
    return together([...sources].map(({ demand }) => demand.stop)).pipe(
      Effect.zipRight(Effect.sync(() => all.forEach((standIns) => standIns.closeSource()))),
      Effect.zipRight(Effect.suspend(() => settled(members)))
    )
  })
}

const draining = (base: Draining<InFlight>): Draining<InFlight> => ({
  get afterStop() {
    return base.afterStop
  },
  get begun() {
    return base.begun
  },
  flushWithin: base.flushWithin,
  endsIn: (stage) => base.endsIn(stage),
  endIsOver: (stage) => base.endIsOver(stage),
  settled: (deliveries) => settled(new Set([...deliveries].flatMap((delivery) => allOf(delivery).members))),
  abandon: (delivery) => forEach(delivery, (member) => member.source.draining.abandon(member))
})

/** Of members of several consumers `base` is the first one's. */
const make = (base: Source<InFlight>, demand: Pick<Demand, "bound" | "wants">): Source<InFlight> => ({
  queue: base.queue,
  clock: base.clock,
  opened: base.opened,
  observer: base.observer,
  demand: {
    ...demand,
    get maxInFlight() {
      return base.demand.maxInFlight
    },
    stop: base.demand.stop
  },
  leases: {
    isOver: (delivery) => delivery instanceof StandIn && delivery.all.isOver(delivery),
    keptUntil: (delivery) =>
      Math.min(...allOf(delivery).members.map((member) => member.source.leases.keptUntil(member))),
    extend: (delivery, millis, onResult) => {
      const { members } = allOf(delivery)
      let open = members.length
      let all = true
      for (const member of members) {
        member.source.leases.extend(member, millis, (confirmed) => {
          all &&= confirmed
          if (--open === 0) onResult(all)
        })
      }
    }
  },
  settlements: {
    begins: () => {},
    settle: (delivery, settlement, awaited) => {
      if (delivery instanceof StandIn) delivery.all.settle(delivery, settlement, awaited)
    },
    ackLate: (delivery) => allOf(delivery).ackLate(),
    overflow: (delivery) => {
      const [first = delivery] = allOf(delivery).members
      return first.source.settlements.overflow(first)
    }
  },
  lanes: {
    join: (delivery, lane) => forEach(delivery, (member) => member.source.lanes.join(member, lane)),
    hold: (delivery) =>
      forEach(delivery, (member) => {
        member.failures.heldUntil = delivery.heldUntil
        member.source.lanes.hold(member)
      })
  },
  draining: draining(base.draining),
  reports: {
    handled: (delivery, millis, succeeded) =>
      forEach(delivery, (member) => {
        member.startedWith = delivery.startedWith
        member.source.reports.handled(member, millis, succeeded)
      }),
    failed: (delivery, failure) => forEach(delivery, (member) => member.source.reports.failed(member, failure)),
    undecided: (delivery, defect) => forEach(delivery, (member) => member.source.reports.undecided(member, defect)),
    blockedLoop: (delivery, what, millis) => {
      const [first = delivery] = allOf(delivery).members
      first.source.reports.blockedLoop(first, what, millis)
    },
    once: (counter) => base.reports.once(counter),
    overShare: () => base.reports.overShare()
  }
})
