/** What `Simulation` runs on: a clock without timers, a scheduler that a seed leads, and what is known of the fibers. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as Supervisor from "effect/Supervisor"
import { Heap } from "../data/heap.js"
import { withPlaces } from "./place.js"

/** A fiber that was not done, and what is known of where it stood. */
export interface FiberReport {
  /** `the program`, or `fiber n`, numbered by their start in this run (not by Effect's ids, which no seed repeats). */
  readonly name: string
  /** Who forked it. */
  readonly parent: string | undefined
  /** The names of the spans that it is in, innermost first. */
  readonly spans: ReadonlyArray<string>
  /** What it waits for, as far as Effect says. */
  readonly waitsFor: string
  /** Lines of the user's code, innermost first, where the JavaScript engine can tell. */
  readonly places: ReadonlyArray<string>
}

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

interface Timer {
  readonly at: number
  readonly order: number
  readonly fiber: AnyFiber
  readonly wake: () => void
  slot: number
}

/** Jumps to the next wake, and never waits. */
export class SimulatedClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  /** Milliseconds since the start: what sleeps go by. */
  elapsed = 0
  readonly timers = new Heap<Timer>(
    (a, b) => a.at < b.at || (a.at === b.at && a.order < b.order),
    (timer, index) => {
      timer.slot = index
    }
  )
  readonly #startAt: number
  #jumped = 0
  #count = 0

  constructor(startAt: number) {
    this.#startAt = startAt
  }

  unsafeCurrentTimeMillis(): number {
    return this.#startAt + this.elapsed + this.#jumped
  }

  /** As the live clock has it: monotonic, and unaware of jumps. */
  unsafeCurrentTimeNanos(): bigint {
    return BigInt(this.#startAt + this.elapsed) * 1_000_000n
  }

  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    // Real timers take whole milliseconds; so the clock never shows a fraction.
    const millis = Math.ceil(Duration.toMillis(duration))
    return Effect.withFiberRuntime((fiber) =>
      Effect.async<void>((resume) => {
        if (millis === Infinity) return
        const timer: Timer = {
          at: this.elapsed + millis,
          order: this.#count++,
          fiber,
          wake: () => resume(Effect.void),
          slot: -1
        }
        this.timers.push(timer)
        return Effect.sync(() => {
          // It may have rung already, when its fiber is interrupted before it has its turn.
          if (timer.slot >= 0) this.timers.removeAt(timer.slot)
        })
      })
    )
  }

  /** Goes to the next wake and wakes all that are due; false where there is none. */
  advance(): boolean {
    const next = this.timers.peek
    if (next === undefined) return false
    this.elapsed = next.at
    for (let timer = this.timers.peek; timer?.at === next.at; timer = this.timers.peek) {
      this.timers.removeAt(0)
      timer.wake()
    }
    return true
  }

  jump(millis: number): void {
    this.#jumped += millis
  }
}

/** Mulberry32: what the scheduler decides must not use up the program's own random numbers. */
const randomInt = (seed: number): ((below: number) => number) => {
  let state = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1)
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below)
  }
}

/** What can run now. Priorities are passed over: they are hints, and a simulation explores. */
export interface Runnable extends Scheduler.Scheduler {
  /** Runs one task; false where there is none. */
  readonly step: () => boolean
}

/** In the order in which they became able to run. */
export const fifo = (): Runnable => {
  const tasks: Array<Scheduler.Task> = []
  let head = 0
  return {
    shouldYield: Scheduler.defaultShouldYield,
    scheduleTask: (task) => {
      tasks.push(task)
    },
    step: () => {
      const task = tasks[head++]
      if (head >= 1024) {
        tasks.splice(0, head)
        head = 0
      }
      if (task === undefined) {
        tasks.length = 0
        head = 0
        return false
      }
      task()
      return true
    }
  }
}

/** In an order that the seed chooses. */
export const shuffled = (seed: number): Runnable => {
  const below = randomInt(seed)
  const tasks: Array<Scheduler.Task> = []
  // Effect may take the turn from a fiber after any 2,048 operations, so code must stand it anywhere. Seeds differ in
  // how often it happens, from never, and how early.
  const odds = below(3)
  const most = 2 ** (4 + below(7))
  let operations = Infinity
  return {
    shouldYield: (fiber) => (fiber.currentOpCount > operations ? 0 : Scheduler.defaultShouldYield(fiber)),
    scheduleTask: (task) => {
      tasks.push(task)
    },
    step: () => {
      const index = tasks.length > 1 ? below(tasks.length) : 0
      const task = tasks[index]
      const last = tasks.pop()
      if (task === undefined || last === undefined) return false
      if (index < tasks.length) tasks[index] = last
      operations = below(8) < odds ? 1 + below(most) : Infinity
      task()
      return true
    }
  }
}

