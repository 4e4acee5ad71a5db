import { assert, describe, it } from "@effect/vitest"
import { Alarm, Backlog } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { Clock, Duration, Effect, Either, Logger, Random, Stream } from "effect"
import { seeds } from "../../../test/long.js"

const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)

/** A sample in which all is well, but for what is given. */
const sample = (at: number, of: Partial<Backlog.Fresh> = {}): Backlog.Fresh => ({
  _tag: "Fresh",
  queue: "orders",
  at: at * 1000,
  visible: 0,
  inFlight: 0,
  delayed: 0,
  deadLetters: undefined,
  oldest: undefined,
  growth: 0,
  arrivals: undefined,
  departures: undefined,
  timeToDrain: Duration.zero,
  ...of
})
const stale = (at: number): Backlog.Sample => ({
  _tag: "Stale",
  queue: "orders",
  at: at * 1000,
  error: "no network",
  last: undefined
})

/** What an alarm has to say of a series of samples: "+" where it fires, "-" where it clears, and the second. */
const said = (alarm: Alarm.Alarm, samples: ReadonlyArray<Backlog.Sample>) =>
  Effect.runSync(
    Stream.fromIterable(samples).pipe(
      Alarm.events([alarm]),
      Stream.map(({ _tag, at }) => `${_tag === "Fired" ? "+" : "-"}${at / 1000}`),
      Stream.runCollect,
      Effect.map((events) => [...events])
    )
  )

/** A sample each ten seconds, of what the figure is at each. */
const series = <A>(values: ReadonlyArray<A>, of: (value: A) => Partial<Backlog.Fresh>) =>
  values.map((value, i) => sample(i * 10, of(value)))

const brief = { for: "10 seconds", clearFor: "10 seconds" } as const

/**
 * The classic case: 20 orders a second come and 2 are done, until the consumer is given what it takes for 64. The counts
 * are late by up to a minute and off by up to a tenth.
 */
const classic = (slowUntil: number) => {
  const truth = (at: number) => {
    const slow = 18 * Math.min(Math.max(at, 0), slowUntil)
    return Math.max(0, slow - 44 * Math.max(0, at - slowUntil))
  }
  return Backlog.make({
    queue: "order-processing-queue",
    counts: Effect.gen(function* () {
      const late = yield* Random.nextRange(0, 60)
      const noise = yield* Random.nextRange(0.9, 1.1)
      return { visible: Math.round(truth((yield* seconds) - late) * noise), inFlight: 50, delayed: 0 }
    }),
    errorKind: () => "transient" as const
  })
}

/** What is said in 15 minutes. */
const heard = (backlog: Backlog.Backlog<never>, alarms: ReadonlyArray<Alarm.Alarm>) =>
  backlog.samples.pipe(
    Stream.take(90),
    Alarm.events(alarms),
    Stream.map(({ _tag, at }) => ({ _tag, at: at / 1000 })),
    Stream.runCollect,
    Effect.map((events) => [...events])
  )

const sixHours = 6 * 3_600

/** Six hours of what waits, minute by minute, swaying within 120 of 400 over one minute to a quarter of an hour. */
const swaying = Effect.gen(function* () {
  const minutes = Math.exp(yield* Random.nextRange(0, Math.log(15)))
  const keeps = Math.exp(-1 / minutes)
  const inWaves = yield* Random.nextBoolean
  const waited: Array<number> = []
  let sway = 0
  for (let minute = 0; minute <= sixHours / 60; minute++) {
    sway = keeps * sway + 60 * (yield* Random.nextRange(-1, 1)) * Math.sqrt(3 * (1 - keeps ** 2))
    const wave = 120 * Math.sin((2 * Math.PI * minute) / Math.max(5, minutes))
    waited.push(400 + (inWaves ? wave : Math.min(120, Math.max(-120, sway))))
  }
  return (at: number) => {
    const [before = 400, after = 400] = waited.slice(Math.floor(at / 60))
    return before + (after - before) * ((at % 60) / 60)
  }
})

