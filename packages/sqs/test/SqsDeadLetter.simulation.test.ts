/** Redriving under faults and deaths, over seeds: nothing is lost. */
import { expect, it } from "@effect/vitest"
import { Simulation } from "@millrace/core/testing"
import { SqsClient, SqsDeadLetter } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Exit, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"

const count = 30
const all = Array.from({ length: count }, (_, n) => `m${n}`)
const isChosen = (body: string) => Number(body.slice(1)) % 3 !== 0

/** The process is gone from its n-th call on: nothing of it reaches SQS any more, finalizers' calls included. */
const dyingAt = (n: number) =>
  Effect.map(SqsClient.SqsClient, (client): SqsClient.Service => {
    let calls = 0
    const dead = Effect.die("the process is dead")
    const living =
      <A, O, B, E>(call: (request: A, options?: O) => Effect.Effect<B, E>) =>
      (request: A, options?: O) =>
        Effect.suspend(() => (++calls > n ? dead : call(request, options)))
    return {
      ...client,
      receiveMessage: living(client.receiveMessage),
      sendMessageBatch: living(client.sendMessageBatch),
      deleteMessageBatch: living(client.deleteMessageBatch),
      changeMessageVisibilityBatch: living(client.changeMessageVisibilityBatch),
      listMessageMoveTasks: living(client.listMessageMoveTasks),
      cancelMessageMoveTask: living(client.cancelMessageMoveTask)
    }
  })

const odds = { fail: 0.05, throttle: 0.05, dropResponse: 0.05, failEntry: 0.2, shortReceive: 0.2, delay: 0.2 }

const seed = (sqs: SqsEmulator.Service, dead: string, groups: number) =>
  sqs.send(
    dead,
    all.map((body, n) => SqsEmulator.message(body, { group: `g${n % groups}` }))
  )

const bodiesIn = (sqs: SqsEmulator.Service, queue: string) =>
  Effect.map(sqs.messages(queue), (messages) => messages.map(({ body }) => body))

const emulated = (
  names: ReadonlyArray<string>,
  run: (sqs: SqsEmulator.Service) => Effect.Effect<unknown, unknown, SqsClient.SqsClient>
) =>
  Effect.flatMap(SqsEmulator.SqsEmulator, run).pipe(
    Effect.provide(
      SqsEmulator.layer({
        queues: { ...Object.fromEntries(names.map((name) => [name, {}])), ...deadLetterOf(names) }
      })
    )
  )
/** A move task's source must be some queue's dead-letter queue. */
const deadLetterOf = ([dead = "", home = ""]: ReadonlyArray<string>) => ({
  [home]: { deadLetter: { queue: dead, maxReceiveCount: 100 } }
})

const sendBack = (fifo: boolean) => {
  const dead = fifo ? "dead.fifo" : "dead"
  const home = fifo ? "home.fifo" : "home"
  return emulated([dead, home], (sqs) =>
    Effect.gen(function* () {
      yield* seed(sqs, dead, 4)
      yield* sqs.faults.random(odds)
      const run = SqsDeadLetter.sendBack(dead, {
        to: home,
        filter: ({ body }) => isChosen(body),
        // The death leaves messages leased for so long; SQS knows a repeat for five minutes.
        visibilityTimeout: "1 minute",
        // Few, so that some entries fail for good.
        retry: Schedule.recurs(1)
      })
      // At every point nothing is lost: what is chosen is in one of the queues, what is not chosen is where it was.
      const nothingIsLost = Effect.gen(function* () {
        const there = yield* bodiesIn(sqs, home)
        const here = yield* bodiesIn(sqs, dead)
        expect(new Set([...here, ...there])).toEqual(new Set(all))
        expect(there.filter((body) => !isChosen(body))).toEqual([])
        expect(new Set(here).size).toBe(here.length)
        // A repeat within five minutes is a duplicate.
        if (fifo) expect(new Set(there).size).toBe(there.length)
        return there
      })
      for (let deaths = yield* Random.nextIntBetween(0, 3); deaths > 0; deaths--) {
        const died = yield* Effect.exit(
          Effect.provideServiceEffect(run, SqsClient.SqsClient, dyingAt(yield* Random.nextIntBetween(1, 12)))
        )
        yield* nothingIsLost
        if (Exit.isFailure(died)) yield* Effect.sleep(yield* Random.nextIntBetween(0, 30_000))
      }
      // Without faults, once the leases of the dead are over, and as often as there is something to do.
      yield* sqs.faults.clear
      yield* Effect.sleep("61 seconds")
      yield* Effect.repeat(run, { until: ({ failed, sentBack }) => failed.length === 0 && sentBack === 0 })
      const there = yield* nothingIsLost
      expect(new Set(there)).toEqual(new Set(all.filter(isChosen)))
      expect(new Set(yield* bodiesIn(sqs, dead))).toEqual(new Set(all.filter((body) => !isChosen(body))))
    })
  )
}

it("standard queues: send back under faults and deaths", async () => {
  await Simulation.checkInTurns({ seeds: seeds({ short: 12, long: 60 }) }, sendBack(false))
})

it("FIFO queues: send back under faults and deaths, without duplicates", async () => {
  await Simulation.checkInTurns({ seeds: seeds({ short: 12, long: 60 }) }, sendBack(true))
})

it("moveAll under faults and interruptions: each message is in one queue, once", async () => {
  await Simulation.checkInTurns(
    { seeds: seeds({ short: 10, long: 40 }) },
    emulated(["dead", "home"], (sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", 1)
        yield* sqs.faults.random({ fail: 0.1, throttle: 0.1, dropResponse: 0.1 })
        const move = Stream.runLast(SqsDeadLetter.moveAll("dead", { to: "home", perSecond: 5 }))
        const once = Effect.gen(function* () {
          const both = [...(yield* bodiesIn(sqs, "home")), ...(yield* bodiesIn(sqs, "dead"))]
          expect(both.sort()).toEqual([...all].sort())
        })
        yield* Effect.timeout(move, yield* Random.nextIntBetween(0, 5_000)).pipe(Effect.ignore)
        yield* once
        // The cancelled task moves no more.
        const before = yield* bodiesIn(sqs, "home")
        yield* Effect.sleep("10 seconds")
        if (before.length < count) expect(yield* bodiesIn(sqs, "home")).toEqual(before)
        yield* sqs.faults.clear
        yield* move
        yield* once
        expect(yield* bodiesIn(sqs, "dead")).toEqual([])
      })
    )
  )
})
