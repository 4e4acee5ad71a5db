// Programs of promises, on vitest's timers.
// @effect-diagnostics globalDate:off globalTimers:off
import { IdempotencyStore } from "@millrace/core"
import { MemoryIdempotencyStore } from "@millrace/core/testing"
import {
  type ConsumeOptions,
  type Consumer,
  consume,
  consumeBatches,
  deliveries,
  HandlerTimeoutError,
  InvalidBodyError,
  InvalidOptionsError,
  LeaseLostError,
  memoryStore,
  produce,
  SendError,
  SqsCallError,
  StoppedError
} from "@millrace/promise"
import { type Emulator, type EmulatorOptions, emulator, passTime } from "@millrace/promise/testing"
import { SqsError } from "@millrace/sqs"
import { type } from "arktype"
import { Context, Effect, Layer, Schema } from "effect"
import * as v from "valibot"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { z } from "zod"
import { plain } from "../src/internal/plain.js"

const standard: EmulatorOptions = {
  queues: { orders: { deadLetter: { queue: "dead", maxReceiveCount: 10 } }, "orders.fifo": {} }
}

beforeEach(() => {
  vi.useFakeTimers()
})

const closing: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await passTime(vi, close())
  vi.useRealTimers()
})

const sqsOf = async (options = standard): Promise<Emulator> => {
  const sqs = await emulator(options)
  closing.push(sqs.close)
  return sqs
}

const started = async (consumer: Consumer): Promise<Consumer> => {
  closing.push(consumer.stop)
  await passTime(vi, consumer.start())
  return consumer
}

const quiet = { queue: "orders", logger: false } as const

/** A handler that ends only by its signal, and what that fires with. */
const waiting = () => {
  const reasons: Array<unknown> = []
  const handler: ConsumeOptions<string>["handler"] = (_body, { signal }) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => {
        reasons.push(signal.reason)
        reject(signal.reason)
      })
    })
  return { reasons, handler }
}

