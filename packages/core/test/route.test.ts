/**
 * Messages of a channel, from what sends them to the handler of their type: what each envelope writes is read again, what is
 * unknown is a failure, and older versions are lifted.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import {
  Channel,
  CloudEvents,
  Consumer,
  type Delivery,
  Envelope,
  type LeaseQueue,
  Message,
  Pipeline,
  RetryPolicy
} from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { DateTime, Duration, Effect, Fiber, Logger, LogLevel, Random, Schedule, Schema, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { simulated } from "./support/index.js"

const date = (millis: number): Date => DateTime.toDateUtc(DateTime.unsafeMake(millis))

const PlacedV1 = Message.make("Placed", { schema: Schema.Struct({ sku: Schema.String }) })
const Placed = Message.make("Placed", {
  version: 2,
  schema: Schema.Struct({ sku: Schema.String, at: Schema.Date }),
  group: ({ sku }) => sku,
  deduplicationId: ({ sku }) => `placed-${sku}`
}).pipe(Message.lift(PlacedV1, (old) => ({ ...old, at: date(0) })))
const Cancelled = Message.make("Cancelled", { schema: Schema.Struct({ id: Schema.Number }) })

const envelopes: Readonly<Record<string, Envelope.Envelope>> = {
  attributes: Envelope.attributes(),
  "attributes of other names": Envelope.attributes({ type: "eventType", version: "eventVersion" }),
  fields: Envelope.fields(),
  "fields with the data apart": Envelope.fields({ type: "kind", data: "payload" }),
  "CloudEvents, structured": CloudEvents.structured({ source: "/shop", prefix: "com.example." }),
  "CloudEvents, binary": CloudEvents.binary({ source: "/shop", prefix: "com.example.", subject: "orders" })
}

/** As a producer would send it. */
const sent = ({ attributes = {}, body, group }: Channel.Encoded) => ({
  body,
  ...(group === undefined ? {} : { group }),
  attributes: Object.fromEntries(
    Object.entries(attributes).map(([name, value]): [string, LeaseQueue.Attribute] => [name, { type: "String", value }])
  )
})

const shopOf = (envelope?: Envelope.Envelope) => Channel.make("shop", { messages: [Placed, Cancelled], envelope })

