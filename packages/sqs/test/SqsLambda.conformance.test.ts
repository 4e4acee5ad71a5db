/**
 * The port's promises, kept over events as far as Lambda's contract allows. Each send is an event of its own; an event hands
 * its messages out once, so that what tells of a message that comes again is not for it: Lambda brings that in another
 * event, which the tests over `LambdaPoller` show.
 */
import { assert, describe, it } from "@effect/vitest"
import type { LeaseQueue } from "@millrace/core"
import { Conformance } from "@millrace/core/testing"
import { Duration, Effect, TestClock } from "effect"
import { SqsEmulator } from "../src/emulator/index.js"
import { eventOf } from "../src/emulator/LambdaPoller.js"
import { SqsEncoding, type SqsError, SqsLeaseQueue } from "../src/index.js"
import * as EventQueue from "../src/internal/lambda/eventQueue.js"
import { allAttributes } from "../src/internal/receive/received.js"
import type { LambdaRecord } from "../src/lambda/LambdaEvent.js"

const queues = {
  orders: { deadLetter: { queue: "dead", maxReceiveCount: 1000 } },
  "orders.fifo": { deadLetter: { queue: "dead.fifo", maxReceiveCount: 1000 } }
}
const lease = Duration.seconds(30)
type Queue = LeaseQueue.LeaseQueue<SqsError.SqsError>

const harnessOf = (name: "orders" | "orders.fifo") =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const clock = yield* Effect.clock
    const behind = yield* SqsLeaseQueue.make(name)
    const QueueUrl = sqs.queueUrl(name)
    const { QueueArn: arn = "" } = yield* sqs.client.getQueueAttributes({ QueueUrl, AttributeNames: ["QueueArn"] })
    const over = (event: ReturnType<typeof eventOf>) =>
      EventQueue.make(arn, event.Records, {
        behind: { known: behind, find: Effect.succeed(behind) },
        lease,
        now: () => clock.unsafeCurrentTimeMillis(),
        encodings: SqsEncoding.standard
      })
    const none = over({ Records: [] })
    const events = [none]
    /** Entries of many events: each goes to the event that its lease is of. */
    const each =
      <A>(
        handle: (entry: A) => string,
        call: (
          queue: Queue,
          entries: ReadonlyArray<A>
        ) => Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, SqsError.SqsError>
      ) =>
      (entries: ReadonlyArray<A>) =>
        entries.length > EventQueue.mostEntries
          ? call(none, entries)
          : Effect.map(
              Effect.forEach(entries, (entry) => call(ofHandle.get(handle(entry)) ?? none, [entry])),
              (results) => results.flat()
            )
    const ofHandle = new Map<string, Queue>()
    const queue: Queue = {
      ...none,
      receive: (request) =>
        Effect.gen(function* () {
          for (const event of events) {
            const messages = yield* event.receive({ ...request, wait: Duration.zero })
            for (const { lease } of messages) ofHandle.set(lease.handle, event)
            if (messages.length > 0) return messages
          }
          return yield* none.receive(request)
        }),
      ack: each(
        ({ handle }) => handle,
        (event, leases) => event.ack(leases)
      ),
      setLease: each(
        ({ lease }) => lease.handle,
        (event, entries) => event.setLease(entries)
      ),
      deadLetter: each(
        ({ message }) => message.lease.handle,
        (event, letters) => event.deadLetter?.(letters) ?? Effect.succeed([])
      )
    }
    const harness: Conformance.Harness<SqsError.SqsError> = {
      queue,
      send: (messages) =>
        Effect.gen(function* () {
          yield* sqs.send(
            name,
            messages.map(({ attributes = {}, body, group }) =>
              SqsEmulator.message(body, {
                group,
                attributes: Object.fromEntries(
                  Object.entries(attributes).map(([key, { type, value }]) => [
                    key,
                    typeof value === "string" ? { DataType: type, StringValue: value } : value
                  ])
                )
              })
            )
          )
          const records: Array<LambdaRecord> = []
          for (;;) {
            const batch = yield* sqs.client.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10, ...allAttributes })
            if (batch.length === 0) break
            records.push(...eventOf({ arn, region: "us-east-1" }, batch).Records)
          }
          events.push(over({ Records: records }))
        }),
      pass: TestClock.adjust,
      deadLetters: Effect.map(sqs.messages(`dead${name.slice("orders".length)}`), (messages) =>
        messages.map(({ body }) => body)
      )
    }
    return harness
  })

const ofEvents: ReadonlyArray<string> = [
  "the queue says what it is",
  "a message arrives as it was sent",
  "a receive answers with at most `max` messages, and the others come after",
  "a receive of more than `batchSize` is refused, or answers with no more than that",
  "without a wait an empty queue answers at once",
  "an empty queue answers when the wait is over, and not before",
  "a waiting receive that is told to stop answers with nothing, or goes on as if untold",
  "an acked message is gone for good",
  "a repeated ack is harmless",
  "acks: results stand in the order of the entries, and a lease that never was fails alone",
  "receives at the same time never lease a message twice",
  "dead letters: a message is moved once, with its body"
]
const ofOrderedEvents: ReadonlyArray<string> = [
  ...ofEvents,
  "ordered: a receive brings the run of a group, in sequence",
  "ordered: a dead-lettered head frees its group"
]

for (const [name, promised] of [
  ["orders", ofEvents],
  ["orders.fifo", ofOrderedEvents]
] as const) {
  const cases = Conformance.cases(harnessOf(name), { ordered: name.endsWith(".fifo"), deadLetters: true })
  const kept = cases.filter(({ name }) => promised.includes(name))
  describe(`events of ${name}`, () => {
    it("all that they promise is among the cases", () => {
      assert.deepStrictEqual(kept.map(({ name }) => name).toSorted(), promised.toSorted())
    })
    for (const { effect, name } of kept) it.scoped(name, () => Effect.provide(effect, SqsEmulator.layer({ queues })))
  })
}