describe("what deletes a message, and what keeps it", () => {
  it("returning deletes, whatever is returned", async () => {
    const sqs = await sqsOf()
    const answers = [undefined, null, false, 0, {}, []]
    await sqs.send(
      "orders",
      answers.map((_, i) => `message ${i}`)
    )
    let i = 0
    await started(consume({ ...quiet, client: sqs.client, handler: async () => answers[i++] }))
    await passTime(vi, sqs.settled("orders", 6))
    expect(await sqs.snapshot("orders")).toMatchObject({ deleted: 6, visible: 0, inFlight: 0, deadLettered: 0 })
  })

  it("throwing keeps, and it comes again with its attempt counted", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const attempts: Array<number> = []
    await started(
      consume({
        ...quiet,
        client: sqs.client,
        handler: async (_body, { attempt }) => {
          attempts.push(attempt)
          if (attempt < 3) throw new Error("not yet")
        }
      })
    )
    await passTime(vi, sqs.settled("orders", 1))
    expect(attempts).toEqual([1, 2, 3])
  })

  it("a throw that is not in a promise keeps too", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    let runs = 0
    await started(
      consume({
        ...quiet,
        client: sqs.client,
        handler: () => {
          if (++runs === 1) throw new Error("at once")
        }
      })
    )
    await passTime(vi, sqs.settled("orders", 1))
    expect(runs).toBe(2)
  })

  const fail = async () => {
    throw new Error("never")
  }

  it("after its attempts a message goes to the dead letters", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const retry = { attempts: 3, delay: "1 second" } as const
    const consumer = await started(consume({ ...quiet, client: sqs.client, handler: fail, retry, deadLetter: true }))
    await passTime(vi, sqs.settled("orders", 1))
    expect(consumer.stats()).toMatchObject({ failed: 3, deadLettered: 1 })
    expect((await sqs.messages("dead")).map(({ body }) => body)).toEqual(["a"])
  })

  it("without deadLetter it is left, for the redrive policy to take", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const retry = { attempts: 3, delay: "1 second" } as const
    const consumer = await started(consume({ ...quiet, client: sqs.client, handler: fail, retry }))
    await passTime(vi, sqs.settled("orders", 1))
    // Its queue takes it away at the eleventh receive.
    expect(consumer.stats()).toMatchObject({ failed: 10, retried: 2, left: 8, deadLettered: 0 })
    expect(await sqs.snapshot("orders")).toMatchObject({ deleted: 0, deadLettered: 1 })
  })

  it("deadLetter that answers with a promise is no yes: it is left", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const lines: Array<string> = []
    const log = (line: string) => lines.push(line)
    const logger = { debug: () => {}, info: log, warn: log, error: log }
    const options = { ...quiet, logger, client: sqs.client, handler: fail, deadLetter: async () => false }
    // As plain JavaScript calls it.
    const consumer: Consumer = Reflect.apply(consume, undefined, [options])
    await started(consumer)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(consumer.stats()).toMatchObject({ failed: 1, deadLettered: 0, left: 1 })
    expect(lines.join("\n")).toContain("deadLetter answers with true or false, and not with a promise")
  })

  it("a key that was used for another is dead-lettered, by options of retry too", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const once = { store: memoryStore(), key: () => "one" }
    const consumer = await started(
      consume({ ...quiet, client: sqs.client, handler: async () => {}, once, retry: { attempts: 5 } })
    )
    await passTime(vi, sqs.settled("orders", 1))
    await sqs.send("orders", ["b"])
    await passTime(vi, sqs.settled("orders", 2))
    expect(consumer.stats()).toMatchObject({ deadLettered: 1 })
  })

  it("an error of the handler's is handed on as it is, whatever its tag", async () => {
    class DecodeError extends Error {
      readonly _tag = "DecodeError"
    }
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const thrown = new DecodeError("a file's, and not the message's")
    const heard: Array<unknown> = []
    const handler = async () => {
      throw thrown
    }
    const consumer = consume({ ...quiet, client: sqs.client, handler, retry: { attempts: 1 } })
    consumer.events.on("processing_error", (error) => heard.push(error))
    await started(consumer)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(heard[0]).toBe(thrown)
    expect(consumer.stats()).toMatchObject({ left: 1, deadLettered: 0 })
  })

  it("an error that deadLetter names goes there at once", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const handler = async () => {
      throw new RangeError("hopeless")
    }
    const deadLetter = (error: unknown) => error instanceof RangeError
    const consumer = await started(consume({ ...quiet, client: sqs.client, handler, deadLetter }))
    await passTime(vi, sqs.settled("orders", 1))
    expect(consumer.stats()).toMatchObject({ failed: 1, deadLettered: 1 })
  })

  it("a function decides each failure by itself", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const times: Array<number> = []
    const handler = async () => {
      times.push(Date.now())
      throw new Error("no")
    }
    await started(
      consume({
        ...quiet,
        client: sqs.client,
        handler,
        retry: (_error, { attempt }) => (attempt < 3 ? { retryIn: "7 seconds" } : "discard")
      })
    )
    await passTime(vi, sqs.settled("orders", 1))
    const [first = 0, second = 0, third = 0] = times
    expect(times.length).toBe(3)
    expect(second - first).toBeGreaterThanOrEqual(7_000)
    expect(third - second).toBeGreaterThanOrEqual(7_000)
  })
})

