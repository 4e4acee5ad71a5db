/**
 * Whatever runs for one message concerns that message alone: a body, a Schema, a function of the user's or an error that
 * bites ends as one failed delivery, and the others are worked on as if it had not been there.
 */
import { assert, describe, it } from "@effect/vitest"
import { Circuit, Consumer, type Delivery, type LeaseQueue, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Cause, Effect, Either, Fiber, Logger, LogLevel, Option, Schema, Stream } from "effect"
import * as decode from "../src/internal/handOver/decode.js"
import { heldClock, type Line, logged, numbered, simulated } from "./support/index.js"

const throws = () => {
  throw new Error("it bites")
}

/** Values that throw when they are looked at, or are not what they look like. */
const biting: Readonly<Record<string, unknown>> = {
  null: null,
  undefined: undefined,
  "an object without a prototype": Object.create(null),
  "a symbol": Symbol("x"),
  "a tag that throws": {
    get _tag() {
      return throws()
    }
  },
  "a tag that is no text": { _tag: Object.create(null) },
  "an error whose message throws": Object.defineProperty(new Error("x"), "message", { get: throws }),
  "an error whose name is no text": Object.assign(new Error("x"), { name: { toString: throws } }),
  "a toString that throws": { toString: throws },
  "a Proxy that throws": new Proxy({}, { get: throws, has: throws, getPrototypeOf: throws, ownKeys: throws }),
  "a revoked Proxy": (() => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  })()
}

const hows: Readonly<Record<string, (value: unknown) => Effect.Effect<never, unknown>>> = {
  fails: (value) => Effect.fail(value),
  dies: (value) => Effect.die(value),
  throws: (value) => {
    throw value
  }
}

type Deliveries = Stream.Stream<Delivery.Delivery<string>, unknown>
type Bite = (body: string) => Effect.Effect<void, unknown>

/** Each stage, with a handler of the user's that may bite. */
const stages: Readonly<Record<string, (deliveries: Deliveries, bite: Bite) => Stream.Stream<unknown, unknown>>> = {
  process: (deliveries, bite) =>
    deliveries.pipe(Pipeline.process(bite, { concurrency: 1, retry: RetryPolicy.deadLetter, span: true })),
  "processBatches, one for all": (deliveries, bite) =>
    deliveries.pipe(
      Pipeline.processBatches(([body = ""]) => bite(body), {
        max: 1,
        within: "1 second",
        retry: RetryPolicy.deadLetter,
        span: true
      })
    ),
  "mapEffect, then settle": (deliveries, bite) =>
    deliveries.pipe(Pipeline.mapEffect(bite), Pipeline.settle({ retry: RetryPolicy.deadLetter })),
  "map, then process": (deliveries, bite) =>
    deliveries.pipe(
      Pipeline.map((body) => Effect.runSync(Effect.orDie(bite(body)))),
      Pipeline.process(() => Effect.void, { retry: RetryPolicy.deadLetter })
    ),
  "filter, then process": (deliveries, bite) =>
    deliveries.pipe(
      Pipeline.filter((body) => Effect.runSync(Effect.orDie(bite(body))) === undefined),
      Pipeline.process(() => Effect.void, { retry: RetryPolicy.deadLetter })
    ),
  "process with a policy by tag, a circuit, and a limit of time": (deliveries, bite) =>
    Stream.unwrapScoped(
      Effect.map(Circuit.make<unknown>({ trips: ["HttpError"] }), (circuit) =>
        deliveries.pipe(
          Pipeline.process(bite, {
            timeout: "1 minute",
            circuit,
            retry: RetryPolicy.match({ HttpError: RetryPolicy.discard }).pipe(
              RetryPolicy.orElse(RetryPolicy.deadLetter)
            )
          })
        )
      )
    )
}

/** What is left once all but one have been worked on, and that one has ended as a dead letter. */
const onlyOneFails = (
  bodies: ReadonlyArray<string>,
  pipeline: (deliveries: Deliveries, handled: Array<string>) => Stream.Stream<unknown, unknown>,
  options: { readonly ordered?: boolean } = {}
) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make(options)
    yield* memory.send(bodies.map((body) => ({ body, group: options.ordered === true ? "g" : undefined })))
    const handled: Array<string> = []
    const consumer = yield* Consumer.make(memory)
    const fiber = yield* Effect.fork(Stream.runDrain(pipeline(consumer.stream, handled)))
    yield* Effect.sleep("1 hour")
    assert.isNull(fiber.unsafePoll(), "the stream goes on")
    assert.strictEqual((yield* consumer.stats).inFlight, 0)
    assert.strictEqual((yield* memory.stats).acked, bodies.length - 1)
    const [letter, ...more] = yield* memory.deadLetters
    assert.strictEqual(more.length, 0)
    yield* Fiber.interrupt(fiber)
    return { handled, letter }
  })

