/** Each cause injected alone, and runs with nothing wrong. */
import type { Diagnosis, LeaseQueue } from "@millrace/core"
import type { SqsError } from "@millrace/sqs"
import { Effect } from "effect"
import type { Case } from "./Ward.js"

export const steady = (rate: number) => () => rate
const takes = (millis: number) => () => millis

/** Keeps up with ease: 20 a second take 4 of 8 slots. */
const sound = { arrivals: steady(20), handler: takes(200), slots: 8 } satisfies Case

/** So many calls at once, as a client with that many sockets. */
export const pool = (max: number) => (queue: LeaseQueue.LeaseQueue<SqsError.SqsError>) =>
  Effect.map(Effect.makeSemaphore(max), (sockets): typeof queue => {
    let open = 0
    let waiting = 0
    const through = <A, E>(call: Effect.Effect<A, E>) =>
      Effect.suspend(() => {
        waiting++
        return sockets.withPermits(1)(
          Effect.suspend(() => {
            waiting--
            open++
            return Effect.ensuring(
              call,
              Effect.sync(() => {
                open--
              })
            )
          })
        )
      })
    return {
      ...queue,
      connections: Effect.sync(() => ({ max, open, waiting })),
      receive: (request) => through(queue.receive(request)),
      ack: (leases) => through(queue.ack(leases)),
      setLease: (entries) => through(queue.setLease(entries))
    }
  })

export const causes = {
  TooFewSlots: { ...sound, slots: 3 },
  CpuBound: {
    ...sound,
    handler: ({ running }) => 200 * Math.max(1, running / 3),
    load: () => ({ utilization: 0.99, delay: 120, delayP99: 400 })
  },
  SlowHandler: { ...sound, handler: ({ at }) => (at < 100 ? 200 : 800) },
  SaturatedDownstream: {
    ...sound,
    arrivals: steady(60),
    slots: 32,
    handler: ({ running }) => 200 * Math.max(1, running / 8)
  },
  SlowCalls: { ...sound, arrivals: steady(60), slots: 20, latency: "900 millis", consumer: { maxInFlight: 40 } },
  ConnectionsExhausted: {
    ...sound,
    arrivals: steady(60),
    slots: 20,
    latency: "250 millis",
    wrap: pool(2)
  },
  VisibilityTimeoutTooShort: {
    ...sound,
    arrivals: steady(2),
    handler: takes(3500),
    slots: 12,
    visibilityTimeout: 3,
    consumer: { heartbeat: false, linger: "250 millis" }
  },
  Throttled: { ...sound, odds: { throttle: 0.9 }, operations: ["ReceiveMessage"] },
  IntakeTooSmall: { ...sound, slots: 16, arrivals: steady(40), consumer: { maxInFlight: 5 } },
  RateLimited: { ...sound, consumer: { rate: { perSecond: 10 } } },
  Retries: { ...sound, fails: ({ first, body }) => !first || Number(body.slice(1)) % 3 === 0 },
  HotGroup: { ...sound, fifo: true, group: (draw) => (draw < 0.7 ? "hot" : `g${Math.floor(draw * 1000)}`) },
  StuckGroup: {
    ...sound,
    fifo: true,
    group: (draw) => `g${Math.floor(draw * 20)}`,
    hangs: ({ at, group }) => group === "g7" && at > 60
  },
  InFlightWindowFull: {
    ...sound,
    fifo: true,
    inFlightLimit: 60,
    hoarded: 58
  },
  ProducerBurst: { ...sound, arrivals: (at) => (at >= 125 && at < 145 ? 150 : 20), slots: 8 },
  Paused: { ...sound, meanwhile: (consumer) => Effect.zipRight(Effect.sleep("100 seconds"), consumer.pause) },
  CircuitOpen: { ...sound, circuit: true, fails: ({ at }) => at > 70 }
} satisfies Readonly<Record<CauseOfLag, Case>>

/** `NoisyTenant` says who, beside what is short: it is tested with shares. */
export type CauseOfLag = Exclude<Diagnosis.Cause, "NoisyTenant">

export const healthy = {
  idle: { ...sound, arrivals: steady(0.2) },
  "50 %": sound,
  "70 %": { ...sound, arrivals: steady(28) },
  "a small backlog that drains": { ...sound, backlog: 300, until: 75 },
  "FIFO with many groups": { ...sound, fifo: true },
  "long handlers with heartbeats": {
    ...sound,
    arrivals: steady(0.2),
    handler: takes(40_000),
    slots: 14,
    until: 400
  },
  "a day's swing": { ...sound, arrivals: (at) => 18 + 8 * Math.sin(at / 40) },
  "the usual failures": { ...sound, fails: ({ draw }) => draw < 0.02 },
  "the usual faults": {
    ...sound,
    odds: { fail: 0.01, throttle: 0.005, shortReceive: 0.2, delay: 0.05, maxDelay: "300 millis" }
  }
} satisfies Readonly<Record<string, Case>>
