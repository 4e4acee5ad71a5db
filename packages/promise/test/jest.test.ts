/**
 * The test kit on jest's timers, which fake more than vitest's do: `process.nextTick`, `queueMicrotask` and `performance` too.
 * They are those that `jest.useFakeTimers()` puts in place, without jest around them.
 */
// @effect-diagnostics globalDate:off globalTimers:off
import { consume, deliveries, HandlerTimeoutError } from "@millrace/promise"
import { type Emulator, emulator, type FakeTimers, passTime } from "@millrace/promise/testing"
import { afterEach, beforeEach, expect, it, vi } from "vitest"

interface JestTimers extends FakeTimers {
  readonly useFakeTimers: () => void
  readonly useRealTimers: () => void
}

/** What is used of it: its own types ask for a whole project's configuration, of which it reads this. */
interface Module {
  readonly ModernFakeTimers: new (of: {
    readonly global: typeof globalThis
    readonly config: { readonly fakeTimers: object }
  }) => JestTimers
}

const { ModernFakeTimers } = await vi.importActual<Module>("@jest/fake-timers")
const jest = new ModernFakeTimers({ global: globalThis, config: { fakeTimers: {} } })

let sqs: Emulator

beforeEach(async () => {
  jest.useFakeTimers()
  sqs = await emulator({ queues: { orders: { visibilityTimeout: "30 seconds" } } })
})

afterEach(async () => {
  await passTime(jest, sqs.close())
  jest.useRealTimers()
})

const quiet = { queue: "orders", logger: false } as const

it("its time is jest's: a message that is kept comes again when its delay is over, and a handler's timeout too", async () => {
  await sqs.send("orders", ["a"])
  const began: Array<number> = []
  const reasons: Array<unknown> = []
  const startedAt = Date.now()
  const consumer = consume({
    ...quiet,
    client: sqs.client,
    timeout: "5 seconds",
    retry: () => ({ retryIn: "10 minutes" }),
    handler: async (_body, { attempt, signal }) => {
      began.push(Date.now() - startedAt)
      if (attempt === 1) throw new Error("not yet")
      if (attempt > 2) return
      await new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          reasons.push(signal.reason)
          reject(signal.reason)
        })
      })
    }
  })
  await passTime(jest, consumer.start())
  await passTime(jest, sqs.settled("orders", 1))
  const [first = -1, second = -1, third = -1] = began
  expect(second - first).toBeGreaterThanOrEqual(600_000)
  expect(second - first).toBeLessThan(605_000)
  expect(third - second).toBeGreaterThanOrEqual(605_000)
  expect(third - second).toBeLessThan(610_000)
  expect(reasons).toEqual([expect.any(HandlerTimeoutError)])
  expect(await passTime(jest, consumer.stop())).toMatchObject({ lost: 0 })
})

it("a stop aborts what still runs when its time is over, and gives it back", async () => {
  await sqs.send("orders", ["a"])
  let signal: AbortSignal | undefined
  const consumer = consume({
    ...quiet,
    client: sqs.client,
    handler: (_body, context) => {
      signal = context.signal
      return new Promise(() => {})
    }
  })
  await passTime(jest, consumer.start())
  while (signal === undefined) await jest.advanceTimersByTimeAsync(10)
  expect(await passTime(jest, consumer.stop({ timeout: "3 seconds" }))).toMatchObject({ released: 1 })
  expect(signal.aborted).toBe(true)
  expect(await sqs.snapshot("orders")).toMatchObject({ visible: 1, inFlight: 0 })
})

it("a loop of deliveries ends with its messages", async () => {
  await sqs.send("orders", ["a", "b"])
  const bodies: Array<string> = []
  const loop = async () => {
    for await (const { ack, body } of deliveries({ ...quiet, client: sqs.client, stopWhenIdle: "1 minute" })) {
      bodies.push(body)
      await ack()
    }
  }
  await passTime(jest, loop())
  expect(bodies.sort()).toEqual(["a", "b"])
  expect(await sqs.snapshot("orders")).toMatchObject({ deleted: 2 })
})
