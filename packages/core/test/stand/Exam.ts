/**
 * Puts the diagnosis through scenarios and scores it: what it names, what it advises, and whether that cures.
 *
 * Right is a look whose first finding is the cause; of several causes the one that weighs most, or one that weighs as much
 * within a factor of 1.4: `weights` says how. A burst goes by itself: once its backlog has gone, what is right is to say
 * nothing.
 */
import type { Diagnosis } from "@millrace/core"
import { Effect } from "effect"
import { ordersOf } from "./Operator.js"
import { healthy, mixture, type Planned, single } from "./Scenarios.js"
import { type Counting, type Look, run, type Scenario, type Truth, type World } from "./World.js"

const of = (diagnosis: Diagnosis.Diagnosis | undefined): string =>
  diagnosis === undefined
    ? "nothing"
    : `${diagnosis.verdict} (${diagnosis.lag.arrivals.toFixed(1)} come, ${diagnosis.lag.throughput.toFixed(1)} done, ${diagnosis.lag.visible.toFixed(0)} wait): ${diagnosis.findings.map(({ _tag, score }) => `${_tag} ${score.toFixed(2)}`).join(", ")}`

/** A backlog of more than ten seconds' work is one. */
const isBehind = ({ visible }: Truth, scenario: Scenario): boolean =>
  visible > Math.max(20, 10 * scenario.arrivals(1e4))

export interface Treated {
  readonly seed: number
  readonly name: string
  /** It did fall behind, so that there was something to see. */
  readonly felt: boolean
  /** Seconds from the beginning of the fault to the first right finding that stayed first for half a minute. */
  readonly seenAfter: number | undefined
  /** Of the looks from a minute and a half after it began. */
  readonly looks: number
  readonly right: number
  readonly absent: number
  /** After so many rounds of advice nothing waits any more; none: not in three. */
  readonly curedAfter: number | undefined
  /** Rounds that turned a number, and after which less was done than before by a fifth and more than by chance, though more waited. */
  readonly harmed: number
  /** Numbers advised, each over what is needed. */
  readonly ratios: ReadonlyArray<readonly [setting: string, ratio: number]>
  /** What was said, for who looks into it. */
  readonly story: ReadonlyArray<string>
}

const rounds = 3

/** The cause that weighs most, or those that weigh alike. */
type Dominant = ReadonlySet<Diagnosis.Cause>

const treat =
  (seed: number, planned: Planned, dominant: Dominant) =>
  (world: World): Effect.Effect<Treated> =>
    Effect.gen(function* () {
      const { causes, from, needs, scenario } = planned
      const story: Array<string> = []
      const ratios: Array<readonly [string, number]> = []
      yield* world.sleep(from + 90)
      let earlier = yield* world.truth
      yield* world.sleep(90)
      const felt = isBehind(yield* world.truth, scenario)
      const first = ({ diagnosis }: Look) => diagnosis.findings[0]?._tag
      const since = world.looks.filter(({ at }) => at >= from)
      const isRight = (one: Look) => {
        const tag = first(one)
        return tag !== undefined && dominant.has(tag)
      }
      const seen = since.find((_, i) => since.slice(i, i + 4).every(isRight))
      const judged = since.filter(({ at }) => at >= from + 90)
      const right = judged.filter(isRight).length
      const isAbsent = (diagnosis: Diagnosis.Diagnosis) => diagnosis.findings.some(({ _tag }) => !causes.includes(_tag))
      const absent = judged.filter(({ diagnosis }) => isAbsent(diagnosis)).length
      for (const { at, diagnosis } of since) story.push(`  ${(at - from).toFixed(0)} s ${of(diagnosis)}`)
      let curedAfter: number | undefined
      let harmed = 0
      for (let round = 1; round <= rounds && curedAfter === undefined; round++) {
        const diagnosis = yield* world.look
        const [finding] = diagnosis?.findings ?? []
        const before = yield* world.truth
        const { visible } = before
        story.push(`  round ${round}: ${visible} wait; ${of(diagnosis)}`)
        const pace = (a: Truth, b: Truth) => (b.done - a.done) / (b.at - a.at)
        if (finding !== undefined) {
          const { knobs, resume } = ordersOf(finding)
          story.push(`    ${finding.evidence}`)
          story.push(`    turned ${JSON.stringify(knobs)}`)
          if (causes.length === 1 && causes[0] === finding._tag)
            for (const { setting, to } of finding.advice) {
              const need = setting === undefined ? undefined : needs[setting]
              if (need !== undefined && to !== undefined) ratios.push([setting ?? "", to / need])
            }
          yield* world.turn(knobs)
          if (resume) yield* world.resume
          // Somebody outside mends what no number mends, once it is seen whether the numbers did harm.
          const turned = Object.keys(knobs).length > 0
          yield* world.sleep(turned ? 90 : 0)
          const after = yield* world.truth
          const rate = turned ? pace(earlier, before) : 0
          const chance = 3 * Math.sqrt(rate / 90)
          if (pace(before, after) < 0.8 * rate - chance && isBehind(after, scenario)) {
            harmed++
            story.push(`    harmed: ${pace(before, after).toFixed(1)} a second, ${rate.toFixed(1)} before`)
          }
          if (causes.includes(finding._tag)) yield* world.mend
          yield* world.sleep(turned ? 120 : 210)
        } else yield* world.sleep(210)
        earlier = yield* world.truth
        yield* world.sleep(90)
        let truth = yield* world.truth
        // What becomes less by itself has its time.
        for (
          let more = 0;
          more < 2 && isBehind(truth, scenario) && truth.visible < 0.6 * visible * 0.6 ** more;
          more++
        ) {
          yield* world.sleep(300)
          truth = yield* world.truth
        }
        story.push(`    then ${truth.visible} wait`)
        if (!isBehind(truth, scenario)) curedAfter = round
      }
      return {
        seed,
        name: planned.name,
        felt,
        seenAfter: seen && seen.at - from,
        looks: judged.length,
        right,
        absent,
        curedAfter,
        harmed,
        ratios,
        story
      }
    })

