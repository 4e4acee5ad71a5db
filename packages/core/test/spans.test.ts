/** Spans by OpenTelemetry's conventions for messaging: of handlers, of batches, of calls to the queue. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Data, Effect, Exit, Fiber, Option, Schedule, Stream, Tracer } from "effect"
import { type Source, simulated } from "./support/index.js"

interface Seen {
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly parent: boolean
  readonly parentOf?: readonly [traceId: string, spanId: string, sampled: boolean]
  readonly attributes: Readonly<Record<string, unknown>>
  readonly links: ReadonlyArray<readonly [traceId: string, spanId: string, sampled: boolean]>
  readonly failed: boolean | undefined
}

/** All spans of an effect, in the order of their beginnings. */
const spansOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const seen: Array<() => Seen> = []
    const tracer = Tracer.make({
      span: (name, parent, context, links, startTime, kind) => {
        const attributes = new Map<string, unknown>()
        const all = [...links]
        let failed: boolean | undefined
        seen.push(() => ({
          name,
          kind,
          parent: Option.isSome(parent),
          ...(Option.isSome(parent) && {
            parentOf: [parent.value.traceId, parent.value.spanId, parent.value.sampled] as const
          }),
          attributes: Object.fromEntries(attributes),
          links: all.map(({ span }) => [span.traceId, span.spanId, span.sampled]),
          failed
        }))
        return {
          _tag: "Span",
          spanId: "span",
          traceId: "trace",
          sampled: true,
          name,
          parent,
          context,
          links: all,
          kind,
          status: { _tag: "Started", startTime },
          attributes,
          attribute: (key, value) => attributes.set(key, value),
          addLinks: (more) => all.push(...more),
          event: () => {},
          end: (_, exit) => {
            failed = Exit.isFailure(exit)
          }
        }
      },
      context: (f) => f()
    })
    return Effect.as(Effect.withTracer(Effect.withSpan(effect, "the program"), tracer), seen).pipe(
      Effect.map((all) => all.map((one) => one()).filter(({ name }) => name !== "the program"))
    )
  })

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"

const messages: ReadonlyArray<MemoryQueue.SendMessage> = [
  { body: "a", group: "g", attributes: { traceparent: { type: "String", value: `00-${traceId}-${spanId}-01` } } },
  { body: "b", attributes: { traceparent: { type: "String", value: "nonsense" } } }
]

const named = { system: "memory", spanAttributes: { "memory.place": "here" } }

const through = <A, E>(
  stage: (deliveries: ReturnType<typeof Consumer.stream<MemoryQueue.MemoryQueueError>>) => Stream.Stream<A, E>,
  options: Consumer.Options = {},
  sent = messages
) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make({ name: "orders" })
    yield* memory.send(sent)
    return yield* spansOf(
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(Stream.runDrain(Consumer.stream({ ...memory, ...named }, options).pipe(stage)))
        yield* memory.idle
        yield* Effect.sleep("1 second")
        yield* Fiber.interrupt(fiber)
      })
    )
  })

class OutOfStock extends Data.TaggedError("OutOfStock") {}
class Unreadable extends Error {
  override readonly name = "Unreadable"
}

const ofProcess = {
  "messaging.system": "memory",
  "memory.place": "here",
  "messaging.operation.name": "process",
  "messaging.operation.type": "process",
  "messaging.destination.name": "orders"
}

describe("a span for each run of a handler", () => {
  it(
    "is a trace of its own, named and told by the conventions, and linked to the producer's span by its traceparent",
    simulated(
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* through(Pipeline.process(() => Effect.void, { span: true })), [
          {
            name: "process orders",
            kind: "consumer",
            parent: false,
            attributes: {
              ...ofProcess,
              "messaging.message.id": "orders-1",
              "millrace.attempt": 1,
              "millrace.group": "g"
            },
            links: [[traceId, spanId, true]],
            failed: false
          },
          {
            name: "process orders",
            kind: "consumer",
            parent: false,
            attributes: { ...ofProcess, "messaging.message.id": "orders-2", "millrace.attempt": 1 },
            links: [],
            failed: false
          }
        ])
      }),
      { order: "fifo" }
    )
  )

  it.each([
    ["an error's tag", Effect.fail(new OutOfStock()), "OutOfStock"],
    ["an error's name", Effect.fail(new Unreadable()), "Unreadable"],
    ["the conventions' word for what has neither", Effect.fail("no"), "_OTHER"],
    ["a defect", Effect.die("no"), "HandlerDefect"],
    ["a timeout", Effect.never, "HandlerTimeout"]
  ] as const)("says what it failed of: %s", (_, fails, expected) =>
    simulated(
      Effect.gen(function* () {
        const spans = yield* through(
          Pipeline.process((): Effect.Effect<void, unknown> => fails, {
            span: true,
            timeout: "1 second",
            retry: RetryPolicy.discard
          })
        )
        assert.strictEqual(spans.length, 2)
        for (const { attributes, failed } of spans) {
          assert.isTrue(failed)
          assert.strictEqual(attributes["error.type"], expected)
        }
      })
    )()
  )

  it(
    "is not made unless asked for: it costs more than all the rest",
    simulated(Effect.map(through(Pipeline.process(() => Effect.void)), (spans) => assert.deepStrictEqual(spans, [])))
  )
})

