/** Programs of promises that end once their queue is empty, on vitest's timers. */
// @effect-diagnostics globalTimers:off
import { consume, deliveries, SqsCallError } from "@millrace/promise"
import { emulator, passTime } from "@millrace/promise/testing"
import { afterEach, beforeEach, expect, it, vi } from "vitest"

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
