/** A day of the queue, with a fleet that follows advice or one of a fixed size. */
import { Scaling } from "@millrace/core"
import { SqsBacklog } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Clock, Effect, Stream } from "effect"
import * as Story from "../Story.js"
import * as Day from "./Day.js"
import * as Fleet from "./Fleet.js"

/** What waits is to be done in so many minutes. */
export const target = 15
export const max = 24

export interface Sample {
  /** Hours from the beginning. */
  readonly at: number
  readonly backlog: number
  readonly consumers: number
  /** Minutes that what waits would take the consumers there are, if nothing more arrived. */
  readonly drain: number
}

export interface Played {
  readonly name: string
  readonly samples: ReadonlyArray<Sample>
  readonly sent: number
  /** Orders that a handler was done with, and runs of a handler for one that was done already. */
  readonly done: number
  readonly again: number
  /** Not done, or still in the queue or among the dead letters at the end: none, if all is well. */
  readonly lost: number
  readonly left: number
  /** From the sending of an order to its end, in minutes, in ascending order. */
  readonly waits: ReadonlyArray<number>
  readonly hours: number
  /** How often the number of consumers was changed, and how many of them were drained. */
  readonly changes: number
  readonly drained: number
}

/** A day, and what is left of it until the queue is empty. */
export const play = (name: string, size: "advised" | number) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const begunAt = yield* Clock.currentTimeMillis
    const seconds = Effect.map(Clock.currentTimeMillis, (now) => (now - begunAt) / 1000)
    const sentAt: Array<number> = []
    const doneAt = new Map<number, number>()
    let again = 0
    let changes = 0
    let drained = 0

    const handle = (id: number) =>
      Effect.gen(function* () {
        yield* Effect.sleep(Day.work * 1000)
        if (doneAt.has(id)) again++
        else doneAt.set(id, yield* seconds)
      })
    const fleet = yield* Fleet.make(handle)
    const resize = (wanted: number) =>
      Effect.gen(function* () {
        drained += Math.max(0, (yield* fleet.size) - wanted)
        yield* fleet.resize(wanted)
      })
    yield* fleet.resize(size === "advised" ? 1 : size)
    if (size === "advised") {
      const backlog = yield* SqsBacklog.make(Day.queue, { every: "1 minute", departed: fleet.acked })
      yield* Scaling.advice(backlog, Scaling.timeToDrain(`${target} minutes`), { max }, { rate: fleet.rate }).pipe(
        Scaling.changes,
        Stream.runForEach(({ _tag, wanted }) => {
          if (_tag === "In" || _tag === "Out") changes++
          return resize(wanted)
        }),
        Effect.forkScoped
      )
    }

    const samples: Array<Sample> = []
    let hours = 0
    for (let at = 0; ; at += 30) {
      yield* Effect.sleep(Math.max(0, (at - (yield* seconds)) * 1000))
      const due = Day.arrived(at)
      const fresh = Array.from({ length: due - sentAt.length }, (_, i) => ({ id: sentAt.length + i }))
      for (const _ of fresh) sentAt.push(at)
      if (fresh.length > 0) yield* sqs.send(Day.queue, fresh)
      if (at <= Day.day && at % 300 === 0) {
        const { visible } = yield* sqs.snapshot(Day.queue)
        const consumers = yield* fleet.size
        samples.push({ at: at / 3600, backlog: visible, consumers, drain: (visible * Day.work) / consumers / 60 })
        hours = yield* fleet.hours
      }
      const { delayed, inFlight, visible } = yield* sqs.snapshot(Day.queue)
      // Half a day more is enough for any backlog; what is left then is counted.
      if (at >= Day.day && (visible + inFlight + delayed === 0 || at > 1.5 * Day.day)) break
    }
    const left = (yield* sqs.messages(Day.queue)).length + (yield* sqs.messages(Day.deadLetters)).length
    const played: Played = {
      name,
      samples,
      sent: sentAt.length,
      done: doneAt.size,
      again,
      lost: sentAt.length - doneAt.size,
      left,
      waits: [...doneAt].map(([id, at]) => (at - (sentAt[id] ?? 0)) / 60).sort((a, b) => a - b),
      hours,
      changes,
      drained
    }
    return played
  }).pipe(
    Effect.scoped,
    Effect.provide(
      SqsEmulator.layer({
        queues: {
          [Day.queue]: { visibilityTimeout: "2 minutes", deadLetter: { queue: Day.deadLetters, maxReceiveCount: 5 } }
        },
        latency: "10 millis"
      })
    )
  )

export interface Plays {
  readonly advised: Played
  readonly fixed: Played
}

/** The fixed fleet costs as much as the other, or a little more: its size is rounded up. */
export const both = Effect.gen(function* () {
  const advised = yield* Story.simulated(play("by advice", "advised"))
  const size = Math.ceil((advised.hours / Day.day) * 3600)
  return { advised, fixed: yield* Story.simulated(play(`${size} all day`, size)) }
})

/** What is wrong with a play; `undefined` where nothing was lost. */
export const problem = ({ left, lost, name }: Played): string | undefined =>
  lost === 0 && left === 0 ? undefined : `${name}: ${lost} orders were not done, ${left} are left in the queues`