describe("as children", () => {
  const produced = { type: "String" as const, value: `00-${traceId}-${spanId}-00` }
  const lone = { body: "c", attributes: { traceparent: produced } }

  it(
    "a run is in the producer's trace and not linked; without a producer's span it is a trace of its own",
    simulated(
      Effect.gen(function* () {
        const spans = yield* through(Pipeline.process(() => Effect.void, { span: "child" }))
        assert.deepStrictEqual(
          spans.map(({ links, parentOf }) => [parentOf, links]),
          [
            [[traceId, spanId, true], []],
            [undefined, []]
          ]
        )
      }),
      { order: "fifo" }
    )
  )

  it(
    "a batch is one where a single span produced all of it, and is linked where not",
    simulated(
      Effect.gen(function* () {
        const batch = (sent: ReadonlyArray<MemoryQueue.SendMessage>) =>
          through(
            Pipeline.processBatches(() => Effect.void, { max: 2, span: "child" }),
            {},
            sent
          )
        const [one] = yield* batch([lone, lone])
        assert.deepStrictEqual([one?.parentOf, one?.links], [[traceId, spanId, false], []])
        const [mixed] = yield* batch(messages)
        assert.deepStrictEqual([mixed?.parentOf, mixed?.links], [undefined, [[traceId, spanId, true]]])
      })
    )
  )

  it(
    "anything else is refused",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ name: "orders" })
        const error = yield* Consumer.stream(memory).pipe(
          Pipeline.process(() => Effect.void, { span: "parent" as "child" }),
          Stream.runDrain,
          Effect.flip
        )
        assert.include(error.message, '"child"')
      })
    )
  )
})

it(
  "a batch has one span, linked to all that produced its messages",
  simulated(
    Effect.gen(function* () {
      const fails = () => Effect.fail(new OutOfStock())
      const options = { span: true, retry: RetryPolicy.discard } as const
      const batch = Pipeline.batch({ max: 2 })
      for (const stage of [
        Pipeline.processBatches(fails, { max: 2, ...options }),
        (self: Source) => self.pipe(batch, Pipeline.process(fails, options))
      ]) {
        assert.deepStrictEqual(yield* through(stage), [
          {
            name: "process orders",
            kind: "consumer",
            parent: false,
            attributes: { ...ofProcess, "messaging.batch.message_count": 2, "error.type": "OutOfStock" },
            links: [[traceId, spanId, true]],
            failed: true
          }
        ])
      }
    })
  )
)

it(
  "calls to the queue have spans where asked for: receives linked to what they brought, settlements with their number",
  simulated(
    Effect.gen(function* () {
      const spans = yield* through(
        Pipeline.process((body) => (body === "a" ? Effect.void : Effect.fail("no")), {
          retry: (_, { attempt }) =>
            attempt > 1 ? RetryPolicy.deadLetter : RetryPolicy.redeliver(Schedule.spaced("1 second"))
        }),
        { spans: true }
      )
      const attributes = {
        "messaging.system": "memory",
        "memory.place": "here",
        "messaging.destination.name": "orders"
      }
      const first = (name: string) => spans.find((span) => span.name === name)
      assert.deepStrictEqual(first("receive orders"), {
        name: "receive orders",
        kind: "client",
        parent: false,
        attributes: {
          ...attributes,
          "messaging.operation.name": "receive",
          "messaging.operation.type": "receive",
          "messaging.batch.message_count": 2
        },
        links: [[traceId, spanId, true]],
        failed: false
      })
      for (const [name, type] of [
        ["ack", "settle"],
        ["dead_letter", "settle"],
        ["set_lease", undefined]
      ]) {
        assert.deepInclude(first(`${name} orders`), { kind: "client", parent: false, links: [] })
        assert.deepStrictEqual(first(`${name} orders`)?.attributes, {
          ...attributes,
          "messaging.operation.name": name,
          ...(type === undefined ? {} : { "messaging.operation.type": type }),
          "messaging.batch.message_count": 1
        })
      }
    })
  )
)

it(
  "a failed call says of what",
  simulated(
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ name: "orders" })
      yield* memory.inject("receive", { fail: "throttled" })
      const spans = yield* spansOf(
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(
            Consumer.stream(memory, { spans: true }).pipe(
              Pipeline.process(() => Effect.void),
              Stream.runDrain
            )
          )
          yield* Effect.sleep("1 second")
          yield* Fiber.interrupt(fiber)
        })
      )
      const [failed] = spans
      assert.isTrue(failed?.failed)
      assert.isString(failed?.attributes["error.type"])
      assert.notProperty(failed?.attributes ?? {}, "messaging.system")
    })
  )
)
