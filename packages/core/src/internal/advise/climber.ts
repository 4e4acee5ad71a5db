/**
 * What `AdaptiveConcurrency` does with each interval: it tries numbers of slots, and compares what they get done.
 *
 * Slots go up and down by the clock, not each consumer by turns of its own. So consumers that share a downstream do it
 * together, without a word between them, and each finds what more slots of all would bring, not what it can take from the
 * others. They all see about the same gain then; who has more slots asks for more of it, goes up by smaller steps, and so
 * they become equal (as with additive increase and multiplicative decrease, Chiu and Jain 1989).
 */
import type * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"

/**
 * What it does, and why.
 *
 * - `Climbing`: slots and messages are there, so that numbers of slots can be compared.
 * - `Held`: they cannot, and the number stays: nothing waits, or something else holds the handlers up.
 * - `BackedOff`: the downstream had too much to do.
 */
export interface State {
  readonly _tag: "Climbing" | "Held" | "BackedOff"
  /** The middle of the numbers that it tries; while it holds, the number in force. */
  readonly concurrency: number
  /** By which part of a small increase of the slots the throughput grows, as last found; 1: in proportion. */
  readonly gain: number | undefined
  readonly reason: string
}

/** How many slots to use from now on. */
interface Decision {
  readonly slots: number
  readonly state: State
}

/**
 * The part of an increase that must come out as throughput: beyond it more slots are only a longer queue downstream. So
 * much at `usual` slots, and `dearer` more for each e-fold of them.
 */
const worthwhile = 0.2
const usual = 16
const dearer = 0.1
/** Slots go up and down by this ratio, around the middle. */
const swing = 1.2
/** Handlers that take so many intervals are slow: at the start few comparisons can be made of them. */
const slowly = 0.2
/** Those that take so many are waited for after each change; where it was so, until they take half of that. */
const lingering = 0.6
/** At the start: so much of a doubling may be lost, and so many handlers may fail. */
const follow = 0.4
const fewFailures = 0.05
/** So many standard errors from what is worthwhile, a gain is acted upon: a little, sooner where that is less, or in full. */
const likely = 1.5
const likelyLess = 1
const certain = 3
/** A trial that is off the others by more than this, in logarithms, shows a downstream that has changed: 30 % less. */
const jump = 0.35
/** Of the variance of independent counts, what gains that vary less are believed to have at least. */
const evenly = 0.7
/** Comparisons that are remembered while none has been acted upon. */
const memory = 12
/**
 * Intervals that a number is tried for, doubled while few handlers end. Two even where one would do, so that consumers
 * whose handlers take about a tenth of it more or less still go up and down together.
 */
const shortest = 2
const longest = 16
/** Successes that a number of slots must show before it is compared. */
const enough = 30
/** How long a ceiling that overload has shown stays before a little more is tried, and at most, in milliseconds. */
const penance = 2 * 60_000
const longestPenance = 16 * 60_000
/** How much more that is; squared each time that it goes well. */
const aLittle = 1.06
const backOff = 0.7
/** Near a known ceiling the slots go up and down by less. */
const smallSwing = 1.1
/** Overload of fewer handlers than this, at the ceiling, takes a step back and no more. */
const mild = 0.6
/** Fewer of its slots than this were busy: something else is the limit. */
const saturated = 0.95

interface Trial {
  readonly running: number
  /** Successes a second, times their share. */
  readonly worth: number
  readonly successes: number
  /** The share of handlers that failed. */
  readonly fails: number
}

export interface Checked {
  readonly min: number
  readonly max: number
  readonly overload: ReadonlyArray<string>
  readonly tolerance: number
  readonly stage: number
  /** The intervals, in milliseconds. */
  readonly every: number
}

/** What the controller looks at of an interval. */
type Seen = Pick<Figures.Interval, "from" | "to" | "seconds" | "failures" | "paused" | "fullFor" | "handler"> & {
  readonly stats: Pick<Figures.Interval["stats"], "handled" | "failed">
  readonly stages: ReadonlyArray<SeenStage>
}
type SeenStage = Pick<Figures.StageInterval, "busy" | "busyTime" | "circuit">

