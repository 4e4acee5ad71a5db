import { MemoryQueue, Simulation } from "@millrace/core/testing"
import {
  Cause,
  Clock,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberSet,
  Mailbox,
  Option,
  Random,
  Schedule,
  Stream
} from "effect"
import { describe, expect, it } from "vitest"

const error = <A, E>({ exit }: Simulation.Result<A, E>): E | Simulation.SimulationError => {
  if (Exit.isSuccess(exit)) throw new Error("it succeeded")
  return Option.getOrThrow(Cause.failureOption(exit.cause))
}

const successOf = <A, E>({ exit }: Simulation.Result<A, E>): A =>
  Exit.getOrElse(exit, (cause) => {
    throw new Error(Cause.pretty(cause))
  })

/** The line after the one that calls it, as a place in a report names it. */
const nextLine = (): string => {
  const at = { stack: "" }
  Error.captureStackTrace(at, nextLine)
  return `Simulation.test.ts:${Number(at.stack.match(/:(\d+):\d+/)?.[1]) + 1}:`
}

/** A consumer with some of everything: long polls, fibers, random faults and sleeps; answers with its trace. */
const consumer = (messages: number) =>
  Effect.gen(function* () {
    const trace: Array<string> = []
    const queue = yield* MemoryQueue.make({
      latency: "4 millis",
      faults: () =>
        Effect.map(Random.next, (n) => (n < 0.1 ? { fail: "transient" } : n < 0.2 ? { drop: "transient" } : undefined)),
      onEvent: ({ at, attempt, id, type }) => trace.push(`${at} ${type} ${id} ${attempt}`)
    })
    const handlers = yield* FiberSet.make()
    const poll = queue.receive({ max: 10, wait: Duration.seconds(20), attemptId: undefined }).pipe(
      Effect.retry(Schedule.jittered(Schedule.spaced("100 millis"))),
      Effect.flatMap((received) =>
        Effect.forEach(received, (message) =>
          FiberSet.run(
            handlers,
            Random.nextIntBetween(1, 60_000).pipe(
              Effect.flatMap((millis) => Effect.sleep(millis)),
              Effect.zipRight(queue.ack([message.lease])),
              Effect.ignore
            )
          )
        )
      )
    )
    yield* poll.pipe(Effect.forever, Effect.forkScoped)
    yield* poll.pipe(Effect.forever, Effect.forkScoped)
    yield* queue.send(Array.from({ length: messages }, (_, i) => `${i}`))
    yield* queue.idle
    return trace
  })