/** A logger that reads all that it is given, as those for people do. */
const reads = Logger.replace(
  Logger.defaultLogger,
  Logger.make(({ cause }) => void Cause.pretty(cause))
)

describe("an error that bites", () => {
  for (const [stage, pipeline] of Object.entries(stages)) {
    it(
      `${stage}: is that message's own, at any log level`,
      simulated(
        Effect.gen(function* () {
          for (const value of Object.values(biting)) {
            for (const how of Object.values(hows)) {
              yield* onlyOneFails(["a", "poison", "b"], (deliveries) =>
                pipeline(deliveries, (body) => (body === "poison" ? how(value) : Effect.void))
              )
            }
          }
        }).pipe(Effect.provide(reads), Logger.withMinimumLogLevel(LogLevel.All)),
        { seeds: 1, maxElapsed: "30 days" }
      )
    )
  }

  it(
    "a batch's answer is each message's own: what is no Either fails alone, an answer that cannot be read fails them all",
    simulated(
      Effect.gen(function* () {
        const answers: ReadonlyArray<unknown> = [
          null,
          7,
          [null],
          [{}],
          [biting["a Proxy that throws"]],
          biting["a revoked Proxy"]
        ]
        for (const answer of answers) {
          yield* onlyOneFails(["poison", "b"], (deliveries) =>
            deliveries.pipe(
              Pipeline.processBatches(
                // As plain JavaScript answers.
                ([body]) =>
                  Effect.succeed(body === "poison" ? (answer as ReadonlyArray<Either.Either<never>>) : undefined),
                { max: 1, within: "1 second", retry: RetryPolicy.deadLetter }
              )
            )
          )
        }
      }),
      { seeds: 1, maxElapsed: "30 days" }
    )
  )
})

