/** How much longer handlers take than they did, and why: time has passed, or more run at once. */
import type * as Figures from "../../Figures.js"
import { type Lag, meanTime } from "./lag.js"
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
 * flow that comes in lumps the average number says little of what each met. `undefined` where too few are alike.
 */
const overAlike = ({ norm, now }: Lag): number | undefined => {
  let handlers = 0
  let then = 0
  let time = 0
  for (const level of now.byRunning) {
    const before = norm?.byRunning.find(({ running }) => running === level.running)
    if (before === undefined || before.handlers < enough / 2) continue
    handlers += level.handlers
    time += level.time
    then += (level.handlers * before.time) / before.handlers
  }
  return handlers < 3 * enough ? undefined : time / then
}

/**
 * Whether handlers take as long whether few or many were beside them when they began, since it began: at a downstream that is
 * full their time grows in proportion. Of the moments in which it began only those count that had more beside them than was
 * usual. `false` where they hardly differ, so that nobody knows.
 */
const evenlySlow = ({ began, norm, now, onset }: Lag): boolean => {
  const [first, ...rest] = onset
  const unusual = ({ running: level }: Figures.AtRunning) =>
    (norm?.byRunning.find((one) => one.running === level)?.handlers ?? 0) < 0.02 * (norm?.handler.count ?? 0)
  const levels = [
    ...[...began, ...(first === undefined ? [] : [first])].flatMap(({ byRunning }) => byRunning.filter(unusual)),
    ...[...rest, now].flatMap(({ byRunning }) => byRunning)
  ].filter(({ handlers, time }) => handlers > 0 && time > 0)
  const all = Math.max(
    1,
    sumOf(levels, ({ handlers }) => handlers)
  )
  const x = ({ running }: Figures.AtRunning) => Math.log(running)
  const y = ({ handlers, time }: Figures.AtRunning) => Math.log(time / handlers)
  const middleX = sumOf(levels, (level) => level.handlers * x(level)) / all
  const middleY = sumOf(levels, (level) => level.handlers * y(level)) / all
  // Times vary as waiting times do at worst: the exponent's standard error is one over the root of this.
  const width = sumOf(levels, (level) => level.handlers * (x(level) - middleX) ** 2)
  const exponent = sumOf(levels, (level) => level.handlers * (x(level) - middleX) * (y(level) - middleY)) / width
  return width >= 9 && exponent < 0.5
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
  const alike = busy || several ? undefined : overAlike(lag)
  if (alike !== undefined) {
    const byTime = alike < 1.15 ? 1 : Math.min(overUsual, alike)
    return { byTime, byConcurrency: beside(overQuick, byTime) }
  }
  // The same concurrency before and now tells the two apart at once.
  const then = several ? undefined : usualAt(lag, running * perSlot)
  if (then !== undefined) {
    const byTime = Math.min(overUsual, surely < then.atMost ? 1 : handlerTime / then.time)
    return { byTime, byConcurrency: beside(overQuick, byTime) }
  }
  if (!several && evenlySlow(lag)) return { byTime: overUsual, byConcurrency: 1 }
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
