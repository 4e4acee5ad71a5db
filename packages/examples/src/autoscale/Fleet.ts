/** Consumers that come and go: started with the delay of a container, drained when they are no longer wanted. */
import { Pipeline, Scaling } from "@millrace/core"
import { SqsClient, SqsConsumer } from "@millrace/sqs"
import { Clock, Effect, ExecutionStrategy, Exit, Schema, Scope, Stream } from "effect"
import * as Day from "./Day.js"

export const Order = Schema.Struct({ id: Schema.Number })

/** From the wish to the first receive, in seconds. */
const boot = 60

interface Member {
  readonly since: number
  readonly acked: Effect.Effect<number>
  readonly rate: Effect.Effect<Scaling.Rate | undefined>
  readonly stop: Effect.Effect<void>
}

export interface Fleet {
  /** Starts or drains consumers until there are so many. */
  readonly resize: (wanted: number) => Effect.Effect<void>
  /** Consumers that are paid for: those that start, run or drain. */
  readonly size: Effect.Effect<number>
  /** Paid so far, in consumer-hours. */
  readonly hours: Effect.Effect<number>
  readonly acked: Effect.Effect<number>
  /** Of one consumer, on average. */
  readonly rate: Effect.Effect<Scaling.Rate | undefined>
}

const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length

export const make = (handle: (id: number) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const client = yield* SqsClient.SqsClient
    const scope = yield* Effect.scope
    const now = Effect.map(Clock.currentTimeMillis, (millis) => millis / 1000)
    let members: ReadonlyArray<Member> = []
    let draining: ReadonlyArray<Member> = []
    let paid = 0
    let ackedByGone = 0

    const start = Effect.gen(function* () {
      const since = yield* now
      const own = yield* Scope.fork(scope, ExecutionStrategy.sequential)
      const consumer = yield* Scope.extend(
        Effect.provideService(SqsConsumer.make(Day.queue, { maxInFlight: 2 }), SqsClient.SqsClient, client),
        own
      )
      yield* Effect.sleep(boot * 1000).pipe(
        Effect.zipRight(
          consumer.stream.pipe(
            Pipeline.decodeJson(Order),
            Pipeline.process(({ id }) => handle(id), { concurrency: 1 }),
            Stream.runDrain
          )
        ),
        Effect.forkIn(own)
      )
      const member: Member = {
        since,
        acked: Effect.map(consumer.stats, ({ acked }) => acked),
        rate: yield* Scaling.measured(consumer.figures, { window: "10 minutes" }),
        stop: Effect.zipRight(consumer.drain({ deadline: "40 seconds" }), Scope.close(own, Exit.void))
      }
      members = [...members, member]
    })
    const stop = (member: Member) =>
      Effect.gen(function* () {
        members = members.filter((one) => one !== member)
        draining = [...draining, member]
        yield* member.stop
        ackedByGone += yield* member.acked
        paid += (yield* now) - member.since
        draining = draining.filter((one) => one !== member)
      })
    const fleet: Fleet = {
      resize: (wanted) =>
        Effect.gen(function* () {
          while (members.length < wanted) yield* Effect.orDie(start)
          yield* Effect.forEach(members.slice(wanted), (member) => Effect.forkIn(stop(member), scope), {
            discard: true
          })
        }),
      size: Effect.sync(() => members.length + draining.length),
      hours: Effect.map(
        now,
        (at) => (paid + [...members, ...draining].reduce((sum, { since }) => sum + at - since, 0)) / 3600
      ),
      acked: Effect.suspend(() =>
        Effect.map(
          Effect.all([...members, ...draining].map(({ acked }) => acked)),
          (all) => ackedByGone + all.reduce((a, b) => a + b, 0)
        )
      ),
      rate: Effect.suspend(() =>
        Effect.map(Effect.all(members.map(({ rate }) => rate)), (rates) => {
          const known = rates.filter((rate) => rate !== undefined)
          return known.length === 0
            ? undefined
            : {
                most: mean(known.map(({ most }) => most)),
                // One that has done nothing yet does nothing.
                now: known.reduce((sum, rate) => sum + (rate.now ?? 0), 0) / rates.length
              }
        })
      )
    }
    return fleet
  })