describe("what the user gives to a stage", () => {
  it(
    "a key that throws, or is none, is its message's failure, which says what to write",
    simulated(
      Effect.gen(function* () {
        const { null: _, undefined: __, ...nonsense } = biting
        const keys: ReadonlyArray<readonly [answer: () => unknown, says: RegExp]> = [
          [throws, /threw it bites; answer with a text/],
          [async () => "k", /answered with a promise and no key: answer with a text/],
          [() => Promise.reject(new Error("unhandled")), /answered with a promise and no key/],
          [() => ({ id: 1 }), /answered with an object and no key/],
          [() => true, /answered with a boolean and no key/],
          ...Object.values(nonsense).map((value) => [() => value, /^HandlerDefect: .*the function given as/] as const)
        ]
        for (const [answer, says] of keys) {
          const key = (body: string) => (body === "poison" ? (answer() as string) : "k")
          const wheres: ReadonlyArray<(deliveries: Deliveries) => Stream.Stream<unknown, unknown>> = [
            Pipeline.process(() => Effect.void, { sequence: key, retry: RetryPolicy.deadLetter }),
            Pipeline.process(() => Effect.void, { share: { key }, retry: RetryPolicy.deadLetter }),
            Pipeline.processBatches(() => Effect.void, { max: 2, sequence: key, retry: RetryPolicy.deadLetter }),
            Pipeline.processBatches(() => Effect.void, { max: 2, share: { key }, retry: RetryPolicy.deadLetter }),
            (deliveries) =>
              deliveries.pipe(
                Pipeline.mapEffect(() => Effect.void, { sequence: key }),
                Pipeline.settle({ retry: RetryPolicy.deadLetter })
              ),
            (deliveries) =>
              deliveries.pipe(
                Pipeline.tap(() => Effect.void, { sequence: key, share: { key } }),
                Pipeline.settle({ retry: RetryPolicy.deadLetter })
              )
          ]
          for (const where of wheres) {
            const { letter } = yield* onlyOneFails(["a", "poison", "b"], where)
            assert.match(letter?.reason ?? "", says)
          }
        }
      }),
      { seeds: 1, maxElapsed: "30 days" }
    )
  )

  it(
    "a body that has no key has no lane",
    simulated(
      Effect.gen(function* () {
        for (const none of [null, undefined]) {
          const memory = yield* MemoryQueue.make()
          yield* memory.send(["a", "b"])
          const fiber = yield* Consumer.stream(memory).pipe(
            // As plain JavaScript answers.
            Pipeline.process(() => Effect.void, { sequence: (body) => (body === "a" ? (none as undefined) : "k") }),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.settled(2)
          assert.strictEqual((yield* memory.stats).acked, 2)
          yield* Fiber.interrupt(fiber)
        }
      })
    )
  )

  it(
    "a policy that throws, or answers with what is no decision, leaves its message to the queue",
    simulated(
      Effect.gen(function* () {
        const deciding = (decision: unknown): RetryPolicy.RetryPolicy<unknown> => ({
          ...RetryPolicy.leave,
          decide: () => Effect.succeed(decision as Option.Option<RetryPolicy.Decision>)
        })
        const policies = [
          throws,
          deciding(undefined),
          ...[...Object.values(biting), {}, { _tag: "Retry" }, { _tag: "RunAgain", delay: "soon" }].map((decision) =>
            deciding(Option.some(decision))
          )
        ]
        for (const retry of policies) {
          const memory = yield* MemoryQueue.make({ maxAttempts: 2 })
          yield* memory.send(["poison", "b"])
          const consumer = yield* Consumer.make(memory)
          const fiber = yield* consumer.stream.pipe(
            Pipeline.process((body) => (body === "b" ? Effect.void : Effect.fail("no")), { concurrency: 1, retry }),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("1 hour")
          const { acked, inFlight, left } = yield* consumer.stats
          assert.deepStrictEqual({ acked, inFlight }, { acked: 1, inFlight: 0 })
          assert.isAbove(left, 0)
          yield* Fiber.interrupt(fiber)
        }
      }),
      { seeds: 1, maxElapsed: "30 days" }
    )
  )

  it(
    "a reason that is no text is written as one: the dead letters that share its call are not lost for it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const port: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
          ...memory,
          deadLetter: (entries) => {
            for (const { reason } of entries) reason.slice(0, 10)
            return memory.deadLetter?.(entries) ?? Effect.die("none")
          }
        }
        yield* memory.send(["poison", ...numbered(5)])
        const fiber = yield* Consumer.stream(port).pipe(
          Pipeline.process((body, delivery) =>
            Effect.ignore(delivery.deadLetter(body === "poison" ? (biting["a symbol"] as string) : body))
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(6)
        assert.strictEqual((yield* memory.deadLetters).length, 6)
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})

describe("a body that does not decode", () => {
  interface Tree {
    readonly children: ReadonlyArray<Tree>
  }
  const Tree: Schema.Schema<Tree> = Schema.Struct({ children: Schema.Array(Schema.suspend(() => Tree)) })
  const nested = (depth: number) => '{"children":['.repeat(depth) + "]}".repeat(depth)

  const Amount = Schema.transform(Schema.String, Schema.BigIntFromSelf, { decode: BigInt, encode: String })
  const through = (decode: () => Effect.Effect<string>) =>
    Schema.transformOrFail(Schema.String, Schema.String, { decode, encode: Effect.succeed })

  const poisons: ReadonlyArray<readonly [what: string, Schema.Schema.AnyNoContext, string, string]> = [
    ["nested too deeply", Tree, nested(15_000), "it is nested too deeply"],
    ["a transformation that throws", Amount, '"hunter2"', "its Schema threw SyntaxError"],
    ["one that dies", through(() => Effect.die(new TypeError("hunter2"))), '"hunter2"', "its Schema threw TypeError"],
    [
      "one that dies later",
      through(() => Effect.zipRight(Effect.sleep(1), Effect.die("hunter2"))),
      '"hunter2"',
      "its Schema threw an error"
    ],
    [
      "one that is interrupted",
      through(() => Effect.zipRight(Effect.sleep(1), Effect.interrupt)),
      '"hunter2"',
      "its Schema was interrupted"
    ],
    ["a filter that throws", Schema.String.pipe(Schema.filter(() => throws())), '"hunter2"', "its Schema threw Error"]
  ]

  for (const [what, schema, poison, expected] of poisons) {
    it(
      `${what}: a DecodeError of its own, which repeats nothing of the body`,
      simulated(
        Effect.gen(function* () {
          const { letter } = yield* onlyOneFails(["null", poison, "null"], (deliveries) =>
            deliveries.pipe(
              Pipeline.decodeJson(Schema.Union(Schema.Null, schema)),
              Pipeline.process(() => Effect.void)
            )
          )
          assert.strictEqual(letter?.reason, `DecodeError: the body of message memory-2 does not decode: ${expected}`)
        })
      )
    )
  }

  it(
    "in a group of an ordered queue its place is kept: what follows waits for its end",
    simulated(
      Effect.gen(function* () {
        const { handled } = yield* onlyOneFails(
          ['"1"', '"ten"', '"3"'],
          (deliveries, handled) =>
            deliveries.pipe(
              Pipeline.decodeJson(Amount),
              Pipeline.process((n) => Effect.sync(() => handled.push(String(n))))
            ),
          { ordered: true }
        )
        assert.deepStrictEqual(handled, ["1", "3"])
      })
    )
  )

  it(
    "an encoding that throws, or gives no text, is that message's own",
    simulated(
      Effect.gen(function* () {
        for (const open of [throws, () => Object.create(null), () => Either.right(7)]) {
          const { letter } = yield* onlyOneFails(["1", "2"], (deliveries) =>
            deliveries.pipe(
              Stream.tap((delivery) =>
                Effect.sync(() => {
                  if (delivery.message.body === "2") Object.assign(delivery.message, { open })
                })
              ),
              Pipeline.decodeJson(Schema.Number),
              Pipeline.process(() => Effect.void)
            )
          )
          assert.match(letter?.reason ?? "", /does not decode: its encoding (threw an error|gave no text)$/)
        }
      })
    )
  )
})

describe("what an error says of a body", () => {
  const secret = "4111111111111111"
  const Order = Schema.Struct({ a: Schema.Number })
  const strict = { parseOptions: { onExcessProperty: "error" } } as const
  const cases: ReadonlyArray<readonly [what: string, Schema.Schema.AnyNoContext, unknown, string]> = [
    [
      "a Record's key",
      Schema.Record({ key: Schema.String, value: Schema.Number }),
      { [secret]: "x" },
      "[key]: expected number"
    ],
    [
      "one of several levels",
      Schema.Struct({ a: Schema.Record({ key: Schema.String, value: Schema.Array(Order) }) }),
      { a: { [secret]: [{ a: 1 }, {}] } },
      "a[key][1].a: is missing"
    ],
    [
      "a Record's key that does not fit",
      Schema.Record({ key: Schema.UUID, value: Schema.Number }).annotations(strict),
      { [secret]: 1 },
      "[key]: is unexpected"
    ],
    ["an excess property", Order.annotations(strict), { a: 1, [secret]: 1 }, "[key]: is unexpected"],
    [
      "a tag",
      Schema.Union(Schema.Struct({ _tag: Schema.Literal("A") }), Schema.Struct({ _tag: Schema.Literal("B") })),
      { _tag: secret },
      "_tag: expected"
    ],
    [
      "a renamed property",
      Schema.Struct({ b: Schema.propertySignature(Schema.Number).pipe(Schema.fromKey("a")) }),
      { a: secret },
      "a: expected number"
    ],
    [
      "JSON within",
      Schema.Struct({ a: Schema.parseJson(Schema.Record({ key: Schema.String, value: Order })) }),
      { a: JSON.stringify({ [secret]: { a: secret } }) },
      "a[key].a: expected number"
    ]
  ]

  for (const [what, schema, body, expected] of cases) {
    it(`${what}: its place by the Schema's names, and nothing that the sender wrote`, () => {
      for (const errors of ["all", "first"] as const) {
        const result = Schema.decodeUnknownEither(schema, { errors })(body)
        if (Either.isRight(result)) throw new Error("it decodes")
        const text = decode.describe(result.left.issue)
        assert.include(text, expected)
        assert.notInclude(text, secret)
      }
    })
  }

  it(
    "all that is wrong of a short body, the first of a long one: they are not gathered",
    simulated(
      Effect.gen(function* () {
        for (const [length, most] of [
          [100, 100],
          [100_000, 1]
        ] as const) {
          let looked = 0
          const Wrong = Schema.Number.pipe(Schema.filter(() => ++looked < 0))
          const { letter } = yield* onlyOneFails(["[]", `[${"0,".repeat(length)}0]`], (deliveries) =>
            deliveries.pipe(
              Pipeline.decodeJson(Schema.Array(Wrong)),
              Pipeline.process(() => Effect.void)
            )
          )
          assert.isAtMost(looked, most + 1)
          assert.strictEqual(/and \d+ more/.test(letter?.reason ?? ""), most > 1)
        }
      })
    )
  )
})

describe("opened bodies", () => {
  const size = 1000
  /** A queue whose messages open to so much. */
  const opening = (memory: MemoryQueue.MemoryQueue): MemoryQueue.MemoryQueue => ({
    ...memory,
    receive: (request) =>
      Effect.map(memory.receive(request), (messages) =>
        messages.map((message) => ({
          ...message,
          open: (body: string) => Either.right(JSON.stringify(body.padEnd(size)))
        }))
      )
  })

  for (const ordered of [false, true]) {
    it(
      `no more than \`maxOpenedBytes\` and one are open at once, and all have their turn: ${ordered ? "FIFO" : "standard"}`,
      simulated(
        Effect.gen(function* () {
          let ended = 0
          const memory = yield* MemoryQueue.make({
            ordered,
            onEvent: ({ type }) => {
              if (type === "Acked") ended++
            }
          })
          yield* memory.send(numbered(40).map((body, i) => ({ body, group: ordered ? `g${i % 7}` : undefined })))
          let opened = 0
          let most = 0
          const opens = () => {
            most = Math.max(most, ++opened - ended)
            return true
          }
          const lines: Array<Line> = []
          yield* Effect.gen(function* () {
            const fiber = yield* Consumer.stream(opening(memory), { maxOpenedBytes: 3 * size, linger: 0 }).pipe(
              Pipeline.decodeJson(Schema.String.pipe(Schema.filter(() => opens()))),
              Pipeline.process(() => Effect.sleep("1 second"), { concurrency: 20 }),
              Stream.runDrain,
              Effect.fork
            )
            yield* memory.settled(40)
            yield* Fiber.interrupt(fiber)
          }).pipe(Effect.provide(logged(lines)))
          assert.strictEqual((yield* memory.stats).acked, 40)
          assert.isAtMost(most, 4)
          assert.isAtLeast(most, 3)
          assert.strictEqual(lines.filter((line) => line.text.includes("maxOpenedBytes")).length, 1)
        })
      )
    )
  }

  it(
    "one that is larger than all that is allowed has its turn too; a drain does not wait for room",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(5))
        const consumer = yield* Consumer.make(opening(memory), { maxOpenedBytes: 1 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.decodeJson(Schema.String),
          Pipeline.process((body) => (body.trim() === "0" ? Effect.void : Effect.never)),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(1)
        yield* Effect.sleep("10 seconds")
        const { released } = yield* consumer.drain({ deadline: "1 second" })
        assert.strictEqual(released, 4)
        yield* Fiber.join(fiber)
      })
    )
  )
})

describe("the time that one message takes of the thread", () => {
  it(
    "is said where it is more than half of a lease",
    simulated(
      Effect.gen(function* () {
        const { clock: slow, works } = yield* heldClock
        const work = (body: string) => {
          works(body === "slow" ? 6000 : 1000)
          return true
        }
        const wheres: ReadonlyArray<(deliveries: Deliveries) => Deliveries> = [
          Pipeline.map((body) => (work(body) ? body : body)),
          Pipeline.filter(work),
          (deliveries) => Pipeline.decode(Schema.String.pipe(Schema.filter(work)))(deliveries) as unknown as Deliveries
        ]
        for (const where of wheres) {
          const lines: Array<Line> = []
          yield* Effect.gen(function* () {
            const memory = yield* MemoryQueue.make({ leaseDuration: "10 seconds" })
            yield* memory.send(["quick", "slow"])
            const fiber = yield* Consumer.stream(memory).pipe(
              where,
              Pipeline.process(() => Effect.void),
              Stream.runDrain,
              Effect.fork
            )
            yield* memory.settled(2)
            yield* Fiber.interrupt(fiber)
          }).pipe(Effect.withClock(slow), Effect.provide(logged(lines)))
          const said = lines.filter((line) => line.text.includes("held the event loop"))
          assert.strictEqual(said.length, 1)
          assert.match(said[0]?.text ?? "", /memory-2 .* for 6s/)
        }
      })
    )
  )
})
