/** Programs of promises that end once their queue is empty, on vitest's timers. */
// @effect-diagnostics globalTimers:off
import * as Tunable from "@millrace/core/Tunable"
import { consume, deliveries, SqsCallError } from "@millrace/promise"
import { emulator, passTime } from "@millrace/promise/testing"
import { Data, Effect, Stream } from "effect"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { Emitter, HostedConsumer } from "../src/internal/host.js"

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const made = async () => {
  const sqs = await emulator({ queues: { orders: {} } })
  await sqs.send("orders", ["1", "2", "3"])
  return { sqs, options: { queue: "orders", client: sqs.client, logger: false, stopWhenIdle: "30 seconds" } as const }
}

it("a consumer works through its queue and has ended; an event tells it, and a stop is none more", async () => {
  const { options, sqs } = await made()
  const handled: Array<string> = []
  const stops: Array<unknown> = []
  const consumer = consume({ ...options, handler: (body) => handled.push(body) })
  consumer.events.on("stopped", (report) => stops.push(report))
  await passTime(vi, consumer.ended())
  expect(handled.sort()).toEqual(["1", "2", "3"])
  expect(consumer.stats()).toMatchObject({ acked: 3, inFlight: 0 })
  await passTime(vi, consumer.stop())
  await passTime(vi, consumer.ended())
  expect(stops).toEqual([{ finished: 0, released: 0, lost: 0, stranded: 0 }])
  await passTime(vi, sqs.close())
})

it("a stop ends it too; what it cannot start for is told", async () => {
  const { options, sqs } = await made()
  const consumer = consume({ ...options, stopWhenIdle: undefined, handler: () => undefined })
  const ended = passTime(vi, consumer.ended())
  await passTime(vi, consumer.start())
  await passTime(vi, consumer.stop())
  await ended
  const nowhere = consume({ ...options, queue: "nowhere", handler: () => undefined })
  await expect(passTime(vi, nowhere.ended())).rejects.toThrow(SqsCallError)
  await passTime(vi, sqs.close())
})

class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

/** A consumer of a pipeline that the public functions make none of. */
const consumerOf = (
  { options: { client, logger, queue } }: Awaited<ReturnType<typeof made>>,
  stream: Stream.Stream<never, Error>
) =>
  new HostedConsumer({
    queue,
    connection: { client, logger },
    options: {},
    warnings: Effect.void,
    emitter: new Emitter(),
    concurrency: Effect.runSync(Tunable.make("concurrency", 1, { min: 1 })),
    pipeline: () => stream
  })

it("what it failed of is told by every ended(), also after a stop", async () => {
  const queue = await made()
  const consumer = consumerOf(queue, Stream.fail(new Broken({ message: "broken" })))
  const told: Array<Error> = []
  consumer.events.on("error", (error) => told.push(error))
  await passTime(vi, consumer.start())
  await vi.advanceTimersByTimeAsync(1_000)
  await passTime(vi, consumer.stop())
  for (let time = 0; time < 2; time++) await expect(passTime(vi, consumer.ended())).rejects.toThrow("broken")
  expect(told.map(({ message }) => message)).toEqual(["broken"])
  const other = consumerOf(queue, Stream.fail(new Broken({ message: "broken" })))
  for (let time = 0; time < 2; time++) await expect(passTime(vi, other.ended())).rejects.toThrow("broken")
  await passTime(vi, queue.sqs.close())
})

it("ended() does not wait for a pipeline that the stop has let go", async () => {
  const queue = await made()
  const consumer = consumerOf(queue, Stream.fromEffect(Effect.uninterruptible(Effect.never)))
  await passTime(vi, consumer.start())
  const ended = consumer.ended()
  await vi.advanceTimersByTimeAsync(1_000)
  await passTime(vi, consumer.stop())
  await passTime(vi, ended)
  await passTime(vi, queue.sqs.close())
})

it("a loop ends", async () => {
  const { options, sqs } = await made()
  const seen: Array<string> = []
  const loop = async () => {
    for await (const { ack, body } of deliveries(options)) {
      seen.push(body)
      await ack()
    }
  }
  await passTime(vi, loop())
  expect(seen.sort()).toEqual(["1", "2", "3"])
  await passTime(vi, sqs.close())
})
