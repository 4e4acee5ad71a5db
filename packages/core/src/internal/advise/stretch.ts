/** How much longer handlers take than they did, and why: time has passed, or more run at once. */
import type * as Figures from "../../Figures.js"
import { type Lag, meanTime } from "./lag.js"
import { weightedMedian } from "./norm.js"
import { asManyBy } from "./probes.js"
import { enough, ramp, sumOf } from "./readings.js"

/** What handlers took as a rule that had about so many beside them, and what it may have been, of so few. */
const usualAt = ({ well }: Lag, running: number): { readonly time: number; readonly atMost: number } | undefined => {
  const alike = well
    .flatMap(({ byRunning }) => byRunning)
    .filter((level) => level.running >= 0.7 * running && level.running <= 1.5 * running)
  const handlers = sumOf(alike, (level) => level.handlers)
  if (handlers < enough) return undefined
  // At worst a handler's time grows as their number does.
  const those = sumOf(alike, (level) => level.handlers * level.running) / handlers
  const time = (sumOf(alike, (level) => level.time) / handlers) * Math.max(1, running / those)
  return { time, atMost: time * (1.15 + 1 / Math.sqrt(handlers)) }
}

/**
 * How many times as long handlers take as those did, when it was well, that had as many beside them when they began; of a
 * flow that comes in lumps the average number says little of what each met. What has become slow is slow with few beside it
 * too: by those with no more beside them than half of all had then, where they are enough to tell. `undefined` where too few
 * are alike.
 */
const overAlike = ({ norm, now }: Lag): number | undefined => {
  const over = (most: number) => {
    let handlers = 0
    let then = 0
    let time = 0
    for (const level of now.byRunning) {
      const before = norm?.byRunning.find(({ running }) => running === level.running)
      if (before === undefined || before.handlers < enough / 2 || level.running > most) continue
      handlers += level.handlers
      time += level.time
      then += (level.handlers * before.time) / before.handlers
    }
    return handlers < 3 * enough ? undefined : time / then
  }
  const all = over(Infinity)
  const few = over(middleLevel(norm) ?? 0)
  return all === undefined || few === undefined ? all : Math.min(all, few)
}

/** No more than so many were beside half of the handlers, themselves included. */
const middleLevel = (interval: Figures.Interval | undefined): number | undefined =>
  weightedMedian((interval?.byRunning ?? []).map(({ handlers, running }) => [running, handlers]))

/** Handlers since it began, by how many were beside them: of the moments in which it began only those that had more than usual. */
const sinceOnset = ({ began, norm, now, onset }: Lag): ReadonlyArray<Figures.AtRunning> => {
  const [first, ...rest] = onset
  const unusual = ({ running: level }: Figures.AtRunning) =>
    (norm?.byRunning.find((one) => one.running === level)?.handlers ?? 0) < 0.02 * (norm?.handler.count ?? 0)
  return [
    ...[...began, ...(first === undefined ? [] : [first])].flatMap(({ byRunning }) => byRunning.filter(unusual)),
    ...[...rest, now].flatMap(({ byRunning }) => byRunning)
  ].filter(({ handlers, time }) => handlers > 0 && time > 0)
}

/**
 * Whether handlers have become slow, or what they call is full: which of two descriptions comes nearer to what they took
 * since it began. Slow, each takes so many times as long, however many are beside it; full, each takes as long as ever up to
 * so many at once, and from there in proportion. By how much the latter is off more, in squares of standard errors, where
 * times vary as waiting times do.
 */
const slowerThanFull = (lag: Lag, usual: number): number => {
  // Neither description is nearer than a tenth to what happens, however many have been seen.
  const levels = sinceOnset(lag).map(({ handlers, running, time }) => ({
    running,
    growth: Math.log(time / handlers / usual),
    weight: 1 / (1 / handlers + 0.01)
  }))
  const off = (expected: (running: number) => number) =>
    sumOf(levels, ({ growth, running, weight }) => weight * (growth - expected(running)) ** 2)
  const slow =
    sumOf(levels, ({ growth, weight }) => weight * growth) /
    Math.max(
      1,
      sumOf(levels, ({ weight }) => weight)
    )
  // It was not full yet with as many as half of them had when it was well.
  let full = Infinity
  const most = levels.reduce((most, { running }) => Math.max(most, running), 1)
  for (let capacity = Math.max(1, middleLevel(lag.norm) ?? 1); capacity <= most; capacity *= 1.05) {
    full = Math.min(
      full,
      off((running) => Math.log(Math.max(1, running / capacity)))
    )
  }
  return Number.isFinite(full) ? full - off(() => slow) : 0
}