/** What is said in six hours of a queue whose counts are late by up to a minute and off by up to a tenth. */
const overSixHours = (
  waits: (at: number) => number,
  departing: number | undefined,
  alarms: ReadonlyArray<Alarm.Alarm>
) =>
  Effect.gen(function* () {
    const backlog = yield* Backlog.make(
      {
        queue: "orders",
        counts: Effect.gen(function* () {
          const late = yield* Random.nextRange(0, 60)
          const noise = yield* Random.nextRange(0.9, 1.1)
          const at = Math.max(0, Math.floor((yield* seconds) - late))
          return { visible: Math.round(waits(at) * noise), inFlight: 50, delayed: 0 }
        }),
        errorKind: () => "transient" as const
      },
      {
        every: "20 seconds",
        window: "3 minutes",
        departed: departing === undefined ? undefined : Effect.map(seconds, (at) => Math.floor(departing * at))
      }
    )
    const events = yield* backlog.samples.pipe(
      Stream.take(sixHours / 20),
      Alarm.events(alarms),
      Stream.map(({ _tag, alarm, at }) => ({ said: `${_tag} ${alarm}`, at: at / 1000 })),
      Stream.runCollect
    )
    return [...events]
  })

describe.each([
  ["departures counted", 2],
  ["departures counted by nobody", undefined]
])("six hours of lag and noise, %s", (_, departing) => {
  it("a healthy queue that holds 400, give or take 120, fires nothing", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 2, long: 20 }) },
      Effect.gen(function* () {
        const waits = yield* swaying
        const alarms = [
          Alarm.timeToDrain({ above: "10 minutes" }),
          Alarm.timeToDrain({ above: "1 hour" }),
          Alarm.backlog({ above: 1_000 })
        ]
        assert.deepStrictEqual(yield* overSixHours(waits, departing, alarms), [])
      })
    ))

  it("a jump from 50 to 5,000 that stays fires the backlog's alarm once", () =>
    Simulation.checkInTurns(
      { seeds: 2 },
      Effect.gen(function* () {
        const waits = (at: number) => (at < 3_600 ? 50 : 5_000)
        const events = yield* overSixHours(waits, departing, [Alarm.backlog({ above: 1_000 })])
        assert.deepStrictEqual(
          events.map(({ said }) => said),
          ["Fired backlog"]
        )
        // It must show (a minute at most) and hold for one.
        assert.isBelow(events[0]?.at ?? 0, 3_600 + 60 + 60 + 60)
      })
    ))

  it("a backlog that grows by 3 a second fires time to drain once, within a quarter of an hour", () =>
    Simulation.checkInTurns(
      { seeds: 2 },
      Effect.gen(function* () {
        const waits = (at: number) => 400 + 3 * Math.max(0, at - 3_600)
        const events = yield* overSixHours(waits, departing, [Alarm.timeToDrain({ above: "10 minutes" })])
        assert.deepStrictEqual(
          events.map(({ said }) => said),
          ["Fired time to drain"]
        )
        assert.isBelow(events[0]?.at ?? 0, 3_600 + 900)
      })
    ))
})