/** The controller by itself: told of each interval, it says how many slots to use in the next. */
export class Climber {
  readonly #options: Checked
  /** The middle; not a whole number, so that small steps add up. */
  #middle: number
  /** Which interval since the epoch comes next, and for how many each number of slots is tried. */
  #tick = 0
  #length = shortest
  /** Whether the present trial was seen from its start. */
  #entire = false
  /** Intervals still to be passed over: handlers that began under another number of slots end in them. */
  #passOver = 0
  #seconds = 0
  #successes = 0
  #done = 0
  #busyTime = 0
  #intervals = 0
  #before: Trial | undefined
  /** Gains found at about this middle, the surer the heavier. */
  #gains: ReadonlyArray<{ readonly gain: number; readonly weight: number }> = []
  /** The logarithm of the throughput of late, and by how much the last trial was off it, where that was a lot. */
  #usual: number | undefined
  #shifted = 0
  #gain: number | undefined
  #ceiling: number
  #ceilingUntil = Infinity
  #penance = penance
  #raise = aLittle
  /** Which way it looks for a number to begin with. */
  #seeking: "either" | "more" | "less" | undefined = "either"

  constructor(initial: number, options: Checked) {
    this.#options = options
    this.#middle = Math.min(options.max, Math.max(options.min, initial))
    this.#ceiling = options.max
  }

