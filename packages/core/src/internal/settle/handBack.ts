/**
 * Gives deliveries back in an order that keeps invariant 5: what is behind one in its group goes before it, the last first,
 * and in the queue's sight too, as `lease/groupOrder.ts` says.
 */
import * as Duration from "effect/Duration"
import type { LeaseKeeper } from "../../LeaseKeeper.js"
import * as Settlement from "../../Settlement.js"
import type { Settler } from "../../Settler.js"
import * as Sequencer from "../lease/groupOrder.js"
import type { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import type { Permits } from "../receive/permits.js"
import { asReleased, type Leaving, type Requests } from "./requests.js"

/** What it needs of its consumer. */
export interface Host {
  readonly ordered: boolean
  readonly batchSize: number
  readonly table: InFlightTable
  readonly requests: Requests
  readonly keeper: Pick<LeaseKeeper<unknown, InFlight>, "stop">
  readonly settler: Pick<Settler, "submitInOrder">
  readonly now: () => number
  readonly permits: Pick<Permits, "isFull" | "share">
}

/** How long a standard queue keeps what is too much for its lane, in milliseconds: twice as long each time. */
const shortestOverflow = 2000
const longestOverflow = 5 * 60 * 1000

export const make = ({ batchSize, keeper, now, ordered, permits, requests, settler, table }: Host) => {
  /** What is behind it in its group, the last first, and from now on being settled. */
  const tailBehind = ({ message }: InFlight): ReadonlyArray<InFlight> => {
    if (message.group === undefined || message.sequence === undefined) return []
    const behind = Sequencer.behind(message.sequence, table.lanes.in(message.group))
    return behind.filter((delivery) => {
      if (!delivery.beginSettling()) return false
      delivery.owner?.lose(delivery)
      return true
    })
  }

  /** Each in the order that it is given in, several to a call where they fit; no extension of any is in the air then. */
  const send = (runs: ReadonlyArray<ReadonlyArray<Leaving>>): void => {
    let call: Array<Leaving> = []
    const sendCall = () => {
      const all = call
      call = []
      let flying = all.length
      const landed = () => {
        if (--flying === 0) settler.submitInOrder(all.map((leaving) => requests.entry(leaving)))
      }
      for (const { delivery } of all) keeper.stop(delivery, landed)
    }
    for (const run of runs) {
      if (call.length + run.length > batchSize) sendCall()
      for (const leaving of run) call.push(leaving)
    }
    sendCall()
  }

  /** An ordered queue keeps it behind its head; a standard one would send it again at once, and count each time. */
  const overflow = ({ message }: InFlight): Settlement.Settlement => {
    if (ordered) return Settlement.release
    return Settlement.retry(Math.min(shortestOverflow * 2 ** (message.attempt - 1), longestOverflow))
  }

  return {
    overflow,

    /** Ends one as it is to, and before it gives back what it must not be overtaken by. */
    withTail(leaving: Leaving): void {
      const { delivery } = leaving
      const behind = ordered && delivery.tries?.skipped !== true ? tailBehind(delivery) : []
      send([[...behind.map(asReleased), leaving]])
    },

    /** What follows a lost head must not run before that comes again. */
    tailOf(head: InFlight): void {
      if (!ordered || head.tries?.skipped === true) return
      send([tailBehind(head).map(asReleased)])
    },

    /** Releases all of these, each with its tail, and tells which. */
    release(which: (delivery: InFlight) => boolean): ReadonlyArray<InFlight> {
      const released: Array<InFlight> = []
      const runs: Array<ReadonlyArray<Leaving>> = []
      for (const delivery of [...table]) {
        if (!which(delivery) || !delivery.beginSettling()) continue
        const run = ordered ? [...tailBehind(delivery), delivery] : [delivery]
        for (const each of run) released.push(each)
        runs.push(run.map(asReleased))
      }
      send(runs)
      return released
    },

    /**
     * Where many lanes fail: somebody waits for permits, and what failed keeps more than half of its share. The excess goes back,
     * of each lane the last first, and nothing of a lane that does not wait.
     */
    makeRoom(): void {
      if (!permits.isFull) return
      const time = now()
      const { heads, tails } = table.lanes.excess(Math.floor(permits.share / 2), time)
      const runs: Array<ReadonlyArray<Leaving>> = []
      for (const tail of tails) {
        const going = tail.filter((delivery) => delivery.beginSettling())
        runs.push(going.map((delivery) => ({ delivery, settlement: overflow(delivery), awaited: false })))
      }
      for (const delivery of heads) {
        if (!delivery.beginSettling()) continue
        const settlement = Settlement.retry(Duration.millis(delivery.heldUntil - time))
        runs.push([...tailBehind(delivery).map(asReleased), { delivery, settlement, awaited: false }])
      }
      send(runs)
    }
  }
}

export type HandBack = ReturnType<typeof make>