describe("the signal", () => {
  it("fires when the timeout is over", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const { handler, reasons } = waiting()
    const errors: Array<unknown> = []
    const consumer = consume({ ...quiet, client: sqs.client, handler, timeout: "5 seconds", retry: "discard" })
    consumer.events.on("processing_error", (error) => errors.push(error))
    await started(consumer)
    await passTime(vi, sqs.settled("orders", 1))
    expect(reasons).toEqual([expect.any(HandlerTimeoutError)])
    expect(errors).toEqual([expect.any(HandlerTimeoutError)])
  })

  it("fires when the lease is lost", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const { handler, reasons } = waiting()
    const lost: Array<string> = []
    const consumer = consume({ ...quiet, client: sqs.client, handler, heartbeat: false })
    consumer.events.on("lost", ({ body }) => lost.push(body))
    await started(consumer)
    await vi.advanceTimersByTimeAsync(40_000)
    expect(reasons[0]).toBeInstanceOf(LeaseLostError)
    expect(lost[0]).toBe("a")
  })

  it("fires before the key of once is given back, for another may begin then", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const { handler, reasons } = waiting()
    const toldBefore: Array<number> = []
    const store = Layer.map(MemoryIdempotencyStore.layer(), (made) => {
      const service = Context.get(made, IdempotencyStore.IdempotencyStore)
      const abandon: typeof service.abandon = (claims) =>
        Effect.suspend(() => {
          toldBefore.push(reasons.length)
          return service.abandon(claims)
        })
      return Context.make(IdempotencyStore.IdempotencyStore, { ...service, abandon })
    })
    const consumer = await started(consume({ ...quiet, client: sqs.client, handler, once: { store } }))
    await vi.advanceTimersByTimeAsync(1_000)
    await passTime(vi, consumer.stop({ timeout: 0 }))
    expect([reasons, toldBefore]).toEqual([[expect.any(StoppedError)], [1]])
  })

  it("tells a time that is over from a stop, however coarse the clock", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const { handler, reasons } = waiting()
    const consumer = consume({ ...quiet, client: sqs.client, handler, timeout: "5 seconds", retry: "discard" })
    await started(consumer)
    await vi.advanceTimersByTimeAsync(4_000)
    // Timers and the wall clock are two: here the one is set back, as it may be by a millisecond.
    vi.setSystemTime(Date.now() - 100)
    await passTime(vi, sqs.settled("orders", 1))
    expect(reasons).toEqual([expect.any(HandlerTimeoutError)])
  })

  it("says so of a stop that comes after the time a handler may take would be over by the wall clock", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const { handler, reasons } = waiting()
    const consumer = await started(consume({ ...quiet, client: sqs.client, handler, timeout: "60 seconds" }))
    await vi.advanceTimersByTimeAsync(1_000)
    vi.setSystemTime(Date.now() + 60_000)
    await passTime(vi, consumer.stop({ timeout: 0 }))
    expect(reasons).toEqual([expect.any(StoppedError)])
  })

  it("extend refuses what is no time, and what would end the lease", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const refusals: Array<unknown> = []
    const handler: ConsumeOptions<string>["handler"] = async (_body, { extend }) => {
      for (const time of ["10 minuts", -5, 0, "13 hours"]) {
        await Reflect.apply(extend, undefined, [time]).catch((error: unknown) => refusals.push(error))
      }
      await extend("1 minute")
    }
    await started(consume({ ...quiet, client: sqs.client, handler }))
    await passTime(vi, sqs.settled("orders", 1))
    expect(refusals).toEqual([1, 2, 3, 4].map(() => expect.any(InvalidOptionsError)))
    expect(String(refusals[0])).toContain("10 minuts")
  })

  it("fires on a stop, and nothing is stranded", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a", "b", "c"])
    const { handler, reasons } = waiting()
    const consumer = await started(consume({ ...quiet, client: sqs.client, handler, concurrency: 2 }))
    await vi.advanceTimersByTimeAsync(1_000)
    const report = await passTime(vi, consumer.stop({ timeout: "3 seconds" }))
    expect(reasons).toEqual([expect.any(StoppedError), expect.any(StoppedError)])
    expect(report).toMatchObject({ finished: 0, released: 3, lost: 0, stranded: 0 })
    expect(await sqs.snapshot("orders")).toMatchObject({ visible: 3, inFlight: 0, deleted: 0 })
  })
})

