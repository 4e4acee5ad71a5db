/**
 * A world to be diagnosed, in virtual time: a queue in memory whose counts are late and off, as those of SQS are; a fleet
 * of real consumers on it; what their handlers call; and somebody who turns the knobs that the advice speaks of.
 */

import type { LeaseQueue } from "@millrace/core"
import { Backlog, Circuit, Consumer, Diagnosis, Pipeline, ProcessLoad, RetryPolicy, Tunable } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Cause, Clock, Duration, Effect, Exit, Logger, LogLevel, Random, Schedule, Scope, Stream } from "effect"

/** A number from `from` to `to`, by the seed. */
export type Draw = (from: number, to: number) => number

export const drawing = (seed: string): Draw => {
  const random = Random.make(seed)
  return (from, to) => from + (to - from) * Effect.runSync(random.next)
}

export const oneOf =
  (draw: Draw) =>
  <A>(...all: readonly [A, ...ReadonlyArray<A>]): A =>
    all[Math.floor(draw(0, all.length))] ?? all[0]

/** What the queue says of itself: by how many seconds it is late at most, which part it is off by at most, and how. */
export interface Counting {
  readonly late: number
  readonly off: number
  /** Late by another time at each reading; by the same one always; by one that wanders. */
  readonly how: "jitter" | "constant" | "wandering"
}

/** What an operator can change, by the names that the advice uses. Times in milliseconds. */
export interface Knobs {
  readonly concurrency: number
  readonly maxInFlight: number
  /** Messages a second that one consumer receives, at most. */
  readonly rate: number
  readonly consumers: number
  readonly timeout: number | undefined
  readonly visibilityTimeout: number
  readonly heartbeat: boolean
  readonly wait: number
  readonly maxSockets: number
  /** Groups that the producer spreads over. */
  readonly groups: number
  /** Failures after which a message is put away. */
  readonly attempts: number
}

/** One run of a handler. */
export interface Run {
  /** Seconds from the beginning. */
  readonly at: number
  /** Handlers that run in the process, this one included. */
  readonly running: number
  readonly id: number
  readonly group: string | undefined
  readonly attempt: number
  /** From 0 to 1: of the message, the same each time that it runs; and of this run. */
  readonly own: number
  readonly chance: number
}

/** A call of the queue fails so, by chance. */
export interface Faults {
  readonly operations: ReadonlyArray<"receive" | "ack" | "setLease">
  readonly throttled: number
  readonly transient: number
  readonly from: number
}

export interface Scenario {
  readonly ordered?: boolean | undefined
  readonly knobs: Knobs
  /** Messages a second, at a second. */
  readonly arrivals: (at: number) => number
  /** Milliseconds that the handler itself takes. */
  readonly takes: (run: Run) => number
  /** How much that varies: 0 not at all, 1 as waiting times do. */
  readonly spread: number
  /** Servers of what the handler calls, shared by all consumers; where there are none, nobody waits. */
  readonly servers?: ((at: number) => number) | undefined
  readonly fails?: ((run: Run) => boolean) | undefined
  readonly hangs?: ((run: Run) => boolean) | undefined
  /** Of a message, by its draw. */
  readonly group?: ((own: number, groups: number) => string) | undefined
  /** How the handler is run: by itself, for ten messages at once, or behind a quick stage. */
  readonly shape?: "one" | "batches" | "two" | "unbounded" | undefined
  readonly circuit?: boolean | undefined
  /** A call's time in milliseconds. */
  readonly latency: (at: number) => number
  readonly faults?: Faults | undefined
  readonly load?: ((at: number, running: number) => ProcessLoad.Load) | undefined
  readonly inFlightLimit?: number | undefined
  /** Messages that others hold and do not ack, from a second on. */
  readonly hoarded?: { readonly count: number; readonly from: number } | undefined
  readonly pausedAt?: number | undefined
  /** Ends the consumers then, and starts them anew after 3 seconds. */
  readonly deployAt?: number | undefined
  readonly counting: Counting
  /** Something that only an operator outside can mend (a downstream, a region), once mended. */
  readonly mended?: ((scenario: Scenario) => Scenario) | undefined
  readonly options?: Diagnosis.WatchOptions | undefined
}

