/** What a consumer of a FIFO queue asks of the queue's partitions: how many receives the entries of its calls come from. */
import { assert, it } from "@effect/vitest"
import { Pipeline } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { SqsClient, SqsConsumer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Exit, Fiber, Stream } from "effect"

/** For each call, by how many receives its entries were brought. */
type Mixed = Array<{ readonly entries: number; readonly receives: number }>

/** A group each, and acks whose groups do not wait for them; `place` is that of a message in its receive. */
const consumed = (queue: string, count: number, handler: (place: number) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const client = yield* SqsClient.SqsClient
    const receiveOf = new Map<string, number>()
    const places = new Map<string, number>()
    let receives = 0
    const deletes: Mixed = []
    const extensions: Mixed = []
    const note = (mixed: Mixed, entries: ReadonlyArray<SqsClient.ReceiptEntry>) =>
      mixed.push({
        entries: entries.length,
        receives: new Set(entries.map(({ ReceiptHandle }) => receiveOf.get(ReceiptHandle))).size
      })
    const recorded: SqsClient.SqsClient["Type"] = {
      ...client,
      receiveMessage: (request, options) =>
        Effect.map(client.receiveMessage(request, options), (messages) => {
          receives += 1
          for (const [place, { Body, ReceiptHandle }] of messages.entries()) {
            receiveOf.set(ReceiptHandle, receives)
            places.set(Body, place)
          }
          return messages
        }),
      deleteMessageBatch: (request) => {
        note(deletes, request.Entries)
        return client.deleteMessageBatch(request)
      },
      changeMessageVisibilityBatch: (request) => {
        note(extensions, request.Entries)
        return client.changeMessageVisibilityBatch(request)
      }
    }
    const fifo = queue.endsWith(".fifo")
    const bodies = Array.from({ length: count }, (_, i) => `m${i}`)
    yield* sqs.send(queue, fifo ? bodies.map((body) => SqsEmulator.message(body, { group: body })) : bodies)
    const fiber = yield* SqsConsumer.stream(queue, { maxInFlight: 40, visibilityTimeout: "30 seconds" }).pipe(
      Pipeline.process((body) => handler(places.get(body) ?? 0), {
        concurrency: 40,
        ackAhead: queue.endsWith(".fifo")
      }),
      Stream.runDrain,
      Effect.provideService(SqsClient.SqsClient, recorded),
      Effect.fork
    )
    yield* sqs.settled(queue, count)
    yield* Fiber.interrupt(fiber)
    return { deletes, extensions }
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { [queue]: {} } })))

const simulated = (...args: Parameters<typeof consumed>) => {
  const { exit } = Simulation.run(1, consumed(...args))
  return Exit.isSuccess(exit) ? exit.value : assert.fail(String(exit.cause))
}

const sum = (mixed: Mixed, field: keyof Mixed[number]) => mixed.reduce((all, call) => all + call[field], 0)

/** The first of all receives end together, then the second of all, a millisecond later. */
const mixedUp = (place: number) => Effect.sleep(20 + place)

it("the deletes of what one receive brought share a call, and no other does; on standard queues any do", () => {
  const { deletes } = simulated("q.fifo", 2000, mixedUp)
  assert.strictEqual(sum(deletes, "entries"), 2000)
  assert.isAtMost(deletes.length, 205)
  assert.isAtMost(sum(deletes, "receives"), 210)

  const standard = simulated("q", 2000, mixedUp).deletes
  assert.isAbove(sum(standard, "receives"), 2 * standard.length)
})

it("so do the extensions of their leases", () => {
  const { extensions } = simulated("q.fifo", 40, () => Effect.sleep("2 minutes"))
  assert.isAbove(extensions.length, 8)
  assert.strictEqual(sum(extensions, "receives"), extensions.length)
})