it("a stop lets handlers end, by await using too", async () => {
  const sqs = await sqsOf()
  await sqs.send("orders", ["a"])
  const consumer = await started(
    consume({
      ...quiet,
      client: sqs.client,
      handler: () => new Promise((resolve) => setTimeout(resolve, 5_000))
    })
  )
  await vi.advanceTimersByTimeAsync(100)
  await passTime(vi, consumer[Symbol.asyncDispose]())
  expect(await sqs.snapshot("orders")).toMatchObject({ deleted: 1 })
  await expect(consumer.start()).rejects.toMatchObject({ code: "Stopped" })
})

it("a stop whose options cannot be is refused, and the next one stops", async () => {
  const sqs = await sqsOf()
  const consumer = await started(consume({ ...quiet, client: sqs.client, handler: async () => {} }))
  for (const options of [{ timeout: "soon" }, { timout: 1_000 }]) {
    await expect(Reflect.apply(consumer.stop, undefined, [options])).rejects.toBeInstanceOf(InvalidOptionsError)
  }
  expect(await passTime(vi, consumer.stop())).toMatchObject({ lost: 0 })
})

it("groups of FIFO queues run in order, whatever fails", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const sqs = await sqsOf()
    const random = () => {
      seed = (seed * 16_807) % 2_147_483_647
      return seed / 2_147_483_647
    }
    const began = seed
    for (let i = 0; i < 12; i++) await sqs.send("orders.fifo", [String(i)], { group: `g${i % 3}` })
    const done: Record<string, Array<number>> = {}
    const consumer = await started(
      consume({
        ...quiet,
        queue: "orders.fifo",
        client: sqs.client,
        retry: { delay: "1 second" },
        handler: async (body, { message }) => {
          await new Promise((resolve) => setTimeout(resolve, random() * 100))
          if (random() < 0.3) throw new Error("by chance")
          const group = message.group ?? ""
          done[group] = [...(done[group] ?? []), Number(body)]
        }
      })
    )
    await passTime(vi, sqs.settled("orders.fifo", 12))
    await passTime(vi, consumer.stop())
    seed = began
    expect(done, `seed ${seed}`).toEqual({ g0: [0, 3, 6, 9], g1: [1, 4, 7, 10], g2: [2, 5, 8, 11] })
  }
})

describe("a schema types the body", () => {
  const schemas = {
    zod: z.object({ id: z.number() }),
    valibot: v.object({ id: v.number() }),
    arktype: type({ id: "number" }),
    Effect: Schema.standardSchemaV1(Schema.Struct({ id: Schema.Number })),
    "one that takes its time": z.object({ id: z.number() }).refine(async () => true)
  }
  it.each(Object.entries(schemas))("%s", async (_name, schema) => {
    const sqs = await sqsOf()
    await sqs.send("orders", [{ id: 1 }, { id: "secret" }, "{", { id: 2 }])
    const ids: Array<number> = []
    const errors: Array<unknown> = []
    const consumer = consume({
      ...quiet,
      client: sqs.client,
      schema,
      handler: async (order) => {
        const id: number = order.id
        ids.push(id)
      }
    })
    consumer.events.on("processing_error", (error) => errors.push(error))
    await started(consumer)
    await passTime(vi, sqs.settled("orders", 4))
    expect(ids.sort()).toEqual([1, 2])
    expect(errors).toEqual([expect.any(InvalidBodyError), expect.any(InvalidBodyError)])
    expect(String(errors)).toContain("id")
    expect(String(errors)).not.toContain("secret")
    expect(await sqs.snapshot("dead")).toMatchObject({ visible: 2 })
  })
})

it("with once, what is done is not done again", async () => {
  const sqs = await sqsOf()
  await sqs.send("orders", ["a", "a", "b", "a"])
  const bodies: Array<string> = []
  const once = { store: memoryStore(), key: (body: string) => `handle ${body}` }
  await started(consume({ ...quiet, client: sqs.client, once, handler: async (body) => void bodies.push(body) }))
  await passTime(vi, sqs.settled("orders", 4))
  expect(bodies.sort()).toEqual(["a", "b"])
})