export const treatSingle = (name: string, seed: number, counting?: Counting): Treated => {
  const planned = single(name, seed, counting)
  return run(seed, planned.scenario, treat(seed, planned, new Set(planned.causes)))
}

/** How many wait three minutes after it began. */
const waitingWith = (seed: number, from: number, scenario: Scenario): number =>
  run(seed, scenario, (world) =>
    Effect.zipRight(
      world.sleep(from + 180),
      Effect.map(world.truth, ({ visible }) => visible)
    )
  )

/**
 * What waits is shared out among the causes: each is given what it adds to those before it, on average over all orders in
 * which they may come (Shapley's value). By itself a cause shows only a part of what it does in a mixture: a burst that
 * would have cleared by now stays where slots are few, and of two that multiply neither does much alone.
 */
export const weights = (count: number, waiting: (places: ReadonlySet<number>) => number): ReadonlyArray<number> => {
  const known = new Map<number, number>()
  const of = (mask: number): number => {
    const places = Array.from({ length: count }, (_, place) => place).filter((place) => mask & (1 << place))
    const value = known.get(mask) ?? (places.length === 0 ? 0 : waiting(new Set(places)))
    known.set(mask, value)
    return value
  }
  const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1))
  const sizeOf = (mask: number): number => (mask === 0 ? 0 : (mask & 1) + sizeOf(mask >> 1))
  return Array.from({ length: count }, (_, place) => {
    let sum = 0
    for (let mask = 0; mask < 1 << count; mask++) {
      if (mask & (1 << place)) continue
      const size = sizeOf(mask)
      const part = (factorial(size) * factorial(count - size - 1)) / factorial(count)
      sum += part * (of(mask | (1 << place)) - of(mask))
    }
    return sum
  })
}

/** The causes that weigh most, each within a factor of 1.4. */
const dominantOf = (seed: number, { causes, from, only }: Planned): Dominant => {
  const each = weights(causes.length, (places) => waitingWith(seed, from, only(places)))
  const most = Math.max(...each)
  return new Set(causes.filter((_, place) => (each[place] ?? 0) >= most / 1.4))
}

export const treatMixture = (seed: number, counting?: Counting): Treated => {
  const planned = mixture(seed, counting)
  return run(seed, planned.scenario, treat(seed, planned, dominantOf(seed, planned)))
}

/**
 * What is named while nobody does anything, the first first: in each look from a minute and a half on, for so many seconds
 * since it began.
 */
export const named = (
  seed: number,
  { from, scenario }: Planned,
  until = 180
): ReadonlyArray<ReadonlyArray<Diagnosis.Cause>> =>
  run(seed, scenario, (world) =>
    Effect.map(world.sleep(from + until), () =>
      world.looks.filter(({ at }) => at >= from + 90).map(({ diagnosis }) => diagnosis.findings.map(({ _tag }) => _tag))
    )
  )