describe("Alarm", () => {
  it("growth of 18 a second and a threshold of 1,000: fires once, clears once, over noise and lag", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 12, long: 60 }) },
      Effect.gen(function* () {
        const events = yield* heard(yield* classic(300), [Alarm.backlog({ above: 1_000 })])
        assert.deepStrictEqual(
          events.map(({ _tag }) => _tag),
          ["Fired", "Cleared"]
        )
        const [fired, cleared] = events
        // It is passed at 56 s. Then it must show (a minute at most), and hold for one.
        assert.isAbove(fired?.at ?? 0, 100)
        assert.isBelow(fired?.at ?? 0, 250)
        // 5,400 are gone, at 44 a second, after 123 s; this too must show, and hold for two minutes.
        assert.isAbove(cleared?.at ?? 0, 300 + 105 + 120)
        assert.isBelow(cleared?.at ?? 0, 300 + 123 + 60 + 130)
      })
    ))

  it("the classic 1,000 orders, of which at most 900 wait, fire nothing", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 6, long: 30 }) },
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* heard(yield* classic(50), [Alarm.backlog({ above: 1_000 })]), [])
      })
    ))

  it("a backlog that stays at the threshold fires once at most, though every second count is over it", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 6, long: 30 }) },
      Effect.gen(function* () {
        const backlog = yield* Backlog.make({
          queue: "orders",
          counts: Effect.map(Random.nextIntBetween(900, 1_100), (visible) => ({ visible, inFlight: 0, delayed: 0 })),
          errorKind: () => "transient" as const
        })
        assert.isAtMost((yield* heard(backlog, [Alarm.backlog({ above: 1_000, for: 0, clearFor: 0 })])).length, 1)
      })
    ))

  it("wrong must last: one sample that is well begins the time anew", () => {
    const alarm = Alarm.backlog({ above: 100, for: "30 seconds", clearFor: "20 seconds" })
    const values = [101, 101, 101, 80, 101, 101, 101, 101, 90, 80, 80, 90, 80, 80, 80]
    assert.deepStrictEqual(
      said(
        alarm,
        series(values, (visible) => ({ visible, growth: 1 }))
      ),
      ["+70", "-140"]
    )
  })

  it("a large backlog that shrinks does not fire; one that has fired does not clear while it is large", () => {
    const values = [500, 500, 500, 500]
    assert.deepStrictEqual(
      said(
        Alarm.backlog({ above: 100, ...brief }),
        series(values, (visible) => ({ visible, growth: -1 }))
      ),
      []
    )
    assert.deepStrictEqual(
      said(
        Alarm.backlog({ above: 100, ...brief }),
        series([1, 1, -1, -1, -1, -1], (growth) => ({ visible: 500, growth }))
      ),
      ["+10"]
    )
  })

  it("time in which the queue could not be read does not count", () => {
    const wrong = (at: number) => sample(at, { visible: 500, growth: 1 })
    const alarm = Alarm.backlog({ above: 100, for: "30 seconds" })
    const samples = [wrong(0), wrong(10), stale(20), stale(30), stale(600), wrong(610), wrong(620)]
    assert.deepStrictEqual(said(alarm, samples), ["+620"])
  })

  it.each([
    [
      "oldest",
      Alarm.oldest({ above: "5 minutes", ...brief }),
      [250, 301, 302, 250, 239, 240],
      (s: number) => ({ oldest: { duration: Duration.seconds(s), kind: "estimated" as const } }),
      ["+20", "-50"]
    ],
    [
      "time to drain",
      Alarm.timeToDrain({ above: "10 minutes", ...brief }),
      [600, 601, Number.POSITIVE_INFINITY, 500, 480, 30],
      (s: number) => ({ visible: 1_000, timeToDrain: Duration.seconds(s) }),
      ["+20", "-50"]
    ],
    [
      "time to drain of a few",
      Alarm.timeToDrain({ above: "10 minutes", ...brief }),
      [1, 1, 1],
      () => ({ visible: 99, timeToDrain: Duration.infinity }),
      []
    ],
    [
      "a backlog that neither grows nor shrinks and is gone in 20 seconds by what leaves",
      Alarm.timeToDrain({ above: "10 minutes", ...brief }),
      [0, 1, -1, 2, 1, 2, 0, 1],
      (growth: number) => ({
        visible: 400,
        growth,
        departures: { perSecond: 20, kind: "counted" as const },
        timeToDrain: growth < 0 ? Duration.seconds(400 / -growth) : Duration.infinity
      }),
      []
    ],
    [
      "a backlog that jumps and then stays",
      Alarm.backlog({ above: 1_000, ...brief }),
      [50, 5_000, 5_000, 5_000],
      (visible: number) => ({ visible, growth: 0 }),
      ["+20"]
    ],
    [
      "dead letters",
      Alarm.deadLetters({ clearFor: "10 seconds" }),
      [0, 0, 1, 0, 0],
      (visible: number) => ({ deadLetters: { visible, inFlight: 0, delayed: 0 } }),
      ["+20", "-40"]
    ],
    [
      "in flight",
      Alarm.inFlight(brief),
      [108_000, 108_001, 108_001, 90_000, 86_400, 86_400],
      (inFlight: number) => ({ inFlight }),
      ["+20", "-50"]
    ],
    [
      "in flight of 20,000",
      Alarm.inFlight({ limit: 20_000, ...brief }),
      [18_000, 18_001, 18_001],
      (inFlight: number) => ({ inFlight }),
      ["+20"]
    ],
    [
      "no progress, departures counted",
      Alarm.noProgress(brief),
      [1, 0, 0, 1, 1],
      (perSecond: number) => ({ visible: 9, inFlight: 5, departures: { perSecond, kind: "counted" as const } }),
      ["+20", "-40"]
    ],
    [
      "no progress, nobody receives",
      Alarm.noProgress(brief),
      [1, 0, 0, 1, 1],
      (inFlight: number) => ({ visible: 9, inFlight }),
      ["+20", "-40"]
    ]
  ] as const)("%s: fires over its limit and clears under it", (_, alarm, values, of, expected) => {
    assert.deepStrictEqual(said(alarm, series<number>(values, of)), [...expected])
  })

  const endless = { growth: 30, timeToDrain: Duration.infinity }
  const leaving = (perSecond: number) => ({ departures: { perSecond, kind: "counted" as const } })
  it.each([
    ["soon, by what leaves, though a jump looks like growth", [50, 5_000, 5_000, 5_000], leaving(20), []],
    ["when it takes long by what leaves, too", [50, 15_000, 15_000, 15_000], leaving(20), ["+20"]],
    ["where nobody counts what leaves: next to nothing that has trebled", [50, 150, 150, 150], { inFlight: 5 }, []],
    ["where nobody counts what leaves: much that has trebled", [200, 600, 600, 600, 600, 600], { inFlight: 5 }, ["+30"]]
  ] as const)("time to drain: it will be gone %s", (_, waits, of, expected) => {
    const alarm = Alarm.timeToDrain({ above: "10 minutes", ...brief })
    assert.deepStrictEqual(
      said(
        alarm,
        series<number>(waits, (visible) => ({ visible, ...endless, ...of }))
      ),
      [...expected]
    )
  })

  it("no progress, departures not counted: a shrinking that may be noise is none, and does not clear it", () => {
    const drains = (timeToDrain: Duration.Duration) => ({ visible: 900, growth: -0.1, timeToDrain })
    const noise = Array.from({ length: 5 }, () => Duration.infinity)
    assert.deepStrictEqual(said(Alarm.noProgress(brief), series(noise, drains)), ["+10"])
    const shrinking = Array.from({ length: 5 }, () => Duration.minutes(9))
    assert.deepStrictEqual(said(Alarm.noProgress(brief), series(shrinking, drains)), [])
  })

  it("the message has the figures", () => {
    const messages = Effect.runSync(
      Stream.fromIterable(series([1_500, 1_500], (visible) => ({ visible, growth: 18 }))).pipe(
        Alarm.events([Alarm.backlog({ above: 1_000, ...brief })]),
        Stream.map(({ message }) => message),
        Stream.runCollect
      )
    )
    assert.deepStrictEqual([...messages], ["orders: 1500 messages wait, growing by 18.0 a second; the limit is 1000"])
  })

  it("each queue has its own state, and the hook is called once a change", () => {
    const samples = ["a", "b", "a", "b"].map((queue, i) =>
      sample(i * 10, { queue, visible: queue === "a" ? 500 : 5, growth: 1 })
    )
    const called: Array<string> = []
    Effect.runSync(
      Stream.fromIterable(samples).pipe(
        Alarm.watch([Alarm.backlog({ above: 100, ...brief }), Alarm.inFlight()], ({ _tag, alarm, queue }) =>
          Effect.sync(() => called.push(`${_tag} ${alarm} ${queue}`))
        )
      )
    )
    assert.deepStrictEqual(called, ["Fired backlog a"])
  })

  it("an alarm that has nothing to judge by warns, once", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => lines.push(String(message)))
    Effect.runSync(
      Stream.fromIterable(
        series(
          Array.from({ length: 200 }, () => 0),
          () => ({})
        )
      ).pipe(
        Alarm.events([Alarm.deadLetters(), Alarm.backlog({ above: 1 })]),
        Stream.runDrain,
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
    )
    assert.strictEqual(lines.length, 1)
    assert.match(lines[0] ?? "", /"dead letters" on orders has had nothing to judge by/)
  })

  it.each([
    [Alarm.backlog({ above: -1 }), "backlog: above"],
    [Alarm.backlog({ above: 10, clearAt: 11 }), "backlog: clearAt"],
    [Alarm.inFlight({ above: 1.5 }), "in flight: above"],
    [Alarm.oldest({ above: "1 minute", clearAt: "2 minutes" }), "oldest: clearAt"],
    [Alarm.noProgress({ for: Duration.infinity }), "no progress: for"]
  ] as const)("what cannot work is refused: %#", (alarm, option) => {
    const refused = Effect.runSync(Effect.either(Stream.runDrain(Alarm.events([alarm])(Stream.empty))))
    assert.strictEqual(Either.isLeft(refused) ? refused.left.option : undefined, option)
  })
})