it("pauses, resumes, is retuned, and tells how it is", async () => {
  const sqs = await sqsOf()
  const consumer = consume({ ...quiet, client: sqs.client, handler: async () => {} })
  expect(consumer.health()).toMatchObject({ healthy: false })
  expect(() => consumer.pause()).toThrow(expect.objectContaining({ code: "NotStarted" }))
  await started(consumer)
  consumer.pause()
  await vi.advanceTimersByTimeAsync(30_000)
  await sqs.send("orders", ["a"])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(await sqs.snapshot("orders")).toMatchObject({ visible: 1, deleted: 0 })
  expect(consumer.health()).toMatchObject({ healthy: true, paused: true })
  consumer.resume()
  await passTime(vi, sqs.settled("orders", 1))
  consumer.tune({ maxInFlight: 7, concurrency: 3 })
  expect(consumer.stats()).toMatchObject({ acked: 1, maxInFlight: 7 })
  expect(() => consumer.tune({ maxInFlight: 0 })).toThrow(InvalidOptionsError)
  expect(() => consumer.tune({ maxInFlight: 9, concurrency: 0 })).toThrow(InvalidOptionsError)
  expect(() => Reflect.apply(consumer.tune, undefined, [{ maxInflight: 9 }])).toThrow("did you mean maxInFlight?")
  expect(consumer.stats()).toMatchObject({ maxInFlight: 7 })
})

it("can be retuned from its start, before a handler runs", async () => {
  const sqs = await sqsOf()
  await sqs.send("orders", ["a", "b", "c"])
  let [running, most] = [0, 0]
  const handler = async () => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    running--
  }
  const consumer = consume({ ...quiet, client: sqs.client, handler })
  consumer.events.on("started", () => consumer.tune({ concurrency: 1 }))
  await started(consumer)
  await passTime(vi, sqs.settled("orders", 3))
  expect(most).toBe(1)
})

it("events come one by one, and what a listener throws harms nobody", async () => {
  const sqs = await sqsOf()
  await sqs.send("orders", ["a"])
  const heard: Array<string> = []
  const consumer = consume({
    ...quiet,
    client: sqs.client,
    handler: async (_body, { attempt }) => {
      if (attempt === 1) throw new Error("once")
    }
  })
  const { events } = consumer
  for (const name of ["started", "stopped", "message_received", "message_processed", "processing_error"] as const) {
    events.on(name, () => heard.push(name))
  }
  events.on("settled", (outcome) => heard.push(outcome))
  events.on("message_received", () => {
    throw new Error("a listener's")
  })
  await started(consumer)
  await passTime(vi, sqs.settled("orders", 1))
  await passTime(vi, consumer.stop())
  expect(heard).toEqual([
    "started",
    "message_received",
    "processing_error",
    "retried",
    "message_received",
    "message_processed",
    "acked",
    "stopped"
  ])
})

it("a listener that throws keeps no other from hearing, and one that rejects ends no process", async () => {
  const sqs = await sqsOf()
  await sqs.send("orders", ["a"])
  const lines: Array<string> = []
  const logger = { debug: () => {}, info: () => {}, warn: () => {}, error: (line: string) => lines.push(line) }
  const consumer = consume({ ...quiet, logger, client: sqs.client, handler: async () => {} })
  const heard: Array<string> = []
  consumer.events.on("message_processed", () => {
    throw new Error("at once")
  })
  consumer.events.on("message_processed", async () => {
    throw new Error("of a promise")
  })
  consumer.events.once("message_processed", () => heard.push("the last"))
  consumer.events.on("stopped", async () => {
    throw new Error("at the end")
  })
  await started(consumer)
  await passTime(vi, sqs.settled("orders", 1))
  await passTime(vi, consumer.stop())
  expect(heard).toEqual(["the last"])
  const told = lines.filter((line) => line.startsWith("a listener of"))
  expect(told.map((line) => line.replace(/ threw: .*/, ""))).toEqual([
    "a listener of message_processed",
    "a listener of message_processed",
    "a listener of stopped"
  ])
})