export interface Healthy {
  readonly seed: number
  /** Words about something wrong, where nothing is. */
  readonly words: ReadonlyArray<string>
}

export const healthyRun = (seed: number, counting?: Counting, until = 400): Healthy => {
  const planned = healthy(seed, counting)
  return run(seed, planned.scenario, (world) =>
    Effect.map(world.sleep(until), () => ({
      seed,
      words: world.looks
        .filter(({ diagnosis }) => diagnosis.findings.length > 0 || diagnosis.verdict !== "healthy")
        .map(({ at, diagnosis }) => `${at.toFixed(0)} s ${of(diagnosis)}`)
    }))
  )
}

export interface Hour {
  readonly seed: number
  readonly name: string
  readonly looks: number
  readonly right: number
  readonly absent: number
  readonly story: ReadonlyArray<string>
}

/** A cause that stays for an hour, a burst apart, and nobody does anything. */
export const hour = (name: string, seed: number, counting?: Counting): Hour => {
  const planned = single(name, seed, counting)
  const { causes, from } = planned
  const passes = causes.includes("ProducerBurst")
  return run(seed, planned.scenario, (world) =>
    Effect.gen(function* () {
      yield* world.sleep(from + 120)
      let goneAt = Number.POSITIVE_INFINITY
      while ((yield* world.truth).at < from + 3600) {
        yield* world.sleep(10)
        const truth = yield* world.truth
        if (passes && !isBehind(truth, planned.scenario)) goneAt = Math.min(goneAt, truth.at)
      }
      const judged = world.looks.filter(({ at }) => at >= from + 120)
      const isRight = ({ at, diagnosis }: Look) =>
        diagnosis.findings[0]?._tag === causes[0] || (at > goneAt && diagnosis.findings.length === 0)
      return {
        seed,
        name,
        looks: judged.length,
        right: judged.filter(isRight).length,
        absent: judged.filter(({ diagnosis }) => diagnosis.findings.some(({ _tag }) => !causes.includes(_tag))).length,
        story: judged
          .filter((look) => !isRight(look))
          .map(({ at, diagnosis }) => `  ${(at - from).toFixed(0)} s ${of(diagnosis)}`)
      }
    })
  )
}

const percent = (part: number, whole: number): string => (whole === 0 ? "–" : `${((100 * part) / whole).toFixed(1)} %`)
const sum = <A>(all: ReadonlyArray<A>, of: (one: A) => number): number => all.reduce((total, one) => total + of(one), 0)
const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

export interface Score {
  readonly right: number
  readonly absent: number
  readonly curedOnce: number
  readonly cured: number
  readonly harmed: number
  readonly within: number
  readonly seenAfter: number
}

/** Parts from 0 to 1; `within`: of the numbers advised, those from 0.8 to 2.5 of what is needed. */
export const score = (all: ReadonlyArray<Treated>): Score => {
  const felt = all.filter((one) => one.felt)
  const ratios = felt.flatMap((one) => one.ratios)
  return {
    right: sum(felt, (one) => one.right) / sum(felt, (one) => one.looks),
    absent: sum(felt, (one) => one.absent) / sum(felt, (one) => one.looks),
    curedOnce: felt.filter(({ curedAfter }) => curedAfter === 1).length / felt.length,
    cured: felt.filter(({ curedAfter }) => curedAfter !== undefined).length / felt.length,
    harmed: felt.filter(({ harmed }) => harmed > 0).length / felt.length,
    within: ratios.filter(([, ratio]) => ratio >= 0.8 && ratio <= 2.5).length / Math.max(1, ratios.length),
    seenAfter: median(felt.map(({ seenAfter }) => seenAfter ?? Number.POSITIVE_INFINITY))
  }
}

/** One line of the table. */
export const line = (name: string, all: ReadonlyArray<Treated>): string => {
  const s = score(all)
  const part = (n: number) => percent(n, 1).padStart(9)
  return `${name.padEnd(40)} ${String(all.filter(({ felt }) => felt).length).padStart(4)}/${String(all.length).padEnd(4)}${part(s.right)}${part(s.absent)}${part(s.curedOnce)}${part(s.cured)}${part(s.harmed)}${part(s.within)} ${s.seenAfter.toFixed(0).padStart(6)} s`
}

export const heading = `${"".padEnd(40)} ${"runs".padStart(9)}${["right", "absent", "cured 1", "cured 3", "harmed", "numbers"].map((title) => title.padStart(9)).join("")} ${"seen".padStart(8)}`
