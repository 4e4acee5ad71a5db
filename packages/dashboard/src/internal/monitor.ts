/** Reads the consumers at a steady pace, remembers the last minutes, and tells whoever listens. */
import type * as Backlog from "@millrace/core/Backlog"
import type * as Diagnosis from "@millrace/core/Diagnosis"
import * as Figures from "@millrace/core/Figures"
import type * as Health from "@millrace/core/Health"
import * as Reason from "@millrace/core/Reason"
import type * as Tunable from "@millrace/core/Tunable"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Bodies } from "../Bodies.js"
import * as Snapshot from "./snapshot.js"
import type * as Wire from "./wire.js"

export interface Watched {
  readonly consumer: {
    readonly figures: Effect.Effect<Figures.Figures>
    readonly health: (options?: Health.Options) => Effect.Effect<Health.Health>
    readonly pause: Effect.Effect<void>
    readonly resume: Effect.Effect<void>
  }
  readonly backlog: Backlog.Backlog<unknown> | undefined
  readonly bodies: Bodies | undefined
  readonly pause: boolean
  readonly concurrency: Tunable.Tunable | undefined
  readonly diagnosis: Stream.Stream<Diagnosis.Diagnosis>
}

export interface Monitor {
  /** For one page: what is remembered, then each update. A page that is slow to read misses some. */
  readonly events: Stream.Stream<Uint8Array>
  readonly consumers: ReadonlyMap<string, Watched>
}

/** Over how many readings rates and quantiles are taken: one alone is too few to see a quantile in. */
const readings = 10
/** Updates that wait for a slow page. */
const waiting = 8

const encoder = new TextEncoder()
const event = (name: string, data: unknown) => encoder.encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)

/** One consumer: its latest readings, and the points of its charts. */
class Watch {
  readonly name: string
  readonly watched: Watched
  readonly #keep: number
  #readings: ReadonlyArray<Figures.Figures> = []
  #points: ReadonlyArray<Wire.Point> = []
  #sample: Backlog.Sample | undefined
  #problem: string | undefined
  #diagnosis: Diagnosis.Diagnosis | undefined
  now: Wire.Snapshot | null = null

  constructor(name: string, watched: Watched, keep: number) {
    this.name = name
    this.watched = watched
    this.#keep = keep
  }

  get opening(): Wire.Opening["consumers"][number] {
    return { name: this.name, points: this.#points, now: this.now }
  }

  get diagnosed(): Effect.Effect<void> {
    return Stream.runForEach(this.watched.diagnosis, (diagnosis) =>
      Effect.sync(() => {
        this.#diagnosis = diagnosis
      })
    )
  }

  /** The backlog; one that ended of an error is begun anew after a while. */
  get sampled(): Effect.Effect<void> {
    const { backlog } = this.watched
    if (backlog === undefined) return Effect.void
    return backlog.samples.pipe(
      Stream.runForEach((sample) =>
        Effect.sync(() => {
          this.#sample = sample
          this.#problem = undefined
        })
      ),
      Effect.tapError((error) =>
        Effect.sync(() => {
          this.#problem = Reason.of(error)
        })
      ),
      Effect.retry(Schedule.spaced("30 seconds")),
      Effect.orDie
    )
  }

  /** `undefined` at the first reading, which has nothing to be compared with. */
  get look(): Effect.Effect<Wire.Update | undefined> {
    const { bodies, concurrency, consumer, pause } = this.watched
    return Effect.gen(this, function* () {
      const figures = yield* consumer.figures
      const health = yield* consumer.health()
      // A consumer that was started anew has nothing to do with the readings of the one before.
      const earlier = this.#readings.filter(({ startedAt }) => startedAt === figures.startedAt)
      this.#readings = [...earlier, figures].slice(-(readings + 1))
      const [before] = this.#readings
      if (before === undefined || before === figures) return undefined
      const interval = Figures.since(before, figures)
      const backlog = Snapshot.backlog(this.#sample, this.#problem)
      const point = Snapshot.point(interval, backlog)
      const now = Snapshot.snapshot({
        interval,
        figures,
        health,
        backlog,
        diagnosis: Snapshot.diagnosis(this.#diagnosis),
        controls: { pause, concurrency: concurrency === undefined ? null : concurrency.unsafeGet() },
        bodies: bodies !== undefined
      })
      this.#points = [...this.#points, point].slice(-this.#keep)
      this.now = now
      return { name: this.name, point, now }
    })
  }
}

export const make = (
  consumers: ReadonlyMap<string, Watched>,
  options: { readonly every: Duration.Duration; readonly history: Duration.Duration }
): Effect.Effect<Monitor, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { every, history } = options
    const keep = Math.ceil(Duration.toMillis(history) / Duration.toMillis(every))
    const watches = [...consumers].map(([name, watched]) => new Watch(name, watched, keep))
    const updates = yield* PubSub.sliding<Uint8Array>(waiting)
    const look = Effect.gen(function* () {
      const all: Array<Wire.Update> = []
      for (const watch of watches) {
        const update = yield* watch.look
        if (update !== undefined) all.push(update)
      }
      // Written once, for however many pages.
      if (all.length > 0) yield* updates.publish(event("update", all))
    })
    // Also where what opens the scope may not be interrupted, which its end would wait for.
    const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkScoped(Effect.interruptible(effect))
    for (const watch of watches) {
      yield* fork(watch.diagnosed)
      yield* fork(watch.sampled)
    }
    yield* fork(Effect.repeat(look, Schedule.fixed(every)))

    const opening = Effect.sync(() => {
      const all: Wire.Opening = {
        consumers: watches.map((watch) => watch.opening),
        history: Duration.toMillis(history)
      }
      return event("opening", all)
    })
    // A comment, so that whatever stands between does not take the connection for dead.
    const heartbeat = Stream.repeatValue(encoder.encode(": still here\n\n")).pipe(
      Stream.schedule(Schedule.spaced("15 seconds"))
    )
    const events = Stream.unwrapScoped(
      Effect.gen(function* () {
        // Subscribed first, so that no update falls between.
        const subscription = yield* updates.subscribe
        const first = yield* opening
        return Stream.fromQueue(subscription, { maxChunkSize: 1 }).pipe(Stream.merge(heartbeat), (later) =>
          Stream.concat(Stream.make(encoder.encode("retry: 2000\n\n"), first), later)
        )
      })
    )
    return { events, consumers }
  })
