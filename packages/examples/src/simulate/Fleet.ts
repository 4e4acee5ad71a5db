/**
 * One seed: a fleet of consumers on an emulated queue, and what befalls it. The invariants are judged all along, from
 * what the queue and the handlers see; at the end there is calm, and everything must have come to its end.
 */
import { Simulation } from "@millrace/core/testing"
import { SqsClient, SqsQueue } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Cause, Data, Duration, Effect, Exit, Fiber, Logger, LogLevel, Option, Random, Runtime } from "effect"
import type { RuntimeFiber } from "effect/Fiber"
import * as Book from "./Book.js"
import type { Denial } from "./Link.js"
import { type Member, start, type World } from "./Member.js"
import { below, between, chance, draw, drawConsumer, pick } from "./Scenario.js"

/** An invariant does not hold. */
export class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

/** The operations that suffer faults. */
const operations = ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch"] as const

/** How long the fleet may take to work everything off once there is calm: delays, leases and stranded polls end first. */
const patience = Duration.minutes(30)

const play = (note: ((line: string) => void) | undefined) =>
  Effect.gen(function* () {
    const scenario = yield* draw
    const { fifo, groups, maxReceiveCount, visibility } = scenario
    const suffix = fifo ? ".fifo" : ""
    const name = `jobs${suffix}`
    const deadLetters = `dead${suffix}`
    const sqs = yield* SqsEmulator.make({
      latency: scenario.latency,
      keepDeleted: 0,
      queues: {
        [name]: {
          visibilityTimeout: Duration.seconds(visibility),
          deadLetter: maxReceiveCount === undefined ? undefined : { queue: deadLetters, maxReceiveCount }
        }
      }
    })
    const queue = yield* Effect.provideService(SqsQueue.resolve(name), SqsClient.SqsClient, sqs.client)
    const clock = yield* Effect.clock
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())
    const now = () => clock.unsafeCurrentTimeMillis()

    const violations: Array<string> = []
    const members: Array<Member> = []
    const sent: Array<string> = []
    const doings: Array<RuntimeFiber<unknown, unknown>> = []
    let calm = false
    let jump = { at: Number.NaN, by: 0 }
    const notes = (what: () => string) => note?.(`${(now() / 1000).toFixed(3).padStart(9)} s  ${what()}`)
    const broken = (what: string) => {
      violations.push(what)
      notes(() => `BROKEN ${what}`)
    }
    const book = Book.make({
      order: scenario.order,
      now,
      jumpedAt: () => jump.at,
      settledBy: (handle) => members.map((member) => member.settledBy(handle)).find((how) => how !== undefined),
      broken,
      note: notes
    })
    const world: World = {
      scenario,
      sqs,
      queue,
      book,
      clock,
      now,
      jumpedBy: () => (jump.at === now() ? jump.by : 0),
      isCalm: () => calm,
      failed: (denial) =>
        Effect.sync(() => {
          doings.push(runFork(restart(denial)))
        }),
      broken,
      note: notes
    }
    const stopWhereBroken = Effect.suspend(() =>
      violations.length === 0 ? Effect.void : Effect.fail(new Broken({ message: violations.slice(0, 5).join("\n") }))
    )

    const send = (count: number) =>
      Effect.gen(function* () {
        const messages: Array<SqsEmulator.Outgoing> = []
        for (let i = 0; i < count; i++) {
          const key = String(yield* below(groups))
          const id = `${sent.length + 1}`
          const body = (yield* chance(scenario.work.poison)) ? `not JSON ${id}` : JSON.stringify({ id, key })
          sent.push(body)
          const delay = fifo || (yield* chance(0.9)) ? undefined : Duration.seconds(yield* between(1, 20))
          messages.push(SqsEmulator.message(body, { group: fifo ? key : undefined, delay }))
        }
        yield* sqs.send(name, messages)
        notes(() => `${count} messages sent`)
      })

    const enlistDenied = (denial: Denial | undefined) =>
      Effect.gen(function* () {
        const options = yield* drawConsumer(scenario)
        const member = yield* start(world, `consumer ${members.length + 1}`, options, denial)
        members.push(member)
        notes(() => `${member.name} starts: ${JSON.stringify(options)}`)
      })
    const enlist = enlistDenied(undefined)
    /** As whatever runs a process starts it again. */
    const restart = (denial: Denial): Effect.Effect<void> =>
      Effect.gen(function* () {
        yield* Effect.sleep(yield* between(100, 20_000))
        if (!calm) yield* enlistDenied(denial)
      })
    const denial = Effect.gen(function* () {
      const lasts = yield* pick(1000, 10_000, 90_000, 200_000)
      const denied: Denial = {
        why: yield* pick("QueueDoesNotExist", "AccessDenied", "InvalidCredentials"),
        operation: (yield* Random.nextBoolean) ? undefined : yield* pick(...operations),
        until: now() + lasts
      }
      return denied
    })
    const thaw = Effect.sync(() => {
      for (const { link } of members) {
        if (link.isFrozen()) link.thaw()
        const denied = link.denial()
        if (denied !== undefined) link.deny({ ...denied, until: Math.min(denied.until, now()) })
      }
    })
    const present = () => members.filter((member) => !member.isOver() && !member.isDead())
    const doing = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.map(Effect.fork(effect), (fiber) => {
        doings.push(fiber)
      })

    const befall = Effect.gen(function* () {
      const all = present()
      const member = all[yield* below(Math.max(1, all.length))]
      const long = Math.floor((yield* Random.next) * 3 * visibility * 1000)
      const what = yield* pick(
        "send",
        "start",
        "drain",
        "interrupt",
        "kill",
        "kill",
        "freeze",
        "freeze",
        "pause",
        "jump",
        "step",
        "step",
        "deny",
        "denyAll",
        "retune"
      )
      notes(() => `${what} ${what === "send" || what === "start" ? "" : (member?.name ?? "nobody")}`)
      if (what === "send") return yield* send(yield* between(1, scenario.large ? 30 : 10))
      if (what === "start" || member === undefined) return yield* enlist
      switch (what) {
        case "drain":
          return yield* doing(member.drain(yield* pick(0, 1000, 30_000)))
        case "interrupt":
          return yield* doing(member.interrupt)
        case "kill":
          return yield* member.kill(yield* pick("hang", "fail"))
        case "freeze":
          member.link.freeze()
          return yield* doing(Effect.zipRight(Effect.sleep(long), Effect.sync(member.link.thaw)))
        case "pause":
          return yield* doing(member.pause(long))
        case "jump":
          yield* Simulation.jump(long)
          jump = { at: now(), by: long }
          return
        case "step": {
          // Back for the most part: by a little, by a lease or so, by an hour.
          const by = (yield* chance(0.7)) ? -(yield* pick(700, long, 3_600_000)) : long
          notes(() => `${member.name}'s clock is stepped by ${by} ms`)
          member.link.step(by)
          if (by > 0) jump = { at: now(), by }
          return
        }
        case "deny":
          return member.link.deny(yield* denial)
        case "denyAll": {
          const denied = yield* denial
          for (const { link } of all) link.deny(denied)
          return
        }
        case "retune":
          return yield* member.retune(yield* between(1, 60))
      }
    })

    const chaos = Effect.gen(function* () {
      yield* sqs.faults.random(scenario.faults, operations)
      yield* send(scenario.messages)
      for (let i = 0; i < scenario.consumers; i++) yield* enlist
      for (let i = 0; i < scenario.events; i++) {
        yield* Effect.sleep(yield* below(scenario.gap))
        yield* befall
        yield* stopWhereBroken
      }
      yield* Effect.sleep(yield* below(scenario.gap))
    })

    /** Everything sound again: what is left must be worked off, by those that are left and maybe one more. */
    const recovery = Effect.gen(function* () {
      calm = true
      yield* sqs.faults.clear
      yield* thaw
      notes(() => "calm")
      if ((yield* Random.nextBoolean) || present().length === 0) yield* enlist
      const again = Effect.suspend(() => (present().length === 0 ? enlist : Effect.void))
      const keepUp = Effect.forever(Effect.zipRight(again, Effect.sleep("1 second")))
      const idle = yield* Effect.timeoutOption(Effect.raceFirst(sqs.idle(name), keepUp), patience)
      if (Option.isSome(idle)) return
      const left = (yield* sqs.messages(name)).map(
        ({ body, receiveCount, state }) => `${body} ${state} ${receiveCount}`
      )
      const figures = yield* Effect.forEach(present(), ({ figures }) => figures)
      broken(`progress: ${left.length} messages are left: ${left.slice(0, 5).join(", ")}\n${figures.join("\n")}`)
    })

    const end = Effect.gen(function* () {
      notes(() => "the end")
      for (const member of present())
        yield* doing((yield* Random.nextBoolean) ? member.interrupt : member.drain(30_000))
      const ended = Effect.forEach(members, ({ ended }) => ended, { discard: true })
      const all = yield* Effect.timeoutOption(Effect.zipRight(ended, Fiber.awaitAll(doings)), "10 minutes")
      if (Option.isNone(all)) {
        const late = members.filter((member) => !member.isOver()).map(({ name }) => name)
        broken(
          `progress: ${late.length === 0 ? "what was done to the fleet" : late.join(", ")} has not come to its end`
        )
      }
      if (book.running() > 0) broken(`${book.running()} handlers are left running`)
      const dead = maxReceiveCount === undefined ? [] : yield* sqs.messages(deadLetters)
      const buried = new Set(dead.map(({ body }) => body))
      const lost = sent.filter((body) => !book.succeeded.has(body) && !book.discarded.has(body) && !buried.has(body))
      if (lost.length > 0) broken(`no loss: ${lost.length} of ${sent.length} messages are lost: ${lost.slice(0, 5)}`)
    })

    notes(() => JSON.stringify(scenario))
    yield* Effect.all([chaos, recovery, stopWhereBroken, end, stopWhereBroken]).pipe(Effect.ensuring(thaw))
  })

export interface Outcome {
  readonly seed: number
  /** Why it failed. */
  readonly failure: string | undefined
  readonly wakes: number
  /** Of virtual time. */
  readonly seconds: number
  /** What happened, with the logs, where asked. */
  readonly lines: ReadonlyArray<string>
}

/** Plays a seed: the same each time. */
export const run = (seed: number, verbose = false): Outcome => {
  const lines: Array<string> = []
  const program = play(verbose ? (line) => lines.push(line) : undefined).pipe(
    Effect.provide(
      Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ logLevel, message }) => {
          lines.push(`${" ".repeat(13)}${logLevel.label} ${String(message)}`)
        })
      )
    ),
    Logger.withMinimumLogLevel(verbose ? LogLevel.Debug : LogLevel.None)
  )
  const { elapsed, exit, wakes } = Simulation.run(seed, program, { leaks: "fail", maxWakes: 500_000 })
  return {
    seed,
    failure: Exit.match(exit, {
      onSuccess: () => undefined,
      onFailure: (cause) =>
        Cause.prettyErrors(cause)
          .map(({ message }) => message)
          .join("\n")
    }),
    wakes,
    seconds: Duration.toSeconds(elapsed),
    lines
  }
}