it("batches: what allSettled says is rejected is kept", async () => {
  const sqs = await sqsOf()
  await sqs.send("orders", ["a", "b", "c"])
  const seen: Array<ReadonlyArray<string>> = []
  let failed = false
  const consumer = consumeBatches({
    ...quiet,
    client: sqs.client,
    max: 3,
    handler: (bodies) => {
      seen.push(bodies)
      return Promise.allSettled(
        bodies.map(async (body) => {
          if (body !== "b" || failed) return
          failed = true
          throw new Error("once")
        })
      )
    }
  })
  const heard: Array<string> = []
  for (const name of ["message_received", "message_processed"] as const) {
    consumer.events.on(name, ({ attempt, message }) => heard.push(`${name} ${message.body} ${attempt}`))
  }
  await started(consumer)
  await passTime(vi, sqs.settled("orders", 3))
  expect(seen).toEqual([["a", "b", "c"], ["b"]])
  expect(heard).toEqual([
    ...["a", "b", "c"].map((body) => `message_received ${body} 1`),
    ...["a", "c"].map((body) => `message_processed ${body} 1`),
    "message_received b 2",
    "message_processed b 2"
  ])
})

describe("a loop of one's own", () => {
  it("settles by hand, and gives back what it leaves", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a", "b", "c"])
    const signals: Array<AbortSignal> = []
    const loop = async () => {
      for await (const delivery of deliveries({ ...quiet, client: sqs.client })) {
        signals.push(delivery.signal)
        if (delivery.body === "a") await delivery.ack()
        else break
      }
    }
    await passTime(vi, loop())
    expect(await sqs.snapshot("orders")).toMatchObject({ deleted: 1, visible: 2, inFlight: 0 })
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, true])
  })

  it("ends by its signal, while it waits for messages too", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a", "b"])
    const stop = new AbortController()
    const bodies: Array<string> = []
    const loop = async () => {
      for await (const { ack, body } of deliveries({ ...quiet, client: sqs.client, signal: stop.signal })) {
        bodies.push(body)
        await ack()
      }
    }
    const over = loop()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(bodies).toEqual(["a", "b"])
    stop.abort()
    await passTime(vi, over, 10_000)
    expect(await sqs.snapshot("orders")).toMatchObject({ deleted: 2, inFlight: 0 })
    await passTime(vi, loop())
    expect(() => Reflect.apply(deliveries, undefined, [{ ...quiet, signal: 1 }])).toThrow("an AbortSignal")
  })

  it("ends by its signal between two messages, and gives back those that are here", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a", "b", "c"])
    const stop = new AbortController()
    const bodies: Array<string> = []
    const loop = async () => {
      for await (const { ack, body } of deliveries({ ...quiet, client: sqs.client, signal: stop.signal })) {
        bodies.push(body)
        stop.abort()
        await ack()
      }
    }
    await passTime(vi, loop())
    expect(bodies).toEqual(["a"])
    expect(await sqs.snapshot("orders")).toMatchObject({ deleted: 1, visible: 2, inFlight: 0 })
  })

  it("retry and extend reject where the time is none, and the message can still be settled", async () => {
    const sqs = await sqsOf()
    await sqs.send("orders", ["a"])
    const loop = async () => {
      for await (const { ack, extend, retry } of deliveries({ ...quiet, client: sqs.client })) {
        for (const [method, time] of [
          [retry, "soon"],
          [retry, "13 hours"],
          [extend, "10 minuts"],
          [extend, -5]
        ] as const) {
          const answer: unknown = Reflect.apply(method, undefined, [time])
          await expect(answer).rejects.toBeInstanceOf(InvalidOptionsError)
        }
        await ack()
        return
      }
    }
    await passTime(vi, loop())
    expect(await sqs.snapshot("orders")).toMatchObject({ deleted: 1 })
  })
})

