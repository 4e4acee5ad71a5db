/**
 * Producers over many seeds, on a queue that fails calls and entries, throttles, is slow and loses answers of calls that
 * took effect; their senders are interrupted and their scopes close at any moment. What is checked is what the queue
 * has, against what senders were told.
 */
import { assert, describe, it } from "@effect/vitest"
import { Pipeline, RetryPolicy } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { ObjectStore, SendRate, SqsClaimCheck, SqsConsumer, SqsEncoding, SqsProducer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Either, Exit, Fiber, Logger, LogLevel, Random, Ref, Schema, Scope, Stream } from "effect"
import { seeds } from "../../../test/long.js"

/** `untold`: a sink ends with the first that fails, and says nothing of any other. */
type Told = "sent" | "failed" | "interrupted" | "untold"

const odds = Effect.gen(function* () {
  const some = Effect.map(Random.next, (x) => (x < 0.3 ? 0 : x * 0.15))
  return {
    fail: yield* some,
    throttle: yield* some,
    dropResponse: yield* some,
    failEntry: yield* some,
    delay: yield* some
  }
})

const randomOptions = Effect.gen(function* () {
  const rated = yield* Random.nextBoolean
  return {
    linger: yield* Random.nextIntBetween(0, 30),
    concurrency: yield* Random.nextIntBetween(1, 6),
    buffer: yield* Random.nextIntBetween(1, 60),
    bufferBytes: yield* Random.nextIntBetween(50, 5000),
    maxCallBytes: yield* Random.nextIntBetween(1024, 3000),
    rate: rated ? yield* SendRate.make({ perSecond: 50, burst: yield* Random.nextIntBetween(1, 20) }) : undefined
  }
})

/** One producer's life: bodies `<producer>/<group>/<place in the group>/…`, sent in one of the three ways. */
const produce = (
  queue: string,
  who: number,
  told: Map<string, Told>,
  closesEarly: boolean,
  more: Pick<SqsProducer.Options, "claimCheck" | "encoding" | "maxPerGroup"> = {}
) =>
  Effect.gen(function* () {
    const fifo = queue.endsWith(".fifo")
    const scope = yield* Scope.make()
    const options = yield* randomOptions
    const producer = yield* SqsProducer.make(queue, {
      ...options,
      ...more,
      ...(fifo && { group: (body: string) => body.split("/")[1] })
    }).pipe(Scope.extend(scope))
    const groups = yield* Random.nextIntBetween(1, 6)
    const places = new Array<number>(groups).fill(0)
    const bodies: Array<string> = []
    for (let i = yield* Random.nextIntBetween(1, 80); i > 0; i--) {
      const group = yield* Random.nextIntBetween(0, groups)
      const place = places[group] ?? 0
      places[group] = place + 1
      bodies.push(`${who}/${group}/${place}/${"x".repeat(yield* Random.nextIntBetween(0, 400))}`)
    }
    const note = (body: string, result: Either.Either<unknown, unknown>) =>
      told.set(body, Either.isRight(result) ? "sent" : "failed")

    const way = yield* Random.nextIntBetween(0, 3)
    const sending =
      way === 0
        ? Effect.forEach(
            // Who wants order waits for its turn: which of two fibers sends first, nobody can say.
            fifo
              ? places.map((_, group) => bodies.filter((body) => body.split("/")[1] === String(group)))
              : bodies.map((b) => [b]),
            Effect.forEach((body) =>
              Effect.gen(function* () {
                const fiber = yield* Effect.fork(Effect.either(producer.send(body)))
                if ((yield* Random.next) < 0.05) {
                  yield* Effect.sleep(yield* Random.nextIntBetween(0, 100))
                  if (Exit.isInterrupted(yield* Fiber.interrupt(fiber))) return told.set(body, "interrupted")
                }
                return note(body, yield* Fiber.join(fiber))
              })
            ),
            { concurrency: "unbounded", discard: true }
          )
        : way === 1
          ? Effect.gen(function* () {
              const read = yield* Ref.make(0)
              yield* Stream.fromIterable(bodies).pipe(
                Stream.rechunk(yield* Random.nextIntBetween(1, 30)),
                producer.through,
                Stream.runForEach((result) =>
                  Effect.map(
                    Ref.getAndUpdate(read, (n) => n + 1),
                    (i) => note(bodies[i] ?? "", result)
                  )
                )
              )
            })
          : Stream.fromIterable(bodies).pipe(
              Stream.run(producer.sink),
              Effect.matchEffect({
                onFailure: () =>
                  Effect.sync(() => {
                    // Elsewhere none fails for good.
                    if (closesEarly || more.maxPerGroup !== undefined)
                      for (const body of bodies) told.set(body, "untold")
                  }),
                onSuccess: (n) =>
                  Effect.sync(() => {
                    assert.strictEqual(n, bodies.length)
                    for (const body of bodies) told.set(body, "sent")
                  })
              })
            )
    const fiber = yield* Effect.fork(sending)
    if (closesEarly) yield* Effect.sleep(yield* Random.nextIntBetween(0, 3000))
    else yield* Fiber.join(fiber)
    yield* Scope.close(scope, Exit.void)
    // Nobody waits for ever: with the scope closed, every sender has its answer.
    yield* Fiber.join(fiber)
    const { buffered, inFlight, waiting } = yield* producer.stats
    assert.deepStrictEqual({ buffered, inFlight, waiting }, { buffered: 0, inFlight: 0, waiting: 0 })
    return bodies
  })