export interface Look {
  readonly at: number
  readonly diagnosis: Diagnosis.Diagnosis
}

/** How things really stand, which only the stand knows. */
export interface Truth {
  readonly at: number
  readonly visible: number
  readonly inFlight: number
  readonly done: number
}

/** What a script of a run can do. */
export interface World {
  readonly sleep: (seconds: number) => Effect.Effect<void>
  readonly look: Effect.Effect<Diagnosis.Diagnosis | undefined>
  readonly truth: Effect.Effect<Truth>
  readonly knobs: () => Knobs
  readonly turn: (knobs: Partial<Knobs>) => Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  readonly mend: Effect.Effect<void>
  /** What became of each ten seconds. */
  readonly looks: ReadonlyArray<Look>
}

const idle: ProcessLoad.Load = { utilization: 0.3, delay: 1, delayP99: 4 }

/** A Poisson number: how many come where so many are expected. */
const poisson = (expected: number) =>
  Effect.gen(function* () {
    if (expected > 60) {
      const u = yield* Random.next
      const v = yield* Random.next
      const normal = Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v)
      return Math.max(0, Math.round(expected + Math.sqrt(expected) * normal))
    }
    let left = expected
    let count = 0
    for (;;) {
      left += Math.log(1 - (yield* Random.next))
      if (left < 0) return count
      count++
    }
  })

type Port = LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError>

const refused = (kind: LeaseQueue.ErrorKind, operation: MemoryQueue.Operation) =>
  new MemoryQueue.MemoryQueueError({ operation, kind, message: kind })