it("produces, and tells what cannot be sent", async () => {
  const sqs = await sqsOf()
  const producer = await passTime(vi, produce({ queue: "orders", client: sqs.client, logger: false }))
  closing.push(producer.close)
  await passTime(vi, Promise.all([producer.send({ id: 1 }), producer.send("two", { attributes: { n: 2 } })]))
  expect((await sqs.messages("orders")).map(({ body }) => body)).toEqual(['{"id":1}', "two"])
  const refused = passTime(vi, producer.send("x".repeat(2 ** 21)))
  await expect(refused).rejects.toBeInstanceOf(SendError)
  await expect(refused).rejects.toMatchObject({ code: "MessageRejected" })
  await passTime(vi, producer.close())
  const late = producer.send("late")
  await expect(late).rejects.toBeInstanceOf(SendError)
  await expect(late).rejects.toMatchObject({ code: "ProducerClosed", input: "late" })
})

describe("what is wrong is said", () => {
  const handler = async () => {}
  it.each<[unknown, string]>([
    [{ queue: "orders", handler, concurency: 3 }, "did you mean concurrency?"],
    [{ queue: "orders" }, "handler is missing; write a function of the body"],
    [{ handler }, "queue is missing; write the name, the URL or the ARN of a queue"],
    [{ queue: "orders", handler, timeout: "soon" }, "write a time of at least"],
    [{ queue: "orders", handler, maxInFlight: 0 }, "a whole number from 1 to 120000"],
    [{ queue: "orders", handler, retry: { atempts: 3 } }, "did you mean retry.attempts?"],
    [{ queue: "orders", handler, once: { store: {} } }, "memoryStore()"],
    [{ queue: "orders", handler, schema: {} }, "Standard Schema"],
    [
      { queue: "orders", handler, credentials: { accessKeyId: "a", secretAccessKey: 1 } },
      "credentials.secretAccessKey"
    ],
    [{ queue: "orders", handler, client: {} }, "SQSClient"],
    [{ queue: "orders", handler, client: { emulated: true } }, "the client of an emulator() of"],
    [{ queue: "orders", handler, deadLetter: true }, "deadLetter needs retry.attempts"],
    [{ queue: "orders", handler, deadLetter: true, retry: { delay: 1_000 } }, "deadLetter needs retry.attempts"],
    [{ queue: "orders", handler, deadLetter: true, retry: "leave" }, "deadLetter needs retry.attempts"],
    [undefined, "write an object"]
  ])("%#", (options, message) => {
    // As plain JavaScript calls it.
    const made = () => Reflect.apply(consume, undefined, [options])
    expect(made).toThrow(InvalidOptionsError)
    expect(made).toThrow(message)
  })

  it("a queue that is not there is an error with AWS's code", async () => {
    const sqs = await sqsOf()
    const consumer = consume({ queue: "nowhere", client: sqs.client, logger: false, handler })
    const refused = passTime(vi, consumer.start())
    await expect(refused).rejects.toBeInstanceOf(SqsCallError)
    await expect(refused).rejects.toMatchObject({ code: "QueueDoesNotExist" })
  })

  it("AWS's code is told where the library has one class for several", () => {
    const failed = { operation: "SendMessage", message: "no" }
    const codes = [
      new SqsError.KmsError({ ...failed, code: "KmsDisabled" }),
      new SqsError.UnknownSqsError({ ...failed, code: "Newfangled", status: 400 }),
      new SqsError.AccessDenied(failed)
    ].map(plain)
    expect(codes).toMatchObject([{ code: "KmsDisabled" }, { code: "Newfangled" }, { code: "AccessDenied" }])
  })
})