const inOrder = (bodies: ReadonlyArray<string>) => {
  const latest = new Map<string, number>()
  for (const body of bodies) {
    const [who, group, place] = body.split("/")
    const lane = `${who}/${group}`
    assert.isAbove(Number(place), latest.get(lane) ?? -1, `${body.slice(0, 20)} came late`)
    latest.set(lane, Number(place))
  }
}

/** Several of a group a call: order holds unless SQS fails one of them and the answer is lost, both in one call. */
const oneFaultAtATime = Effect.gen(function* () {
  const some = yield* odds
  return { ...some, ...((yield* Random.nextBoolean) ? { dropResponse: 0 } : { failEntry: 0 }) }
})

const producers = (queue: string, closeEarly: boolean, several = false) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    yield* sqs.faults.random(yield* several ? oneFaultAtATime : odds, ["SendMessageBatch"])
    const more = several ? { maxPerGroup: yield* Random.nextIntBetween(2, 11) } : {}
    const told = new Map<string, Told>()
    const all = (yield* Effect.forEach(
      Array.from({ length: yield* Random.nextIntBetween(1, 4) }, (_, who) => who),
      (who) => produce(queue, who, told, closeEarly, more),
      { concurrency: "unbounded" }
    )).flat()
    const there = (yield* sqs.messages(queue)).map(({ body }) => body)
    const unique = new Set(there)
    for (const body of all) {
      if (told.get(body) === "sent")
        assert.isTrue(unique.has(body), `${body.slice(0, 20)} was confirmed and is not there`)
    }
    for (const body of all) assert.isDefined(told.get(body), `${body.slice(0, 20)} has no result`)
    if (queue.endsWith(".fifo")) {
      assert.strictEqual(there.length, unique.size)
      inOrder(there)
    }
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { [queue]: {} } })), Logger.withMinimumLogLevel(LogLevel.None))

/** A store whose operations take time and fail now and then. */
const faultyStore = Effect.gen(function* () {
  const memory = yield* ObjectStore.makeMemory
  const odds = (yield* Random.next) * 0.2
  const faulty = <A, E>(
    operation: "put" | "get" | "delete",
    object: ObjectStore.ObjectId,
    effect: Effect.Effect<A, E>
  ): Effect.Effect<A, E | ObjectStore.ObjectStoreError> =>
    Effect.gen(function* () {
      yield* Effect.sleep(yield* Random.nextIntBetween(1, 100))
      const error = (retryable: boolean) =>
        new ObjectStore.ObjectStoreError({ operation, object, retryable, message: "told to fail" })
      if ((yield* Random.next) < odds) return yield* error((yield* Random.next) < 0.7)
      const result = yield* effect
      // The answer is lost.
      if ((yield* Random.next) < odds) return yield* error(true)
      return result
    })
  const service: ObjectStore.Service = {
    put: (object, text) => faulty("put", object, memory.put(object, text)),
    get: (object, maxBytes) => faulty("get", object, memory.get(object, maxBytes)),
    delete: (object) => faulty("delete", object, memory.delete(object))
  }
  return service
})

