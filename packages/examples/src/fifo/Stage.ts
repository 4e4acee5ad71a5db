/** Plays one way of consuming, and writes down what was booked when, and what each message went through. */
import type { SqsClient } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Clock, Duration, Effect } from "effect"
import * as Accounts from "./Accounts.js"
import type { Handler } from "./Consumers.js"

export interface Booked extends Accounts.Booking {
  /** Seconds from the beginning. */
  readonly at: number
}

export interface Played {
  readonly name: string
  readonly booked: ReadonlyArray<Booked>
  /** Of the locked account: how often its messages had been handed out, by the second. */
  readonly receives: ReadonlyArray<readonly [at: number, receives: number]>
  /** Bookings that were done before an earlier one of their account. */
  readonly overtaking: number
  /** In the dead-letter queue, and how many of those no handler has ever seen. */
  readonly dead: number
  readonly untried: number
}

const until = 90

export const play = (
  name: string,
  consume: (handle: Handler) => Effect.Effect<void, { readonly message: string }, SqsClient.SqsClient>
) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const begunAt = yield* Clock.currentTimeMillis
    const elapsed = Effect.map(Clock.currentTimeMillis, (now) => now - begunAt)
    const booked: Array<Booked> = []
    const tried = new Set<string>()
    const receives: Array<readonly [number, number]> = []

    const handle: Handler = (booking) =>
      Effect.gen(function* () {
        tried.add(JSON.stringify(booking))
        yield* Effect.sleep("300 millis")
        const at = yield* elapsed
        const locked = booking.account === Accounts.lockedAccount && booking.step === 1
        if (locked && at < Duration.toMillis(Accounts.unlockedAfter)) {
          return yield* new Accounts.Locked({ message: `account ${booking.account} is locked` })
        }
        booked.push({ ...booking, at: at / 1000 })
      })

    const sample = Effect.gen(function* () {
      const left = yield* sqs.messages(Accounts.queue)
      const { lastDeleted } = yield* sqs.snapshot(Accounts.queue)
      const dead = yield* sqs.messages(Accounts.deadLetters)
      const all = [...left, ...lastDeleted, ...dead].filter(({ group }) => group === Accounts.lockedAccount)
      receives.push([receives.length, all.reduce((sum, { receiveCount }) => sum + receiveCount, 0)])
    })

    yield* sqs.send(
      Accounts.queue,
      Accounts.bookings.map((booking) => SqsEmulator.message(booking, { group: booking.account }))
    )
    const everySecond = Effect.repeatN(Effect.zipLeft(sample, Effect.sleep("1 second")), until)
    yield* Effect.raceFirst(everySecond, Effect.zipRight(consume(handle), Effect.never))
    const dead = yield* sqs.messages(Accounts.deadLetters)
    const played: Played = {
      name,
      booked,
      receives,
      overtaking: booked.filter(({ account, step }, i) =>
        booked.slice(i + 1).some((later) => later.account === account && later.step < step)
      ).length,
      dead: dead.length,
      untried: dead.filter(({ body }) => !tried.has(body)).length
    }
    return played
  }).pipe(
    Effect.provide(
      SqsEmulator.layer({
        queues: {
          [Accounts.queue]: {
            visibilityTimeout: Accounts.visibilityTimeout,
            deadLetter: { queue: Accounts.deadLetters, maxReceiveCount: Accounts.maxReceiveCount }
          }
        },
        latency: "10 millis"
      })
    )
  )