  next(interval: Seen): Decision {
    const stage = interval.stages[this.#options.stage]
    const { failed, handled } = interval.stats
    this.#tick = Math.round(interval.to / this.#options.every)
    const overloads = this.#options.overload.reduce((sum, tag) => sum + (interval.failures[tag] ?? 0), 0)
    if (this.#passOver > 0) {
      this.#passOver--
      return this.#decide("Climbing", "what began before the last change comes to its end")
    }
    const done = handled + failed
    this.#raiseCeiling(interval.to)
    if (overloads >= 3 && overloads > this.#options.tolerance * done) {
      return this.#backOff(interval, overloads / done, `${overloads} of ${done} handlers ended in overload`)
    }
    if (failed >= 5 && failed > done / 2)
      return this.#backOff(interval, failed / done, `${failed} of ${done} handlers failed`)
    const held = stage === undefined ? "nothing has run yet" : heldBy(interval, stage)
    if (held !== undefined || stage === undefined) {
      this.#forget()
      this.#gains = []
      this.#usual = undefined
      return { slots: this.#whole, state: this.#state("Held", held ?? "") }
    }
    this.#seconds += interval.seconds
    this.#successes += handled
    this.#done += done
    this.#busyTime += stage.busyTime
    this.#intervals++
    const slow = slowness(interval)
    if (this.#seeking !== undefined) {
      if (this.#intervals < Math.ceil(3 * slow) || (this.#successes < enough && this.#intervals < longest)) {
        return this.#decide("Climbing", "the trial goes on")
      }
      const reason = this.#seek(this.#trial(), slow)
      this.#startTrial(slow)
      return this.#decide("Climbing", reason ?? "a number to begin with is found")
    }
    if (this.#tick % this.#length !== 0) return this.#decide("Climbing", "the trial goes on")
    const reason = this.#entire ? this.#compare(this.#trial()) : "a first trial"
    this.#fitLength(slow)
    this.#startTrial(slow)
    return this.#decide("Climbing", reason)
  }

  #trial(): Trial {
    const successes = this.#successes + 0.5
    return {
      running: this.#busyTime / this.#seconds / 1000,
      worth: (successes / this.#seconds) * (successes / (this.#done + 0.5)),
      successes,
      fails: 1 - successes / (this.#done + 0.5)
    }
  }

  /** So that those that began before a change have ended in its first part, and `enough` end in the rest. */
  #fitLength(slow: number): void {
    const over = passedOver(slow)
    const waited = slow < (this.#length > shortest ? lingering / 2 : lingering) ? 1 : over + Math.ceil(1.5 * slow)
    const needed = Math.max(waited, over + (enough * this.#intervals) / Math.max(1, this.#successes))
    if (needed > this.#length) this.#length = Math.min(longest, 2 * this.#length)
    else if (needed < this.#length / 2) this.#length = Math.max(shortest, this.#length / 2)
  }

  /**
   * The start where handlers are slow, so that few comparisons are made: half as many slots while little is lost, or, where much
   * is, twice as many while what gets done follows, as TCP does it. Less comes first, since too many slow ones are long in
   * ending. `undefined` once a number is found.
   */
  #seek(trial: Trial, slow: number): string | undefined {
    const before = this.#before
    const seeking = this.#seeking
    this.#before = trial
    // Quick ones are soon compared.
    if (slow < slowly) return this.#sought(this.#middle)
    if (trial.fails > fewFailures) return this.#sought(trial.running / 2)
    if (before === undefined) return this.#seekOn(0.5)
    const [few, many] = trial.running > before.running ? [before, trial] : [trial, before]
    const more = Math.log(many.running / few.running)
    // A bound, or nothing to tell by.
    if (more < 0.3) return this.#sought(this.#middle)
    const gain = Math.log(many.worth / few.worth) / more
    const chance = Math.sqrt(1 / few.successes + 1 / many.successes) / more
    const follows = gain + chance / 2 > 1 - follow
    if (seeking !== "less" && follows) {
      this.#seeking = "more"
      this.#before = many
      return this.#seekOn((2 * many.running) / this.#middle)
    }
    const knee = Math.min(many.running, few.running * Math.max(1, many.worth / few.worth))
    // The half costs: back to the whole.
    if (gain > worthwhile) return this.#sought(many.running)
    if (seeking === "more") return this.#sought(knee)
    this.#seeking = "less"
    return this.#seekOn(0.5)
  }

  #seekOn(ratio: number): string {
    this.#middle = this.#within(this.#middle * ratio)
    return ratio > 1 ? "twice as many, to begin with" : "half as many, to begin with"
  }

  #sought(middle: number): undefined {
    this.#seeking = undefined
    this.#move(middle)
  }

  /** With the trial before, at the other number of slots. */
  #compare(trial: Trial): string {
    const before = this.#before
    this.#before = trial
    const rate = Math.log(trial.worth)
    const shift = this.#usual === undefined ? 0 : rate - this.#usual
    // The downstream has changed, where it does so twice: no number of slots in question could make such a difference.
    if (Math.abs(shift) > Math.max(jump, 3 / Math.sqrt(trial.successes))) {
      const again = this.#shifted * shift > 0
      this.#shifted = shift
      if (!again) return "the throughput is not what it was: looking again"
      this.#move(this.#middle * Math.min(1, Math.max(0.5, Math.exp(shift))))
      return `the throughput has changed by ${((Math.exp(shift) - 1) * 100).toFixed(0)} %`
    }
    this.#shifted = 0
    this.#usual = this.#usual === undefined ? rate : this.#usual + (rate - this.#usual) / 4
    const more = before === undefined ? 0 : Math.log(trial.running / before.running)
    if (before === undefined || Math.abs(more) < 0.03) return "a first trial"
    // Twice, since each trial is in two comparisons.
    const variance = (2 * (1 / trial.successes + 1 / before.successes)) / more ** 2
    this.#gains = [
      ...this.#gains.slice(1 - memory),
      { gain: Math.log(trial.worth / before.worth) / more, weight: 1 / variance }
    ]
    const weight = sum(this.#gains.map((one) => one.weight))
    const mean = sum(this.#gains.map((one) => one.gain * one.weight)) / weight
    // What the gains themselves vary by, where that is more than chance in independent counts; or less, once that is known.
    const spread =
      sum(this.#gains.map((one) => (one.gain - mean) ** 2 * one.weight)) / Math.max(1, this.#gains.length - 1)
    const error = Math.sqrt(Math.max(this.#gains.length < memory / 2 ? 1 : evenly, spread) / weight)
    this.#gain = mean
    const size = Math.log(this.#middle / usual)
    const excess = mean - Math.max(0.05, worthwhile + dearer * size)
    const found = `a tenth more slots bring ${(mean * 10).toFixed(1)} % more`
    const certainty = Math.abs(excess) / error
    if (certainty < (excess < 0 ? likelyLess : likely)) return `${found}, which may be chance`
    // Up by the root of the number rather than in proportion to it.
    const step = Math.min(Math.LN2, Math.max(-0.5, excess > 0 ? excess * Math.min(2, Math.exp(-size / 2)) : excess))
    if (certainty < certain) {
      // A little, and what was found so far holds there too.
      this.#middle = this.#within(this.#middle * Math.exp(step / 4))
    } else {
      this.#move(this.#middle * Math.exp(step))
    }
    return found
  }

  #move(middle: number): void {
    this.#middle = this.#within(middle)
    this.#gains = []
    this.#before = undefined
    this.#usual = undefined
  }

  #within(middle: number): number {
    return Math.max(this.#options.min, Math.min(this.#ceiling, middle))
  }

  /** More than what overload has shown is tried a little at a time, and the seldomer the oftener it was too much. */
  #raiseCeiling(now: number): void {
    if (now < this.#ceilingUntil || this.#ceiling >= this.#options.max) return
    this.#ceiling = Math.min(this.#options.max, Math.max(this.#ceiling + 1, this.#ceiling * this.#raise))
    this.#raise = Math.min(2, this.#raise ** 2)
    this.#ceilingUntil = now + this.#penance
  }

  #backOff(interval: Seen, share: number, reason: string): Decision {
    const stage = interval.stages[this.#options.stage]
    const running = Math.max(1, stage === undefined ? this.#middle : stage.busyTime / interval.seconds / 1000)
    // At a ceiling that was raised a little it was that little.
    const known = this.#ceiling < this.#options.max && running <= this.#ceiling * smallSwing && share < mild
    this.#seeking = undefined
    this.#penance = known ? Math.min(longestPenance, 2 * this.#penance) : penance
    this.#raise = aLittle
    this.#ceiling = Math.max(this.#options.min, Math.min(this.#ceiling, running) * (known ? 0.94 : 0.9))
    this.#ceilingUntil = interval.to + this.#penance
    this.#move(known ? this.#ceiling : Math.min(running, this.#middle) * backOff)
    this.#forget()
    this.#passOver = Math.max(1, passedOver(slowness(interval)))
    return { slots: this.#whole, state: this.#state("BackedOff", reason) }
  }

  #startTrial(slow: number): void {
    this.#clear()
    this.#entire = this.#tick % this.#length === 0
    this.#passOver = Math.min(passedOver(slow), this.#seeking === undefined ? this.#length - 1 : longest)
  }

  #clear(): void {
    this.#seconds = 0
    this.#successes = 0
    this.#done = 0
    this.#busyTime = 0
    this.#intervals = 0
  }

  #forget(): void {
    this.#clear()
    this.#entire = false
    this.#before = undefined
  }

  get #whole(): number {
    return Math.round(this.#middle)
  }

  #decide(_tag: State["_tag"], reason: string): Decision {
    const { max, min } = this.#options
    // Beside a ceiling that overload has shown, below it and not by much.
    const near = this.#ceiling < max && this.#middle * swing > this.#ceiling
    const most = near ? Math.max(min + 1, Math.round(this.#ceiling)) : max
    if (this.#seeking !== undefined) return { slots: this.#whole, state: this.#state(_tag, reason) }
    const ratio = near ? Math.sqrt(smallSwing) : swing
    // At a bound the other side goes further, so that there is enough between them to tell.
    const middle = Math.max(min * ratio, Math.min(most / ratio, this.#middle))
    const lower = Math.max(min, Math.min(most - 1, Math.round(middle / ratio)))
    const upper = Math.min(most, Math.max(lower + 1, Math.round(middle * ratio)))
    // The lower until a trial can be a whole one: after overload, that above all.
    const up = this.#entire && Math.floor(this.#tick / this.#length) % 2 === 1
    return { slots: up ? upper : lower, state: this.#state(_tag, reason) }
  }

  #state(_tag: State["_tag"], reason: string): State {
    return { _tag, concurrency: this.#whole, gain: this.#gain, reason }
  }
}

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((a, b) => a + b, 0)

/** A handler's time, in intervals; the few that take very long do not count. */
const slowness = ({ handler, seconds }: Seen): number =>
  Math.min(Histogram.mean(handler) ?? 0, 2 * (Histogram.quantile(handler, 0.5) ?? 0)) / (seconds * 1000)

const passedOver = (slow: number): number => (slow < slowly ? 0 : Math.min(longest / 2, Math.ceil(slow)))

/** What, other than its slots, limits the stage. */
const heldBy = (interval: Seen, stage: SeenStage): string | undefined =>
  interval.paused
    ? "the consumer is paused"
    : stage.circuit === "none" || stage.circuit === "probes"
      ? "the circuit is not closed"
      : stage.busy >= saturated
        ? undefined
        : interval.fullFor > interval.seconds * 500
          ? "all permits are taken and slots are free: a larger maxInFlight, or more groups, would use them"
          : "not all slots were busy: too little waits for them"