describe("Simulation.run", () => {
  it("passes time only when nothing can run, and no real time", () => {
    const started = performance.now()
    const result = Simulation.run(
      1,
      Effect.gen(function* () {
        yield* Effect.sleep("1 hour")
        yield* Effect.sleep(0)
        yield* Effect.yieldNow()
        yield* Effect.sleep("1500 micros")
        return [yield* Clock.currentTimeMillis, yield* Clock.currentTimeNanos]
      })
    )
    expect(successOf(result)).toEqual([3_600_002, 3_600_002_000_000n])
    expect(Duration.toMillis(result.elapsed)).toBe(3_600_002)
    expect(performance.now() - started).toBeLessThan(60_000)
  })

  it("the Clock starts where told", () => {
    const startAt = Date.UTC(2030, 0)
    expect(successOf(Simulation.run(1, Clock.currentTimeMillis, { startAt }))).toBe(startAt)
  })

  it("gives back failures, defects and interruptions as they are", () => {
    expect(Simulation.run(1, Effect.fail("no")).exit).toEqual(Exit.fail("no"))
    expect(Simulation.run(1, Effect.die("no")).exit).toEqual(Exit.die("no"))
    expect(Exit.isInterrupted(Simulation.run(1, Effect.interrupt).exit)).toBe(true)
  })

  it("closes the program's scope, in virtual time", () => {
    let closed = 0
    const result = Simulation.run(
      1,
      Effect.addFinalizer(() =>
        Effect.sleep("3 seconds").pipe(
          Effect.zipRight(Clock.currentTimeMillis),
          Effect.map((now) => {
            closed = now
          })
        )
      )
    )
    expect([closed, Duration.toMillis(result.elapsed)]).toEqual([3000, 3000])
  })

  it("an interrupted sleep leaves no wake behind", () => {
    const result = Simulation.run(1, Effect.sleep("1 hour").pipe(Effect.timeout("1 second"), Effect.ignore))
    expect(Duration.toMillis(result.elapsed)).toBe(1000)
  })

  it("a sleep interrupted at the instant at which it ends takes no other sleep's wake with it", () => {
    const program = Effect.gen(function* () {
      const others = yield* Effect.fork(Effect.all([Effect.sleep("2 seconds"), Effect.sleep("3 seconds")]))
      const sleeper = yield* Effect.fork(Effect.sleep("1 second"))
      yield* Effect.sleep("1 second")
      yield* Fiber.interrupt(sleeper)
      yield* Fiber.join(others)
    })
    Simulation.check({ seeds: 50 }, program)
  })

  it("Schedule, timeouts, races, fibers, mailboxes and streams work", () => {
    const program = Effect.gen(function* () {
      const mailbox = yield* Mailbox.make<number>()
      yield* Effect.fork(
        Effect.forEach([1, 2, 3], (n) => Effect.zipRight(Effect.sleep("1 second"), mailbox.offer(n))).pipe(
          Effect.zipRight(mailbox.end)
        )
      )
      const collected = yield* Mailbox.toStream(mailbox).pipe(
        Stream.mapEffect((n) => Effect.as(Effect.sleep(`${n} seconds`), n), { concurrency: 2 }),
        Stream.runCollect
      )
      const attempts = yield* Effect.fail("no").pipe(
        Effect.retry(Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(3)))),
        Effect.flip,
        Effect.zipRight(Clock.currentTimeMillis)
      )
      let resume = (_: string) => {}
      const waiter = yield* Effect.fork(
        Effect.async<string>((register) => {
          resume = (message) => register(Effect.succeed(message))
        })
      )
      yield* Effect.sleep("1 second")
      yield* Effect.sync(() => resume("resumed by another fiber"))
      const woken = yield* Fiber.join(waiter)
      return [[...collected], attempts, woken, yield* Effect.timeoutOption(Effect.never, "1 second")]
    })
    for (let seed = 0; seed < 20; seed++) {
      expect(successOf(Simulation.run(seed, program))).toEqual([
        [1, 2, 3],
        13_000,
        "resumed by another fiber",
        Option.none()
      ])
    }
  })

  it("a seed replays exactly, whatever ran before it", () => {
    const first = Simulation.run(7, consumer(200))
    Simulation.run(8, consumer(50))
    Effect.runSync(Effect.replicateEffect(Effect.fork(Effect.void), 17))
    const again = Simulation.run(7, consumer(200))
    expect(successOf(again)).toEqual(successOf(first))
    expect([again.wakes, again.elapsed]).toEqual([first.wakes, first.elapsed])
    expect(successOf(first).length).toBeGreaterThan(600)
    // Not because every run is the same: another seed makes another.
    expect(successOf(Simulation.run(9, consumer(200)))).not.toEqual(successOf(first))
  })

  const race = Effect.gen(function* () {
    const order: Array<string> = []
    const say = (name: string) => Effect.sync(() => order.push(name))
    yield* Effect.all([say("a"), say("b"), say("c")], { concurrency: "unbounded" })
    return order.join("")
  })
  const seeds = Array.from({ length: 100 }, (_, seed) => seed)

  it("explores the orders in which fibers can run", () => {
    expect(new Set(seeds.map((seed) => successOf(Simulation.run(seed, race)))).size).toBe(6)
    expect(new Set(seeds.map((seed) => successOf(Simulation.run(seed, race, { order: "fifo" }))))).toEqual(
      new Set(["abc"])
    )
  })

  it("explores the orders of what wakes at one instant", () => {
    const program = Effect.gen(function* () {
      const order: Array<number> = []
      yield* Effect.forEach(
        [1, 2, 3],
        (n) =>
          Effect.zipRight(
            Effect.sleep("1 second"),
            Effect.sync(() => order.push(n))
          ),
        { concurrency: "unbounded" }
      )
      return order.join("")
    })
    expect(new Set(seeds.map((seed) => successOf(Simulation.run(seed, program)))).size).toBe(6)
  })

  it("takes the turn from a fiber in the middle, as the live scheduler may: a lost update is found", () => {
    const program = Effect.gen(function* () {
      let count = 0
      const increment = Effect.sync(() => count).pipe(
        Effect.flatMap((seen) =>
          Effect.sync(() => {
            count = seen + 1
          })
        )
      )
      yield* Effect.all(
        Array.from({ length: 10 }, () => increment),
        { concurrency: "unbounded" }
      )
      return count
    })
    const counts = new Set(seeds.map((seed) => successOf(Simulation.run(seed, program))))
    expect(counts.size).toBeGreaterThan(1)
    expect(counts).toContain(10)
  })

  it("an hour of a busy consumer takes well under a second, a few microseconds a wake", () => {
    const program = Effect.gen(function* () {
      const run = yield* FiberSet.makeRuntime<never>()
      yield* Effect.sync(() => run(Effect.sleep("5 seconds"))).pipe(
        Effect.zipRight(Effect.sleep("500 millis")),
        Effect.repeatN(7199)
      )
    })
    const before = process.cpuUsage()
    const { elapsed, wakes } = Simulation.run(1, program)
    const { system, user } = process.cpuUsage(before)
    expect(Duration.toMillis(elapsed)).toBe(3_600_000)
    expect(wakes).toBeGreaterThan(14_000)
    // 6 to 20 microseconds of CPU a wake; TestClock takes 4,500.
    expect((user + system) / wakes).toBeLessThan(200)
  })
})