/** Knows the fibers that are not done, numbered by their start. */
export class Fibers extends Supervisor.AbstractSupervisor<void> {
  readonly value = Effect.void
  readonly alive = new Map<AnyFiber, { readonly number: number; readonly parent: number | undefined }>()
  #count = 0

  add(fiber: AnyFiber, parent?: AnyFiber | undefined): void {
    this.alive.set(fiber, { number: this.#count++, parent: parent && this.alive.get(parent)?.number })
  }

  override onStart<A, E, R>(
    _context: unknown,
    _effect: Effect.Effect<A, E, R>,
    parent: Option.Option<AnyFiber>,
    fiber: Fiber.RuntimeFiber<A, E>
  ): void {
    this.add(fiber, Option.getOrUndefined(parent))
  }

  override onEnd<A, E>(_exit: Exit.Exit<A, E>, fiber: Fiber.RuntimeFiber<A, E>): void {
    this.alive.delete(fiber)
  }

  report(timers: ReadonlyArray<Timer>): ReadonlyArray<FiberReport> {
    const byId = new Map([...this.alive].map(([fiber, { number }]) => [fiber.id().id, nameOf(number)]))
    return withPlaces((placesOf) =>
      [...this.alive].slice(0, 30).map(([fiber, { number, parent }]) => ({
        name: nameOf(number),
        parent: parent === undefined ? undefined : nameOf(parent),
        spans: spansOf(fiber),
        waitsFor: waitsFor(fiber, byId, timers),
        places: placesOf(fiber)
      }))
    )
  }
}

const nameOf = (number: number): string => (number === 0 ? "the program" : `fiber ${number}`)

const spansOf = (fiber: AnyFiber): ReadonlyArray<string> => {
  const names: Array<string> = []
  let span = fiber.currentSpan
  while (span?._tag === "Span") {
    names.push(span.name)
    span = Option.getOrUndefined(span.parent)
  }
  return names
}

const waitsFor = (fiber: AnyFiber, byId: ReadonlyMap<number, string>, timers: ReadonlyArray<Timer>): string => {
  const timer = timers.find((timer) => timer.fiber === fiber)
  if (timer !== undefined) return `sleeps until ${timer.at} ms`
  const on: unknown = Reflect.get(fiber, "_asyncBlockingOn")
  if (!FiberId.isFiberId(on)) return "is about to run"
  const names = [...FiberId.ids(on)].map((id) => (id === fiber.id().id ? "itself" : (byId.get(id) ?? "an ended fiber")))
  if (names.length === 0) return "waits for a callback (a latch, a semaphore, a mailbox, Effect.async, a promise)"
  if (names[0] === "itself") return "waits for a Deferred of its own (as when it takes from an empty queue)"
  return `waits for ${names.join(" and ")}: for its end, or for a Deferred that it made`
}

export const describe = (fibers: ReadonlyArray<FiberReport>, all: number): string =>
  [
    ...fibers.map(({ name, parent, places, spans, waitsFor }) =>
      [
        `  ${name}${parent === undefined ? "" : ` (of ${parent})`} ${waitsFor}`,
        ...(spans.length > 0 ? [`    in the span ${spans.join(" < ")}`] : []),
        ...places.map((place) => `    at ${place}`)
      ].join("\n")
    ),
    ...(all > fibers.length ? [`  and ${all - fibers.length} more`] : [])
  ].join("\n")

/** What a program runs in. */
interface World {
  readonly clock: SimulatedClock
  readonly random: Random.Random
  readonly runnable: Runnable
  readonly fibers: Fibers
}

/** Begins a program; nothing of it runs before the first step. */
export const begin = <A, E>(
  program: Effect.Effect<A, E>,
  { clock, fibers, random, runnable }: World
): Fiber.RuntimeFiber<A, E> => {
  const root = Effect.runFork(
    program.pipe(Effect.withClock(clock), Effect.withRandom(random), Effect.supervised(fibers)),
    { scheduler: runnable, immediate: false }
  )
  fibers.add(root)
  root.addObserver(() => fibers.alive.delete(root))
  return root
}

/** How it ended, if it has. */
export const endOf = <A, E>(fiber: Fiber.RuntimeFiber<A, E>): Exit.Exit<A, E> | undefined =>
  fiber.unsafePoll() ?? undefined