/** The program of a world: what the script does in it. */
const program = <A>(initial: Scenario, script: (world: World) => Effect.Effect<A>) =>
  Effect.gen(function* () {
    let scenario = initial
    let knobs = initial.knobs
    const memory = yield* MemoryQueue.make({
      ordered: scenario.ordered,
      leaseDuration: knobs.visibilityTimeout
    })
    const begunAt = yield* Clock.currentTimeMillis
    const seconds = Effect.map(Clock.currentTimeMillis, (now) => (now - begunAt) / 1000)

    // Messages come by chance.
    let sent = 0
    const owns: Array<number> = []
    yield* Effect.gen(function* () {
      const count = yield* poisson(scenario.arrivals(yield* seconds) / 5)
      const messages = []
      for (let i = 0; i < count; i++) {
        const own = yield* Random.next
        owns.push(own)
        const spread = yield* Random.next
        const group = scenario.group?.(spread, knobs.groups) ?? `g${Math.floor(spread * knobs.groups)}`
        messages.push({ body: String(sent++), group: scenario.ordered === true ? group : undefined })
      }
      if (count > 0) yield* memory.send(messages)
    }).pipe(Effect.repeat(Schedule.fixed("200 millis")), Effect.forkScoped)

    // The queue and its client.
    let open = 0
    const sockets: Array<() => void> = []
    const take = Effect.async<void>((resume) => {
      if (open < knobs.maxSockets) {
        open++
        return resume(Effect.void)
      }
      const go = () => {
        open++
        resume(Effect.void)
      }
      sockets.push(go)
      return Effect.sync(() => {
        const i = sockets.indexOf(go)
        if (i >= 0) sockets.splice(i, 1)
      })
    })
    const call = <B>(
      operation: "receive" | "ack" | "setLease",
      effect: Effect.Effect<B, MemoryQueue.MemoryQueueError>
    ) =>
      Effect.gen(function* () {
        const at = yield* seconds
        const half = Effect.sleep(scenario.latency(at) / 2)
        const { faults } = scenario
        if (faults !== undefined && at >= faults.from && faults.operations.includes(operation)) {
          const draw = yield* Random.next
          if (draw < faults.throttled + faults.transient) {
            yield* Effect.sleep(scenario.latency(at))
            return yield* refused(draw < faults.throttled ? "throttled" : "transient", operation)
          }
        }
        yield* half
        const answer = yield* effect
        yield* half
        return answer
      })
    const pooled = <B>(effect: Effect.Effect<B, MemoryQueue.MemoryQueueError>) =>
      Effect.acquireUseRelease(
        Effect.interruptible(take),
        () => effect,
        () =>
          Effect.sync(() => {
            open--
            if (open < knobs.maxSockets) sockets.shift()?.()
          })
      )
    const limit = scenario.inFlightLimit ?? Number.POSITIVE_INFINITY
    const receive: Port["receive"] = (request) =>
      Effect.gen(function* () {
        const { inFlight } = yield* memory.stats
        if (inFlight + request.max <= limit) return yield* memory.receive(request)
        if (inFlight < limit) return yield* memory.receive({ ...request, max: limit - inFlight })
        if (scenario.ordered !== true) return yield* refused("throttled", "receive")
        yield* Effect.sleep(Duration.millis(Math.min(2000, Duration.toMillis(request.wait))))
        return []
      })
    const port = (): Port => {
      const duration = Duration.millis(knobs.visibilityTimeout)
      const same = knobs.visibilityTimeout === initial.knobs.visibilityTimeout
      return {
        ...memory,
        leaseDuration: duration,
        connections: Effect.sync(() => ({ max: knobs.maxSockets, open, waiting: sockets.length })),
        receive: (request) =>
          pooled(
            call(
              "receive",
              same
                ? receive(request)
                : Effect.tap(receive(request), (messages) =>
                    messages.length === 0
                      ? Effect.void
                      : memory.setLease(messages.map(({ lease }) => ({ lease, duration })))
                  )
            )
          ),
        ack: (leases) => pooled(call("ack", memory.ack(leases))),
        setLease: (entries) => pooled(call("setLease", memory.setLease(entries)))
      }
    }
    const { hoarded } = scenario
    const held: Array<LeaseQueue.Lease> = []
    let taken = 0
    if (hoarded !== undefined) {
      yield* Effect.sleep(`${hoarded.from} seconds`).pipe(
        Effect.zipRight(
          Effect.gen(function* () {
            while (taken < hoarded.count) {
              const max = Math.min(10, hoarded.count - taken)
              const messages = yield* memory.receive({ max, wait: Duration.seconds(20), attemptId: undefined })
              for (const { lease } of messages) held.push(lease)
              taken += messages.length
              if (messages.length > 0)
                yield* memory.setLease(messages.map(({ lease }) => ({ lease, duration: Duration.hours(11) })))
            }
          })
        ),
        Effect.forkScoped
      )
    }

    // What the handlers call.
    let running = 0
    let freeAt: Array<number> = []
    const served = (work: number) =>
      Effect.gen(function* () {
        const at = yield* seconds
        const { servers } = scenario
        if (servers === undefined) return yield* Effect.sleep(work)
        const count = Math.max(1, Math.round(servers(at)))
        if (freeAt.length > count) freeAt = [...freeAt].sort((a, b) => a - b).slice(0, count)
        while (freeAt.length < count) freeAt.push(0)
        let first = 0
        for (let i = 1; i < count; i++) if ((freeAt[i] ?? 0) < (freeAt[first] ?? 0)) first = i
        const now = at * 1000
        const end = Math.max(now, freeAt[first] ?? 0) + work
        freeAt[first] = end
        yield* Effect.sleep(end - now)
      })
    const handle = (body: string, { message }: { readonly message: LeaseQueue.Message }) =>
      Effect.gen(function* () {
        running++
        const id = Number(body)
        const run: Run = {
          at: yield* seconds,
          running: Math.ceil(running / knobs.consumers),
          id,
          group: message.group,
          attempt: message.attempt,
          own: owns[id] ?? 0,
          chance: yield* Random.next
        }
        if (scenario.hangs?.(run) === true) return yield* Effect.never
        const chance = 1 - scenario.spread + scenario.spread * -Math.log(1 - (yield* Random.next))
        yield* served(scenario.takes(run) * chance)
        if (scenario.fails?.(run) === true) return yield* Effect.fail({ _tag: "Refused" } as const)
      }).pipe(
        (effect) =>
          knobs.timeout === undefined
            ? effect
            : Effect.timeoutFail(effect, {
                duration: knobs.timeout,
                onTimeout: () => ({ _tag: "HandlerTimeout" }) as const
              }),
        Effect.ensuring(
          Effect.sync(() => {
            running--
          })
        )
      )

    // The fleet.
    interface Member {
      readonly consumer: Consumer.Consumer<MemoryQueue.MemoryQueueError>
      readonly end: Effect.Effect<void>
    }
    let fleet: Array<Member> = []
    const concurrency = yield* Tunable.make("concurrency", Math.max(1, knobs.concurrency), { min: 1, whole: true })
    const maxInFlight = yield* Tunable.make("maxInFlight", Math.max(1, knobs.maxInFlight), { min: 1, whole: true })
    const perSecond = yield* Tunable.make("rate", knobs.rate, { min: 0.001 })
    const start: Effect.Effect<Member> = Effect.gen(function* () {
      const scope = yield* Scope.make()
      const consumer = yield* Scope.extend(
        Consumer.make(port(), {
          maxInFlight,
          heartbeat: knobs.heartbeat,
          wait: knobs.wait,
          ...(initial.knobs.rate === Number.MAX_SAFE_INTEGER ? {} : { rate: { perSecond } })
        }),
        scope
      ).pipe(Effect.orDie)
      const circuit =
        scenario.circuit === true
          ? yield* Effect.orDie(Scope.extend(Circuit.make({ trips: () => true }), scope))
          : undefined
      // Read at each failure, so that an operator can bound the attempts meanwhile.
      const retry = () =>
        RetryPolicy.redeliver(Schedule.spaced("2 seconds"), { attempts: Math.max(1, knobs.attempts) }).pipe(
          RetryPolicy.orElse(RetryPolicy.discard)
        )
      const { shape } = scenario
      const work: Effect.Effect<void, unknown> =
        shape === "batches"
          ? consumer.stream.pipe(
              Pipeline.processBatches(
                (bodies, deliveries) => {
                  const [first] = deliveries
                  return first === undefined ? Effect.void : handle(bodies[0] ?? "", first)
                },
                { max: 10, within: "500 millis", concurrency, retry: () => retry() }
              ),
              Stream.runDrain
            )
          : shape === "two"
            ? consumer.stream.pipe(
                Pipeline.mapEffect((body) => Effect.as(Effect.sleep(20), body), { concurrency: 200 }),
                Pipeline.process(handle, { concurrency, circuit, retry: () => retry() }),
                Stream.runDrain
              )
            : Stream.runDrain(
                Pipeline.process(handle, {
                  concurrency: shape === "unbounded" ? Number.MAX_SAFE_INTEGER : concurrency,
                  circuit,
                  retry: () => retry()
                })(consumer.stream)
              )
      yield* Effect.forkIn(work, scope)
      return { consumer, end: Scope.close(scope, Exit.void) }
    })
    const scale = (to: number) =>
      Effect.gen(function* () {
        while (fleet.length < to) fleet.push(yield* start)
        while (fleet.length > to) yield* Effect.fork(fleet.pop()?.end ?? Effect.void)
      })
    const restart = Effect.gen(function* () {
      const before = fleet
      yield* Effect.forEach(before, ({ end }) => end, { concurrency: "unbounded", discard: true })
      yield* Effect.sleep("3 seconds")
      fleet = []
      yield* scale(knobs.consumers)
    })
    yield* scale(knobs.consumers)
    if (scenario.deployAt !== undefined) yield* Effect.forkScoped(Effect.delay(restart, `${scenario.deployAt} seconds`))
    let paused = false
    if (scenario.pausedAt !== undefined) {
      yield* Effect.sleep(`${scenario.pausedAt} seconds`).pipe(
        Effect.zipRight(
          Effect.suspend(() => {
            paused = true
            return Effect.forEach(fleet, ({ consumer }) => consumer.pause)
          })
        ),
        Effect.forkScoped
      )
    }

    // What the queue says of itself.
    const history: Array<{ visible: number; inFlight: number }> = []
    const record = Effect.map(memory.stats, ({ inFlight, visible }) => {
      history.push({ inFlight, visible })
    })
    yield* Effect.forkScoped(Effect.repeat(record, Schedule.fixed("1 second")))
    const { how, late, off } = scenario.counting
    let lateness = yield* Random.nextRange(0, Math.max(late, 1e-9))
    const counts = Effect.gen(function* () {
      if (how === "jitter") lateness = yield* Random.nextRange(0, Math.max(late, 1e-9))
      if (how === "wandering") {
        lateness = Math.min(late, Math.max(0, lateness + (yield* Random.nextRange(-0.25, 0.25)) * late))
      }
      const then = history[Math.max(0, history.length - 1 - Math.round(lateness))] ?? { visible: 0, inFlight: 0 }
      const about = (n: number) =>
        Effect.map(Random.nextRange(1 - off, 1 + off), (factor) => Math.max(0, Math.round(n * factor)))
      return { visible: yield* about(then.visible), inFlight: yield* about(then.inFlight), delayed: 0 }
    })
    const backlog = yield* Effect.orDie(Backlog.make({ queue: "work", counts, errorKind: () => "transient" as const }))
    const figures = Effect.suspend(() => (fleet[0] as Member).consumer.figures)
    const watched = yield* Effect.orDie(
      Diagnosis.of(figures, backlog, { inFlightLimit: scenario.inFlightLimit, ...scenario.options })
    ).pipe(
      Effect.provide(
        ProcessLoad.layerOf(Effect.map(seconds, (at) => scenario.load?.(at, running / knobs.consumers) ?? idle))
      )
    )
    const looks: Array<Look> = []
    yield* watched.changes.pipe(
      Stream.runForEach((diagnosis) =>
        Effect.map(seconds, (at) => {
          looks.push({ at, diagnosis })
        })
      ),
      Effect.forkScoped
    )
    return yield* script({
      sleep: (time) => Effect.sleep(Duration.seconds(time)),
      look: watched.now,
      truth: Effect.zipWith(memory.stats, seconds, ({ acked, deadLettered, inFlight, visible }, at) => ({
        at,
        visible,
        inFlight,
        done: acked + deadLettered
      })),
      knobs: () => knobs,
      turn: (to) =>
        Effect.gen(function* () {
          const before = knobs
          knobs = { ...knobs, ...to }
          yield* concurrency.set(Math.max(1, Math.round(knobs.concurrency)))
          yield* maxInFlight.set(Math.max(1, Math.round(knobs.maxInFlight)))
          yield* perSecond.set(knobs.rate)
          while (open < knobs.maxSockets && sockets.length > 0) sockets.shift()?.()
          const anew = (["visibilityTimeout", "heartbeat", "wait", "timeout"] as const).some(
            (key) => before[key] !== knobs[key]
          )
          if (anew) yield* restart
          else yield* scale(knobs.consumers)
        }).pipe(Effect.orDie),
      resume: Effect.suspend(() => {
        if (!paused) return Effect.void
        paused = false
        return Effect.forEach(fleet, ({ consumer }) => consumer.resume)
      }),
      mend: Effect.suspend(() => {
        if (scenario.mended !== undefined) scenario = scenario.mended(scenario)
        if (scenario.hoarded !== undefined || held.length === 0) return Effect.void
        return Effect.whileLoop({
          while: () => held.length > 0,
          body: () => memory.setLease(held.splice(0, 10).map((lease) => ({ lease, duration: Duration.zero }))),
          step: () => undefined
        })
      }).pipe(Effect.orDie),
      looks
    })
  }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))

/** Runs a script in a world of this scenario, as the seed has it. */
export const run = <A>(seed: number, scenario: Scenario, script: (world: World) => Effect.Effect<A>): A => {
  const { exit } = Simulation.run(seed, program(scenario, script), { maxWakes: 100_000_000, order: "fifo" })
  if (Exit.isFailure(exit)) throw new Error(`seed ${seed}: ${Cause.pretty(exit.cause)}`)
  return exit.value
}