describe("Simulation finds", () => {
  it("a deadlock, and says which fibers wait where", () => {
    let [inner, outer] = ["", ""]
    const program = Effect.gen(function* () {
      const never = yield* Deferred.make<void>()
      const waiter = Effect.gen(function* () {
        yield* Effect.yieldNow()
        inner = nextLine()
        yield* Deferred.await(never)
      })
      const fiber = yield* waiter.pipe(Effect.withSpan("waiter"), Effect.fork)
      outer = nextLine()
      yield* Fiber.join(fiber)
    })
    const found = error(Simulation.run(3, program))
    expect(found).toMatchObject({
      _tag: "SimulationDeadlock",
      seed: 3,
      fibers: [
        { name: "the program", parent: undefined, spans: [], waitsFor: expect.stringContaining("fiber 1") },
        { name: "fiber 1", parent: "the program", spans: ["waiter"], waitsFor: expect.stringContaining("the program") }
      ]
    })
    expect(inner).toMatch(/:\d+:/)
    expect(found.fibers.map(({ places }) => places[0])).toEqual([
      expect.stringContaining(outer),
      expect.stringContaining(inner)
    ])
    for (const part of ["fiber 1 (of the program)", "in the span waiter", inner]) expect(found.message).toContain(part)
  })

  it("that real asynchrony never comes back, and says so", () => {
    const found = error(
      Simulation.run(
        1,
        Effect.promise(() => Promise.resolve())
      )
    )
    expect(found._tag).toBe("SimulationDeadlock")
    expect(found.message).toContain("a promise, setTimeout, I/O")
  })

  it("nothing wrong with an infinite sleep that is interrupted, and a deadlock in one that is not", () => {
    const forever = Effect.sleep(Duration.infinity)
    expect(Simulation.run(1, Effect.timeoutOption(forever, "1 day")).exit).toEqual(Exit.succeed(Option.none()))
    expect(error(Simulation.run(1, forever))._tag).toBe("SimulationDeadlock")
  })

  it("fibers that wake each other without end", () => {
    const spin = Effect.forever(Effect.yieldNow())
    const found = error(Simulation.run(1, Effect.zipRight(Effect.sleep("1 second"), spin), { maxWakes: 1000 }))
    expect(found).toMatchObject({ _tag: "SimulationLimitReached", wakes: 1000, elapsed: Duration.seconds(1) })
    expect(found.message).toMatch(/99\d of them without time moving on/)
  })

  it("a program that takes longer than it may, and who sleeps until when", () => {
    const program = Effect.zipRight(Effect.fork(Effect.sleep("3 hours")), Effect.sleep("2 hours"))
    expect(Simulation.run(1, program, { maxElapsed: "2 hours" }).exit._tag).toBe("Success")
    expect(error(Simulation.run(1, program, { maxElapsed: "1 hour" }))).toMatchObject({
      _tag: "SimulationLimitReached",
      fibers: [{ waitsFor: "sleeps until 7200000 ms" }, { waitsFor: "sleeps until 10800000 ms" }]
    })
  })

  it("fibers left running, where asked; what only takes a turn to end is none", () => {
    const left = Effect.forkDaemon(Effect.sleep("1 hour").pipe(Effect.withSpan("daemon")))
    expect(Simulation.run(1, left).exit._tag).toBe("Success")
    expect(error(Simulation.run(1, left, { leaks: "fail" }))).toMatchObject({
      _tag: "SimulationFibersLeft",
      fibers: [{ name: "fiber 1", spans: ["daemon"], waitsFor: "sleeps until 3600000 ms" }]
    })
    const ending = Effect.forkDaemon(Effect.yieldNow())
    expect(Simulation.run(1, ending, { leaks: "fail" }).exit._tag).toBe("Success")
    expect(Simulation.run(1, Effect.zipRight(left, Effect.fail("own")), { leaks: "fail" }).exit).toEqual(
      Exit.fail("own")
    )
  })

  it("many waiting fibers, and names the first thirty", () => {
    const found = error(
      Simulation.run(1, Effect.zipRight(Effect.replicateEffect(Effect.fork(Effect.never), 99), Effect.never))
    )
    expect(found.fibers).toHaveLength(30)
    expect(found.message).toContain("and 70 more")
  })
})