describe("each envelope", () => {
  for (const [name, envelope] of Object.entries(envelopes)) {
    it(
      `is read as it was written: ${name}`,
      simulated(
        Effect.gen(function* () {
          const shop = shopOf(envelope)
          const encode = Channel.encode(shop)
          const queue = yield* MemoryQueue.make()
          const placed = yield* encode(Placed.of({ sku: "a", at: date(5) }))
          assert.strictEqual(placed.group, "a")
          assert.strictEqual(placed.deduplicationId, "placed-a")
          yield* queue.send([placed, yield* encode(Cancelled.of({ id: 7 }))].map(sent))
          const got: Array<unknown> = []
          const fiber = yield* Consumer.stream(queue).pipe(
            Pipeline.route(shop, {
              Placed: ({ at, sku }) => Effect.sync(() => got.push([sku, at.getTime()])),
              Cancelled: ({ id }) => Effect.sync(() => got.push(id))
            }),
            Stream.runDrain,
            Effect.fork
          )
          yield* queue.idle
          yield* Fiber.interrupt(fiber)
          expect(got).toHaveLength(2)
          expect(got).toEqual(expect.arrayContaining([["a", 5], 7]))
          assert.strictEqual((yield* queue.stats).acked, 2)
        })
      )
    )
  }

  it("CloudEvents of either mode are read by both; one that lacks what the standard demands is not", () => {
    const structured = CloudEvents.structured({ source: "/shop" })
    const binary = CloudEvents.binary({ source: "/shop" })
    const event = { specversion: "1.0", id: "1", source: "/x", type: "Placed.v2" }
    const read = (envelope: Envelope.Envelope, body: unknown, names: Record<string, string> = {}) => {
      const attributes = sent({ body: "", group: undefined, deduplicationId: undefined, attributes: names }).attributes
      return envelope.read(JSON.stringify(body), { attributes })
    }
    for (const envelope of [structured, binary]) {
      for (const found of [
        read(envelope, { ...event, data: { sku: "a" } }),
        read(envelope, { ...event, datacontenttype: "application/json", data_base64: btoa('{"sku":"a"}') }),
        read(envelope, { sku: "a" }, Object.fromEntries(Object.entries(event).map(([n, v]) => [`ce-${n}`, v])))
      ]) {
        if (found._tag === "Left") throw new Error(found.left)
        expect([found.right.type, found.right.version, found.right.data()]).toMatchObject([
          "Placed",
          2,
          { _tag: "Right", right: { sku: "a" } }
        ])
      }
      for (const missing of ["specversion", "id", "source", "type"]) {
        expect(read(envelope, { ...event, [missing]: undefined })._tag).toBe("Left")
      }
    }
  })

  it("CloudEvents without the prefix are another's, though a message has their name", () => {
    const envelope = CloudEvents.structured({ source: "/shop", prefix: "com.example." })
    const typeOf = (type: string) => {
      const event = { specversion: "1.0", id: "1", source: "/x", type, data: { id: 1 } }
      const found = envelope.read(JSON.stringify(event), { attributes: {} })
      return found._tag === "Right" ? [found.right.type, found.right.version] : found.left
    }
    expect(typeOf("com.example.Cancelled.v2")).toEqual(["Cancelled", 2])
    expect(typeOf("Cancelled")).toEqual(["Cancelled", 1])
    expect(typeOf("org.other.Cancelled.v2")).toEqual(["org.other.Cancelled.v2", 1])
  })

  it("fields that the data have themselves are not written over", () => {
    const kind = Message.make("Kind", { schema: Schema.Struct({ type: Schema.String }) })
    const channel = Channel.make("kinds", { messages: [kind], envelope: Envelope.fields() })
    const failure = Effect.runSync(Effect.flip(Channel.encode(channel)(kind.of({ type: "mine" }))))
    expect(failure).toContain("a field type of their own")
    // One that may be there and has no value is none; without a type nobody could read the message.
    const perhaps = Message.make("Perhaps", {
      schema: Schema.Struct({ id: Schema.Number, type: Schema.optional(Schema.String) })
    })
    const perhapses = Channel.make("perhaps", { messages: [perhaps], envelope: Envelope.fields() })
    const sent = Effect.runSync(Channel.encode(perhapses)(perhaps.of({ id: 1, type: undefined })))
    expect(JSON.parse(sent.body)).toEqual({ type: "Perhaps", version: 1, id: 1 })
  })
})

/** What becomes of one message, with its failure as the route's policy was told it. */
const failureOf = (message: string | MemoryQueue.SendMessage, envelope?: Envelope.Envelope) =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make()
    yield* queue.send([message])
    const failures: Array<unknown> = []
    const bodies: Array<unknown> = []
    const run = (body: unknown) => Effect.sync(() => bodies.push(body))
    const fiber = yield* Consumer.stream(queue).pipe(
      Pipeline.route(
        shopOf(envelope),
        { Placed: run, Cancelled: run },
        {
          retry: (failure) => {
            failures.push(failure)
            return RetryPolicy.deadLetter
          }
        }
      ),
      Stream.runDrain,
      Effect.fork
    )
    yield* queue.idle
    yield* Fiber.interrupt(fiber)
    return { failures, bodies, deadLetters: (yield* queue.deadLetters).length }
  })

const typed = (type: string, version: string, body: string) =>
  sent({ body, attributes: { type, version }, group: undefined, deduplicationId: undefined })

