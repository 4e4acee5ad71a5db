/** A queue of a hundred tenants, one of which has nine tenths of the messages and sends them half a minute's worth at a time. */
import { Consumer, Pipeline, type Share } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Effect, Random, Schedule, Stream } from "effect"
import { percentile } from "../Format.js"

export const slots = 20
/** Of a handler, on average, in milliseconds. */
const work = 200
/** Messages a second. */
const capacity = (slots * 1000) / work
const quiet = 0.09 * capacity
const noisy = 0.81 * capacity
export const burst = 30
/** In seconds. */
export const lasts = 90

export interface Played {
  readonly name: string
  /** From send to done, of the quiet tenants' messages: when they were sent, in seconds, and how long it took. */
  readonly waits: ReadonlyArray<readonly [at: number, seconds: number]>
  readonly p95: number
  /** Messages of all tenants that were handled. */
  readonly done: number
  /** How often the noisy one's messages were received: of half of them, and of 95 %. */
  readonly receives: readonly [half: number, most: number]
}

export const play = (name: string, isNoisy: boolean, share: Share.Options<unknown> | undefined) =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make({ latency: "20 millis" })
    const waits: Array<readonly [number, number]> = []
    const receives: Array<number> = []
    let done = 0
    yield* Consumer.stream(queue, { maxInFlight: 10 * slots }).pipe(
      Pipeline.process(
        (body, { message }) =>
          Effect.gen(function* () {
            yield* Effect.sleep(yield* Random.nextIntBetween(work / 2, (work * 3) / 2))
            done++
            const sentAt = Number(body)
            const now = yield* Clock.currentTimeMillis
            if (message.group === "noisy") receives.push(message.attempt)
            else waits.push([sentAt / 1000, (now - sentAt) / 1000])
          }),
        { concurrency: slots, share }
      ),
      Stream.runDrain,
      Effect.fork
    )
    const send = (group: string, count: number) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        queue.send(Array.from({ length: count }, () => ({ body: String(now), group })))
      )
    yield* Random.nextIntBetween(0, 99).pipe(
      Effect.flatMap((tenant) => send(`quiet ${tenant}`, 1)),
      Effect.zipRight(Effect.flatMap(Random.next, (x) => Effect.sleep((-Math.log(1 - x) * 1000) / quiet))),
      Effect.forever,
      Effect.fork
    )
    if (isNoisy) {
      yield* Effect.fork(Effect.repeat(send("noisy", burst * noisy), Schedule.spaced(burst * 1000)))
    }
    yield* Effect.sleep(lasts * 1000)
    const sorted = (all: ReadonlyArray<number>) => [...all].sort((a, b) => a - b)
    const ofReceives = (part: number) => percentile(sorted(receives), part) ?? 0
    const played: Played = {
      name,
      waits: [...waits].sort(([a], [b]) => a - b),
      p95: percentile(sorted(waits.map(([, seconds]) => seconds)), 0.95) ?? 0,
      done,
      receives: [ofReceives(0.5), ofReceives(0.95)]
    }
    return played
  }).pipe(Effect.scoped)