it("whatever a run ends with, what still runs is interrupted and its finalizers are run", () => {
  for (const program of [Effect.never, Effect.forkDaemon(Effect.never), Effect.forever(Effect.yieldNow())]) {
    let finalized = 0
    const finalizer = Effect.zipRight(
      Effect.sleep("1 second"),
      Effect.sync(() => finalized++)
    )
    const nested = Effect.zipRight(
      Effect.forkDaemon(Effect.ensuring(Effect.never, finalizer)),
      Effect.sleep("1 second")
    )
    Simulation.run(1, Effect.zipRight(nested, program), { maxWakes: 1000 })
    expect(finalized).toBe(1)
  }
})

describe("Simulation.jump", () => {
  it("moves the Clock, and no sleeper with it", () => {
    const program = Effect.gen(function* () {
      const sleeper = yield* Effect.fork(Effect.zipRight(Effect.sleep("10 seconds"), Clock.currentTimeMillis))
      yield* Effect.sleep("1 second")
      yield* Simulation.jump("1 hour")
      return [yield* Clock.currentTimeMillis, yield* Fiber.join(sleeper)]
    })
    const result = Simulation.run(1, program)
    expect(successOf(result)).toEqual([3_601_000, 3_610_000])
    expect(Duration.toMillis(result.elapsed)).toBe(10_000)
  })

  it("dies outside of a simulation", () => {
    expect(Exit.isFailure(Effect.runSyncExit(Simulation.jump("1 hour")))).toBe(true)
  })
})

describe("Simulation.check", () => {
  const seen: Array<number> = []
  const evenOnly = (seed: number) =>
    Effect.sleep("3 seconds").pipe(
      Effect.zipRight(
        Effect.sync(() => {
          seen.push(seed)
          expect(seed % 4).not.toBe(2)
        })
      )
    )

  it("runs each seed, and throws at the first that fails, with the seed and how to run it alone", () => {
    Simulation.check({ seeds: 2 }, evenOnly)
    expect(seen).toEqual([0, 1])
    try {
      Simulation.check({ seeds: 10, from: 3 }, evenOnly)
      expect.unreachable()
    } catch (failure) {
      expect(seen).toEqual([0, 1, 3, 4, 5, 6])
      expect(failure).toBeInstanceOf(Simulation.CheckFailed)
      expect(failure).toMatchObject({ seed: 6, cause: { name: "AssertionError" } })
      expect(String(failure)).toContain("Seed 6 fails after 3000 ms of virtual time")
      expect(String(failure)).toContain("{ seeds: 1, from: 6 }")
    }
  })

  it("keeps the log back, and shows that of the seed that failed", () => {
    const program = (seed: number) =>
      Effect.zipRight(Effect.logInfo(`this is ${seed}`), seed === 2 ? Effect.fail("no") : Effect.void)
    try {
      Simulation.check({}, program)
      expect.unreachable()
    } catch (failure) {
      expect(String(failure)).toContain("this is 2")
      expect(String(failure)).not.toContain("this is 1")
    }
  })

  it("takes an effect too, which sees the seed's Random", () => {
    const drawn = new Set<number>()
    Simulation.check(
      { seeds: 20 },
      Effect.map(Random.nextInt, (n) => drawn.add(n))
    )
    expect(drawn.size).toBe(20)
  })
})