describe("what a route reads", () => {
  it(
    "an unknown type, an unknown version and none are failures for the policy; so is what does not fit",
    simulated(
      Effect.gen(function* () {
        for (const [message, type, version] of [
          [typed("Shipped", "1", "not even JSON"), "Shipped", 1],
          [typed("Placed", "3", "{}"), "Placed", 3],
          [typed("Placed", "new", "{}"), "Placed", "new"],
          ["{}", undefined, 1]
        ] as const) {
          const { bodies, deadLetters, failures } = yield* failureOf(message)
          expect(failures).toMatchObject([{ _tag: "UnknownMessage", channel: "shop", type, version }])
          expect([bodies, deadLetters]).toEqual([[], 1])
        }
        for (const body of ["no JSON", '{"id":"1"}']) {
          const { failures } = yield* failureOf(typed("Cancelled", "1", body))
          expect(failures).toMatchObject([{ _tag: "DecodeError" }])
        }
      })
    )
  )

  it(
    "another's event fails by its own type, and the message says why it is another's",
    simulated(
      Effect.gen(function* () {
        const event = { specversion: "1.0", id: "1", source: "/x", type: "Cancelled", data: { id: 1 } }
        const envelope = CloudEvents.structured({ source: "/shop", prefix: "com.example." })
        const { failures } = yield* failureOf(JSON.stringify(event), envelope)
        expect(failures).toMatchObject([
          {
            _tag: "UnknownMessage",
            type: "Cancelled",
            version: 1,
            message: expect.stringContaining(
              "is of type Cancelled, without the prefix com.example., and shop has Placed"
            )
          }
        ])
      })
    )
  )

  it(
    "an older version is lifted, also by way of one between",
    simulated(
      Effect.gen(function* () {
        const { bodies, failures } = yield* failureOf(typed("Placed", "1", '{"sku":"a"}'))
        expect([bodies, failures]).toEqual([[{ sku: "a", at: date(0) }], []])
        const third = Message.make("Placed", { version: 3, schema: Schema.Struct({ n: Schema.Number }) }).pipe(
          Message.lift(Placed, ({ at }) => ({ n: at.getTime() }))
        )
        expect(third.versions.map(({ version }) => version)).toEqual([3, 2, 1])
        expect(yield* third.versions[2]?.read({ sku: "a" }) ?? Effect.void).toEqual({ n: 0 })
      })
    )
  )
})