/**
 * Producers and consumers at once, with faults for both and for the store of large bodies: what was confirmed is handled,
 * whole, on FIFO queues sent once and in order; nothing is taken for poison; no object is deleted too early.
 */
const together = (queue: string, closesEarly: boolean) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const store = yield* faultyStore
    const claimCheck = yield* SqsClaimCheck.make({
      bucket: "bodies",
      above: yield* Random.nextIntBetween(100, 500),
      deleteAfterAck: yield* Random.nextBoolean
    }).pipe(Effect.provideService(ObjectStore.ObjectStore, store))
    const gzip = yield* SqsEncoding.gzip({ above: 50 })
    yield* sqs.faults.random(yield* odds, ["SendMessageBatch"])
    yield* sqs.faults.random(yield* odds, ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
    const handled: Array<string> = []
    /** The messages that brought a body: an answer that was lost may have made two of it, on standard queues. */
    const ids = new Map<string, Set<string>>()
    const raw = new Set<string>()
    const refused: Array<string> = []
    const consumer = yield* SqsConsumer.stream(queue, { maxInFlight: 30 }).pipe(
      SqsClaimCheck.fetch(claimCheck),
      Pipeline.decode(Schema.String),
      Pipeline.process(
        (body, { message }) =>
          Effect.gen(function* () {
            handled.push(body)
            raw.add(message.body)
            ids.set(body, (ids.get(body) ?? new Set()).add(message.id))
            yield* Effect.sleep(yield* Random.nextIntBetween(0, 50))
          }),
        {
          concurrency: 10,
          retry: (failure, { message }) => {
            if (failure._tag === "ObjectStoreError") return RetryPolicy.standard
            // The duplicate of one that was handled, whose object is gone since.
            const twin = failure instanceof SqsClaimCheck.BodyMissing && raw.has(message.body)
            if (queue.endsWith(".fifo") || !twin) refused.push(failure.message)
            return RetryPolicy.discard
          }
        }
      ),
      Stream.runDrain,
      Effect.fork
    )
    const told = new Map<string, Told>()
    yield* Effect.forEach(
      [0, 1, 2],
      (who) =>
        Effect.gen(function* () {
          const packed = {
            ...((yield* Random.nextBoolean) && { claimCheck }),
            ...((yield* Random.nextBoolean) && { encoding: gzip })
          }
          return yield* produce(queue, who, told, closesEarly, packed)
        }),
      { concurrency: "unbounded" }
    )
    yield* sqs.idle(queue)
    yield* Fiber.interrupt(consumer)
    const first = [...new Set(handled)]
    for (const [body, result] of told) {
      if (result === "sent") assert.isTrue(first.includes(body), `${body.slice(0, 20)} was confirmed, not handled`)
    }
    assert.deepStrictEqual(refused, [])
    if (queue.endsWith(".fifo")) {
      for (const [body, { size }] of ids) assert.strictEqual(size, 1, `${body.slice(0, 20)} was sent twice`)
      inOrder(first)
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(SqsEmulator.layer({ queues: { [queue]: {} }, latency: "8 millis" })),
    Logger.withMinimumLogLevel(LogLevel.None)
  )

describe("producers over seeds", () => {
  it("q.fifo: several of a group in a call, where SQS fails single ones or answers are lost: in their order", async () => {
    await Simulation.checkInTurns({ seeds: seeds({ short: 12, long: 60 }) }, producers("q.fifo", false, true))
  }, 60_000)

  for (const queue of ["q", "q.fifo"]) {
    it(`${queue}: what is confirmed is there; on FIFO once, and in its group's order`, async () => {
      await Simulation.checkInTurns({ seeds: seeds({ short: 12, long: 60 }) }, producers(queue, false))
    }, 60_000)

    it(`${queue}: the same where scopes close at any moment, and nobody waits for ever`, async () => {
      await Simulation.checkInTurns({ seeds: seeds({ short: 12, long: 60 }), leaks: "fail" }, producers(queue, true))
    }, 60_000)

    for (const closeEarly of [false, true]) {
      it(`${queue}: producers and consumers together${closeEarly ? ", producers closing at any moment" : ""}`, async () => {
        await Simulation.checkInTurns({ seeds: seeds({ short: 5, long: 20 }) }, together(queue, closeEarly))
      }, 60_000)
    }
  }
})
