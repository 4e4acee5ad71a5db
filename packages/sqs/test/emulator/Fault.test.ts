/** Faults on demand: what each does to a call, and that a seed replays them. */
import { describe, expect, it } from "@effect/vitest"
import { SqsError } from "@millrace/sqs"
import { Fault } from "@millrace/sqs/emulator"
import { Effect, Fiber, Random, TestClock } from "effect"
import { bodies, emulated, head, on, refused, still } from "./Harness.js"

const counts = ({ visible, inFlight, deleted }: Readonly<Record<"visible" | "inFlight" | "deleted", number>>) => ({
  visible,
  inFlight,
  deleted
})

describe("by script", () => {
  it.effect("a failed call has no effect, and the script is used up call by call", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        const denied = Fault.fail((operation) => new SqsError.AccessDenied({ operation, message: "no" }))
        yield* sqs.faults.script("SendMessage", [denied, Fault.none])
        yield* sqs.faults.script("SendMessage", [Fault.throttle])
        expect(yield* refused(q.send("a"))).toBe("AccessDenied: no")
        yield* q.send("b")
        expect(yield* refused(q.send("c"))).toContain("RequestThrottled")
        yield* q.send("d")
        expect(bodies(yield* q.receive())).toEqual(["b", "d"])
        expect((yield* sqs.calls).SendMessage).toBe(4)
      })
    )
  )
  it.effect("a dropped response took effect", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* sqs.send("q", ["a"])
        yield* sqs.faults.script("ReceiveMessage", [Fault.dropResponse])
        expect(yield* refused(q.receive())).toContain("TransportError")
        expect(counts(yield* sqs.snapshot("q"))).toEqual({ visible: 0, inFlight: 1, deleted: 0 })
      })
    )
  )
  it.effect("a delayed call takes effect later", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* sqs.faults.script("SendMessage", [Fault.delay("3 seconds")])
        const send = yield* Effect.fork(q.send("a"))
        yield* TestClock.adjust("2 seconds")
        yield* still(send)
        expect(yield* sqs.messages("q")).toEqual([])
        yield* TestClock.adjust("1 seconds")
        yield* Fiber.join(send)
        expect(yield* sqs.messages("q")).toMatchObject([{ body: "a", sentAt: 3_000 }])
      })
    )
  )
  it.effect("failed entries have no effect, the others do", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* sqs.send("q", ["a", "b", "c"])
        const messages = yield* q.receive()
        const failure = { code: "Odd", senderFault: true, message: "because" }
        yield* sqs.faults.script("DeleteMessageBatch", [Fault.failEntries([0, 2], failure), Fault.failEntries()])
        const first = yield* q.removeAll(messages)
        expect(first.Successful.map(({ Id }) => Id)).toEqual(["e1"])
        expect(first.Failed).toEqual(
          ["e0", "e2"].map((Id) => ({ Id, Code: "Odd", SenderFault: true, Message: "because" }))
        )
        expect((yield* q.removeAll(messages)).Failed).toMatchObject([
          { Id: "e0", Code: "InternalError", SenderFault: false },
          { Id: "e1" },
          { Id: "e2" }
        ])
        expect((yield* sqs.snapshot("q")).lastDeleted.map(({ body }) => body)).toEqual(["b"])
      })
    )
  )
  it.effect("a short receive and a duplicate delivery", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* sqs.send("q", ["a", "b", "c"])
        yield* sqs.faults.script("ReceiveMessage", [
          Fault.shortReceive(1),
          { ...Fault.shortReceive(1), ...Fault.duplicate }
        ])
        expect(bodies(yield* q.receive())).toEqual(["a"])
        const b = yield* q.receive()
        expect(bodies(b)).toEqual(["b"])
        expect(bodies(yield* q.receive())).toEqual(["c", "b"])
        expect(yield* q.receive()).toEqual([])
      })
    )
  )
  it.effect("a fault that cannot happen to an operation is refused", () =>
    emulated({ q: {} }, ({ faults }) =>
      Effect.gen(function* () {
        const said = (operation: Fault.Operation, fault: Fault.Fault) =>
          Effect.map(Effect.flip(faults.script(operation, [fault])), ({ message }) => message)
        expect(yield* said("DeleteMessage", Fault.failEntries())).toContain("script the batch operation")
        expect(yield* said("SendMessage", Fault.duplicate)).toContain("happen to ReceiveMessage")
        expect(yield* said("ReceiveMessage", Fault.shortReceive(0))).toContain("1 to 10")
        expect((yield* Effect.flip(faults.random({ fail: 2 }))).message).toBe("fail is 2; write a number from 0 to 1")
      })
    )
  )
})

describe("by odds", () => {
  const odds: Fault.Odds = {
    fail: 0.1,
    throttle: 0.1,
    dropResponse: 0.1,
    failEntry: 0.1,
    shortReceive: 0.3,
    duplicate: 0.2,
    strand: 0.1
  }
  const history = (seed: string) =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* sqs.faults.random(odds)
        const seen: Array<unknown> = []
        const note = <A>(call: Effect.Effect<A, SqsError.SqsError>, show: (value: A) => unknown) =>
          Effect.map(Effect.merge(Effect.mapBoth(call, { onFailure: ({ _tag }) => _tag, onSuccess: show })), (saw) =>
            seen.push(saw)
          )
        for (let round = 0; round < 40; round++) {
          yield* note(q.sendBatch({ MessageBody: `a${round}` }, { MessageBody: `b${round}` }), (result) =>
            result.Failed.map(({ Id }) => Id)
          )
          yield* note(
            Effect.flatMap(q.receive(), (messages) =>
              messages.length === 0 ? Effect.succeed([]) : Effect.as(q.removeAll(messages), bodies(messages))
            ),
            (received) => received
          )
        }
        return seen
      }).pipe(Effect.withRandom(Random.make(seed)))
    )

  it.effect("the same seed brings the same faults, another seed others", () =>
    Effect.gen(function* () {
      const first = yield* history("one")
      expect(yield* history("one")).toEqual(first)
      expect(yield* history("two")).not.toEqual(first)
      for (const fault of ["TransportError", "RequestThrottled"]) expect(first).toContain(fault)
      expect(first).toContainEqual(["e0"])
    })
  )
  it.effect("only the named operations suffer, until the faults are cleared", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* sqs.faults.random({ fail: 1 }, ["ReceiveMessage"])
        yield* q.send("a")
        expect(yield* refused(q.receive())).toContain("TransportError")
        yield* sqs.faults.clear
        yield* q.remove(head(yield* q.receive()))
      })
    )
  )
})