/** What concurrency adds to what time explains: the quickest of many means is quick by chance too, so only what is plain. */
const beside = (overQuick: number, byTime: number): number =>
  byTime > 1 && overQuick < 1.5 * byTime ? 1 : Math.max(1, overQuick / byTime)

/**
 * What was asked of the downstream and given, in runs that succeed: one that fails is served as well, for as long as it
 * takes. Who counts only what succeeds takes a downstream that is as quick as ever for one that has become slow.
 */
const served = ({ failedTime, handler, stats: { failed, handled } }: Figures.Interval): number => {
  const succeeded = handler.sum - failedTime
  return handled === 0 || succeeded <= 0
    ? handled + failed
    : handled + Math.min(failed, (failedTime * handled) / succeeded)
}

/** The most that was served a second for as long as six intervals. */
const mostDone = (well: ReadonlyArray<Figures.Interval>): number =>
  well.reduce((most, _, i) => {
    const some = well.slice(i, i + 6)
    const seconds = sumOf(some, (interval) => interval.seconds)
    return some.length < Math.min(6, well.length) ? most : Math.max(most, sumOf(some, served) / seconds)
  }, 0)

/** How much longer a handler takes now than before: by time passed, and by how many run beside it. */
export const stretched = (lag: Lag): { readonly byTime: number; readonly byConcurrency: number } => {
  const { handlerTime, norm, now, perSlot, quick, running, several, usualTime } = lag
  const none = { byTime: 1, byConcurrency: 1 }
  if (handlerTime === undefined || lag.runs < enough) return none
  const { error, mean } = meanTime(now.handler)
  const surely = handlerTime * Math.max(1 - (2 * error) / Math.max(mean, 1e-9), 0.5)
  const overUsual = usualTime === undefined || surely < 1.15 * usualTime ? 1 : handlerTime / usualTime
  const overQuick = quick === undefined || surely < 1.15 * quick.atMost ? 1 : handlerTime / quick.time
  if (norm === undefined || usualTime === undefined) return { byTime: 1, byConcurrency: overQuick }
  if (overUsual === 1 && overQuick === 1) return none
  // A downstream that is full gives as much to many as it gave to few, or to more; one that gives less than it once did
  // has changed. One that is given less, since slots stand idle for want of messages, has not shown what it gives.
  const rate = served(now) / now.seconds
  const busy = running >= 0.8 * lag.slots
  if (busy && rate < 0.93 * mostDone(lag.well)) return { byTime: overUsual, byConcurrency: 1 }
  const alike = busy ? undefined : overAlike(lag)
  if (alike !== undefined && !several) {
    const byTime = alike < 1.15 ? 1 : Math.min(overUsual, alike)
    return { byTime, byConcurrency: beside(overQuick, byTime) }
  }
  // The same concurrency before and now tells the two apart at once.
  const then = several ? undefined : usualAt(lag, running * perSlot)
  if (then !== undefined) {
    const byTime = Math.min(overUsual, surely < then.atMost ? 1 : handlerTime / then.time)
    return { byTime, byConcurrency: beside(overQuick, byTime) }
  }
  // Of several stages the slow one's part of those alike is another than it was: at most all of them instead of its share.
  const slow = several ? (alike ?? 0) > 1.15 * now.stages.length : slowerThanFull(lag, usualTime) > 3
  if (slow) return { byTime: overUsual, byConcurrency: 1 }
  return { byTime: 1, byConcurrency: Math.max(overQuick, overUsual) }
}

/** Whether more at once only make each slower: 1 where the time grows as they do, 0 where it does not. */
export const saturation = (
  { handlerTime, perSlot, probes, quick, running, several }: Lag,
  byConcurrency: number
): number =>
  asManyBy(probes, running) !== undefined
    ? 1
    : several
      ? ramp(byConcurrency, 1.2, 1.8)
      : quick === undefined || handlerTime === undefined || byConcurrency <= 1 || running * perSlot <= quick.running
        ? 0
        : ramp(Math.log(byConcurrency) / Math.log((running * perSlot) / quick.running), 0.3, 0.7)
