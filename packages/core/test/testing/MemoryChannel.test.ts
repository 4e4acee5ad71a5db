/** A channel in memory: what a subject sends is seen with its types, and a route under test reads it. */
import { describe, expect, it } from "@effect/vitest"
import { Channel, CloudEvents, Consumer, type Envelope, Message, Pipeline } from "@millrace/core"
import { MemoryChannel } from "@millrace/core/testing"
import { Cause, DateTime, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { expectTypeOf } from "vitest"
import { simulated } from "../support/index.js"

const Welcome = Message.make("Welcome", {
  schema: Schema.Struct({ to: Schema.NonEmptyString, at: Schema.Date }),
  group: ({ to }) => to
})
const Farewell = Message.make("Farewell", { schema: Schema.Struct({ to: Schema.String }) })

const mailsOf = (envelope?: Envelope.Envelope) => Channel.make("mails", { messages: [Welcome, Farewell], envelope })
const at = DateTime.toDateUtc(DateTime.unsafeMake(5))

/** A subject: what it needs of a producer, as its type says. */
const signUp = <E>(
  to: string,
  mails: { readonly send: (message: Channel.Value<ReturnType<typeof mailsOf>>) => Effect.Effect<unknown, E> }
) => mails.send(Welcome.of({ to, at }))

describe("MemoryChannel", () => {
  for (const envelope of [undefined, CloudEvents.binary({ source: "/mails" })]) {
    it(
      `shows what was sent, and hands it to the handlers of a route: ${envelope === undefined ? "attributes" : "CloudEvents"}`,
      simulated(
        Effect.gen(function* () {
          const channel = mailsOf(envelope)
          const mails = yield* MemoryChannel.make(channel)
          yield* signUp("ada", mails)
          yield* mails.send(Farewell.of({ to: "bob" }))
          const sent = yield* mails.sent
          expectTypeOf(sent).toEqualTypeOf<
            ReadonlyArray<
              | Message.Value<"Welcome", { readonly to: string; readonly at: Date }>
              | Message.Value<"Farewell", { readonly to: string }>
            >
          >()
          expect(sent).toEqual([Welcome.of({ to: "ada", at }), Farewell.of({ to: "bob" })])
          const handled: Array<unknown> = []
          const fiber = yield* Consumer.stream(mails.queue).pipe(
            Pipeline.route(channel, {
              Welcome: (body, { message }) => Effect.sync(() => handled.push([body, message.group])),
              Farewell: (body, { message }) => Effect.sync(() => handled.push([body, message.group]))
            }),
            Stream.runDrain,
            Effect.fork
          )
          yield* mails.queue.idle
          yield* Fiber.interrupt(fiber)
          expect(handled).toEqual([
            [{ to: "ada", at }, "ada"],
            [{ to: "bob" }, undefined]
          ])
        })
      )
    )
  }

  it("sends nothing of what does not fit, and says so", () => {
    const { exit, sent } = Effect.runSync(
      Effect.gen(function* () {
        const mails = yield* MemoryChannel.make(mailsOf())
        const exit = yield* Effect.exit(signUp("", mails))
        return { exit, sent: [yield* mails.sent, (yield* mails.queue.stats).sent] }
      })
    )
    expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("MemoryChannel.send of mails: ")
    expect(sent).toEqual([[], 0])
  })

  it("numbers what an ordered queue takes, and refuses a message without a group there", () => {
    const channel = Channel.make("mails", { messages: [Welcome] })
    const receipts = Effect.gen(function* () {
      const mails = yield* MemoryChannel.make(channel, { ordered: true, name: "m-1" })
      return [yield* mails.send(Welcome.of({ to: "a", at })), yield* mails.send(Welcome.of({ to: "b", at }))]
    })
    expect(Effect.runSync(receipts)).toEqual([
      { messageId: "m-1-1", sequenceNumber: "00000000000000000001" },
      { messageId: "m-1-2", sequenceNumber: "00000000000000000002" }
    ])
    const made = (of: unknown) =>
      Effect.runSyncExit(MemoryChannel.make(of as ReturnType<typeof mailsOf>, { ordered: true }))
    expect(String(made(mailsOf()))).toContain("Farewell of mails declares no group")
    expect(String(made({}))).toContain("write what Channel.make gives")
  })
})