describe("a route's handler", () => {
  it(
    "has its own concurrency, timeout and policy; the other types do not wait for it",
    simulated(
      Effect.gen(function* () {
        const shop = shopOf()
        const queue = yield* MemoryQueue.make()
        yield* queue.send([
          ...Array.from({ length: 6 }, (_, i) => typed("Cancelled", "1", `{"id":${i}}`)),
          typed("Placed", "1", '{"sku":"late"}')
        ])
        let running = 0
        let most = 0
        let placed = 0
        const fiber = yield* Consumer.stream(queue, { maxInFlight: 20 }).pipe(
          Pipeline.route(
            shop,
            {
              Placed: () =>
                Effect.clockWith((clock) => clock.currentTimeMillis).pipe(
                  Effect.tap((now) => Effect.sync(() => (placed = now)))
                ),
              Cancelled: {
                handler: ({ id }) =>
                  Effect.gen(function* () {
                    most = Math.max(most, ++running)
                    yield* Effect.sleep(id === 5 ? "1 hour" : "1 second")
                  }).pipe(Effect.ensuring(Effect.sync(() => running--))),
                concurrency: 2,
                timeout: "5 seconds",
                retry: RetryPolicy.deadLetter
              }
            },
            { concurrency: 4, retry: RetryPolicy.discard }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* queue.idle
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(most, 2)
        assert.isBelow(placed, 1000)
        expect((yield* queue.deadLetters).map(({ message }) => message.body)).toEqual(['{"id":5}'])
      })
    )
  )

  it(
    "that shares by what is no key has failed on its message, and says so",
    simulated(
      Effect.gen(function* () {
        const shop = shopOf()
        for (const [answer, says] of [
          [Promise.resolve("k"), "a promise"],
          [{}, "an object"]
        ] as const) {
          const queue = yield* MemoryQueue.make()
          yield* queue.send([typed("Cancelled", "1", '{"id":1}'), typed("Placed", "1", '{"sku":"a"}')])
          const done: Array<string> = []
          const fiber = yield* Consumer.stream(queue).pipe(
            Pipeline.route(
              shop,
              {
                Placed: ({ sku }) => Effect.sync(() => done.push(sku)),
                Cancelled: {
                  handler: ({ id }) => Effect.sync(() => done.push(`${id}`)),
                  // As plain JavaScript may answer.
                  share: { key: () => answer as unknown as string }
                }
              },
              { retry: RetryPolicy.deadLetter }
            ),
            Stream.runDrain,
            Effect.fork
          )
          yield* queue.idle
          yield* Fiber.interrupt(fiber)
          expect(done).toEqual(["a"])
          expect((yield* queue.deadLetters).map(({ reason }) => reason)).toEqual([
            expect.stringContaining(`the function given as \`share.key\` answered with ${says} and no key`)
          ])
        }
      })
    )
  )

  it("is refused where it cannot work, by plain JavaScript too", () => {
    const refused = (handlers: unknown) =>
      Effect.runSync(
        Stream.empty.pipe(
          // What the types refuse.
          Pipeline.route(
            shopOf(),
            handlers as { Placed: () => Effect.Effect<void>; Cancelled: () => Effect.Effect<void> }
          ),
          Stream.runDrain,
          Effect.flip
        )
      ).message
    const run = () => Effect.void
    expect(refused({ Placed: run })).toContain("Cancelled of shop has no handler")
    expect(refused({ Placed: run, Cancelled: run, Shipped: run })).toContain("Shipped is no message of shop")
    expect(refused({ Placed: run, Cancelled: 1 })).toContain("Cancelled")
    expect(refused({ Placed: run, Cancelled: { handler: run, concurency: 1 } })).toContain("did you mean")
    expect(refused({ Placed: run, Cancelled: { handler: run, concurrency: 1, share: { key: String } } })).toContain(
      "leave one out"
    )
    for (const none of [undefined, {}, Placed]) {
      const channel = none as unknown as ReturnType<typeof shopOf>
      const says = "write what Channel.make gives"
      expect(() => Pipeline.decodeChannel(channel)).toThrow(says)
      const routed = Stream.empty.pipe(Pipeline.route(channel, { Placed: run, Cancelled: run }), Stream.runDrain)
      expect(Effect.runSync(Effect.flip(routed)).message).toContain(says)
    }
    for (const [share, says] of [
      [{ key: String, rate: { perSecond: "10" } }, 'Cancelled.share.rate.perSecond is "10"'],
      [{ key: String, rate: { perSecond: 1, bust: 2 } }, "did you mean Cancelled.share.rate.burst?"],
      [{ key: String, concurrency: 0 }, "Cancelled.share.concurrency is 0"],
      [{ key: String, waiting: 1 }, "Cancelled.share.waiting is not an option"],
      [{ key: "group" }, 'Cancelled.share.key is "group"'],
      [{}, "Cancelled.share.key is missing"]
    ] as const) {
      expect(refused({ Placed: run, Cancelled: { handler: run, share } })).toContain(says)
    }
  })
})

it("declarations that cannot work are refused", () => {
  const schema = Schema.Struct({ sku: Schema.String, at: Schema.Date })
  const again = Message.make("Placed", { version: 2, schema })
  expect(() => Channel.make("shop", { messages: [Placed, again] })).toThrow("two of the name Placed; leave one out")
  expect(() => Channel.make("shop", { messages: [Placed, PlacedV1] })).toThrow("Message.lift")
  expect(() => Channel.make("shop", { messages: [] })).toThrow("none")
  expect(() => Message.make("Placed.v2", { schema })).toThrow("write a name")
  expect(() => Message.make("Placed", { schema, version: 0 })).toThrow("whole number")
  expect(() => again.pipe(Message.lift(Placed, (a) => a))).toThrow("not older")
  expect(() => Placed.pipe(Message.lift(PlacedV1, (a) => ({ ...a, at: date(0) })))).toThrow("lifted already")
  expect(() => Envelope.attributes({ type: "a", version: "a" })).toThrow("two names")
  expect(() => Envelope.fields({ data: "type" })).toThrow("another name")
})

it(
  "maxAge: what waited too long is Stale before its handler runs, dead-lettered by the standard policy; tap keeps the body",
  simulated(
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["old"])
      yield* Effect.sleep("2 minutes")
      yield* queue.send(["new"])
      const ran: Array<string> = []
      const tapped: Array<string> = []
      const fiber = yield* Consumer.stream(queue).pipe(
        Pipeline.maxAge("1 minute"),
        Pipeline.tap((body: string) => Effect.sync(() => tapped.push(body))),
        Pipeline.process((body) => Effect.sync(() => ran.push(body))),
        Stream.runDrain,
        Effect.fork
      )
      yield* queue.idle
      yield* Fiber.interrupt(fiber)
      expect([tapped, ran]).toEqual([["new"], ["new"]])
      expect((yield* queue.deadLetters).map(({ message }) => message.body)).toEqual(["old"])
    })
  )
)

