/** What the slots lack, or what makes each of them slow: their number, the CPU, the handler, what it calls. */
import * as Histogram from "../../../Histogram.js"
import { asManyBy } from "../probes.js"
import { atMost, number, percent, perSecond, roundUp, say, set, time } from "../words.js"
import { type Describing, demand, permitsFor } from "./describing.js"

export const slots: Describing<"TooFewSlots" | "CpuBound" | "SlowHandler" | "SaturatedDownstream"> = {
  TooFewSlots: (lag, { enough, needed }) => {
    const { handlerTime = 0, load, now, running, slots, throughput, arrivals, required } = lag
    const wanted = atMost(Math.min(needed * 1.2, Math.max(enough * 1.8, enough + 1)))
    const setting = lag.bounded ? "concurrency" : "maxInFlight"
    const permits = permitsFor(wanted, lag)
    return {
      title: "Too few slots",
      figures: {
        slots,
        busy: running / slots,
        needed,
        handlerTime,
        throughput,
        arrivals,
        utilization: load?.utilization
      },
      evidence: `${number(running)} of ${number(slots)} slots are busy, a handler takes ${time(handlerTime)} as before, and ${demand(lag)}${
        load === undefined ? "" : `; the event loop is ${percent(load.utilization)} busy`
      }.`,
      advice: [
        set(
          setting,
          wanted,
          `Set \`${setting}\` to ${wanted} (now ${number(slots)}), or run ${Math.ceil(wanted / slots)} consumers like this one.`
        ),
        ...(lag.bounded && now.stats.maxInFlight < permits
          ? [
              set(
                "maxInFlight",
                permits,
                `Set \`maxInFlight\` to ${permits} (now ${now.stats.maxInFlight}), so that they are not short of messages.`
              )
            ]
          : [])
      ],
      why: `Each slot does one message in ${time(handlerTime)}, so ${perSecond(required)} take ${number(needed)} slots (rate × time), and a fifth more to spare; handlers that wait for others cost this process next to nothing.`
    }
  },

  CpuBound: (lag) => {
    const { load = { utilization: 0, delay: 0, delayP99: 0 }, required, throughput } = lag
    const processes = Math.max(2, Math.ceil((required / Math.max(throughput, 1e-9)) * 1.2))
    return {
      title: "The process is out of CPU",
      figures: { ...load, throughput },
      evidence: `The event loop is busy ${percent(load.utilization)} of the time and timers are ${time(load.delay)} late (99th percentile ${time(load.delayP99)}), while ${demand(lag)}.`,
      advice: [
        set(
          "consumers",
          Math.min(processes, 1000),
          `Run ${Math.min(processes, 1000)} processes for each that runs now, or move the heavy work of the handler to a worker thread.`
        ),
        say(
          "Profile it (`node --cpu-prof`): JSON of large bodies, compression and synchronous calls are the usual finds."
        )
      ],
      why: "All handlers of a process share one thread. When it is full, more slots only make each handler slower; another process brings another thread."
    }
  },

  SlowHandler: (lag, { best, needed }) => {
    const { handlerTime = 0, now, perSlot, probes, slots, usualTime, quick, required, running } = lag
    const usual = usualTime ?? quick?.time ?? best
    const p99 = Histogram.quantile(now.handler, 0.99) ?? handlerTime
    // What takes long for a queue of its own would be cut off by less, and only come again.
    const timeout = roundUp(Math.max(5 * usual, 3 * p99))
    const wanted = (required * handlerTime * 1.2) / 1000 / perSlot
    const bridge = atMost(Math.min(wanted, 2 * slots))
    const back = asManyBy(probes, running)
    return {
      title: "The handler has become slow",
      figures: { handlerTime, usual, slots, needed },
      evidence: `A handler takes ${time(handlerTime)} where it took ${time(usual)}: ${number(handlerTime / Math.max(usual, 1e-3))} times as long, so that ${number(slots)} slots do ${perSecond((slots * perSlot * 1000) / Math.max(handlerTime, 1e-3))} instead of ${perSecond((slots * perSlot * 1000) / Math.max(usual, 1e-3))}.`,
      advice: [
        say("Look at what the handler calls (a database, another service): what has changed there since?"),
        set(
          "timeout",
          timeout,
          `Give the handler a \`timeout\` of ${time(timeout)} if it may be tried again: above all that it takes now, so that only a call that hangs loses its slot.`
        ),
        ...(back !== undefined
          ? [
              set(
                "concurrency",
                Math.max(1, Math.ceil(back)),
                `Go back to ${Math.max(1, Math.ceil(back))} slots: more have not got more done.`
              )
            ]
          : bridge > slots
            ? [
                set(
                  "concurrency",
                  bridge,
                  `Until it is quick again, try ${bridge} slots, if what it calls can take that; go back where the rate does not follow.`
                )
              ]
            : [])
      ],
      why: `At its usual ${time(usual)} the required ${perSecond(required)} take ${number(needed)} slots, and there are ${number(slots)}.`
    }
  },

  SaturatedDownstream: ({ handlerTime = 0, now, perSlot, probes, quick, running, runs }, { best }) => {
    const few = quick?.running ?? 1
    const fewTime = quick?.time ?? best
    const rate = runs / now.seconds
    const enough = Math.max(
      1,
      Math.ceil(Math.min(asManyBy(probes, running) ?? Infinity, (rate * fewTime * 1.3) / 1000 / perSlot))
    )
    return {
      title: "What the handler calls is saturated",
      figures: { running, handlerTime, few, fewTime, best: enough, throughput: rate },
      evidence: `With about ${number(few)} running a handler takes ${time(fewTime)}, with ${number(running)} it takes ${time(handlerTime)}: the rate stays at ${perSecond(rate)}, which ${enough} at once would give too.`,
      advice: [
        set(
          "concurrency",
          enough,
          `Set \`concurrency\` to ${enough} (${number(running)} run now): the rate stays, and each message takes ${time(fewTime)} again.`
        ),
        say(
          "For a higher rate, give the downstream more: a larger pool, more replicas, fewer or cheaper calls a message (Pipeline.batch)."
        )
      ],
      why: "Beyond its capacity a downstream only queues: rate = running ÷ time, so time grows as fast as running does. Fewer at once wait in SQS instead, where waiting costs nothing and no lease."
    }
  }
}