it("route, maxAge and tap: nothing is lost and each delivery ends once, whatever the queue fails", async () => {
  const shop = shopOf()
  await Simulation.checkInTurns(
    { seeds: seeds({ short: 8, long: 25 }), leaks: "fail" },
    Effect.gen(function* () {
      const total = yield* Random.nextIntBetween(1, 60)
      const maxInFlight = yield* Random.nextIntBetween(2, 30)
      const odds = yield* Random.nextRange(0, 0.3)
      const acked: Array<string> = []
      const queue = yield* MemoryQueue.make({
        ordered: yield* Random.nextBoolean,
        leaseDuration: "30 seconds",
        latency: yield* Random.nextIntBetween(0, 50),
        onEvent: (event) => {
          if (event.type === "Acked") acked.push(event.id)
        },
        faults: () =>
          Effect.map(Effect.zip(Random.next, Random.nextBoolean), ([p, drop]) =>
            p >= odds ? undefined : drop ? { drop: "transient" as const } : { fail: "throttled" as const }
          )
      })
      const kinds = ["Placed", "Cancelled", "Shipped"] as const
      const messages = yield* Effect.forEach(Array.from({ length: total }), (_, i) =>
        Effect.map(Random.nextIntBetween(0, 3), (kind) => ({
          ...typed(kinds[kind] ?? "Placed", "1", kind === 0 ? `{"sku":"${i}"}` : `{"id":${i}}`),
          group: String(i % 4)
        }))
      )
      yield* queue.send(messages)
      const done = new Set<string>()
      const begun = new Map<string, string>()
      /** Not thrown in a handler: its own policy would take care of that. */
      const together: Array<string> = []
      const handle = (_: unknown, { message }: Delivery.Delivery<unknown, unknown>) =>
        Effect.gen(function* () {
          const group = message.group ?? ""
          if (queue.limits.ordered) {
            if (begun.has(group)) together.push(`two of group ${group}`)
            begun.set(group, message.id)
          }
          yield* Effect.sleep(yield* Random.nextIntBetween(0, 3000)).pipe(
            Effect.ensuring(Effect.sync(() => begun.delete(group)))
          )
          if ((yield* Random.next) < 0.2) return yield* Effect.fail("no")
          done.add(message.id)
        })
      const consumer = yield* Consumer.make(queue, { maxInFlight })
      const again = RetryPolicy.redeliver(Schedule.spaced("2 seconds"))
      const fiber = yield* consumer.stream.pipe(
        Pipeline.maxAge("1 hour"),
        Pipeline.tap((_: string) => Effect.sleep("10 millis"), { concurrency: 3 }),
        Pipeline.route(
          shop,
          { Placed: handle, Cancelled: { handler: handle, concurrency: 1, retry: again } },
          {
            concurrency: 5,
            retry: (failure) =>
              typeof failure !== "string" && failure._tag === "UnknownMessage" ? RetryPolicy.deadLetter : again
          }
        ),
        Stream.runDrain,
        Effect.fork
      )
      const finishes = yield* Random.nextBoolean
      if (finishes) yield* queue.idle
      else yield* Effect.race(queue.idle, Effect.sleep(yield* Random.nextIntBetween(0, 20_000)))
      yield* consumer.drain({ deadline: "10 seconds" })
      yield* Fiber.join(fiber)
      yield* Effect.sleep(Duration.minutes(10))
      assert.deepStrictEqual(together, [])
      for (const id of acked) assert.isTrue(done.has(id), `${id} was deleted and no handler had finished it`)
      const stats = yield* queue.stats
      assert.strictEqual(stats.acked + stats.visible + stats.deadLettered, total, "every message is somewhere")
      if (finishes) assert.strictEqual(stats.visible, 0)
      const own = yield* consumer.stats
      assert.strictEqual(own.inFlight, 0)
      assert.isAtMost(own.peakInFlight, maxInFlight)
      const ends = own.acked + own.retried + own.released + own.deadLettered + own.left + own.lost
      assert.strictEqual(ends, own.received, "every delivery ended once")
    }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
  )
}, 60_000)
