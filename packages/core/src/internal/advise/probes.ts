/**
 * What so many slots got done while all of them were busy: the memory of load against throughput. Whoever changes the
 * slots makes an experiment; its outcome is kept, above and below the present number, so that no advice asks for more
 * where more gave no more, and none goes back and forth.
 */
import type * as Figures from "../../Figures.js"
import { sumOf } from "./readings.js"

export interface Probe {
  readonly at: number
  /** Slots that were busy on average. */
  readonly running: number
  /** Runs that succeeded a second, and how many that were. */
  readonly rate: number
  readonly runs: number
}

/** Fewer busy slots say what came, and not what they can do. */
const saturated = 0.93

export const probeOf = (interval: Figures.Interval, stage: number | undefined): Probe | undefined => {
  const one = stage === undefined ? undefined : interval.stages[stage]
  const { handled } = interval.stats
  if (one === undefined || one.busy < saturated || interval.seconds < 1) return undefined
  const running = one.busyTime / interval.seconds / 1000
  return { at: interval.to, running, rate: handled / interval.seconds, runs: handled }
}

/** How long an experiment counts, in milliseconds: what is called may be another by then. */
const remembered = 2 * 3_600_000

/** Of each number of slots, within a tenth, the latest few. */
export const remember = (probes: ReadonlyArray<Probe>, probe: Probe | undefined): ReadonlyArray<Probe> => {
  if (probe === undefined) return probes
  const level = ({ running }: Probe) => Math.round(Math.log(Math.max(running, 0.1)) / Math.log(1.1))
  const same = probes.filter((one) => level(one) === level(probe)).slice(-11)
  const others = probes.filter((one) => level(one) !== level(probe) && one.at > probe.at - remembered)
  return [...others, ...same, probe].sort((a, b) => a.at - b.at)
}

/** The fewest slots, well below the present, that got as much done; `undefined` where none is known to have. */
export const asManyBy = (probes: ReadonlyArray<Probe>, running: number): number | undefined => {
  const near = pooled(probes.filter((probe) => probe.running >= running / 1.12 && probe.running <= running * 1.12))
  if (near === undefined) return undefined
  let least: number | undefined
  const lower = probes.filter((probe) => probe.running < running / 1.25).sort((a, b) => b.running - a.running)
  for (const { running: level } of lower) {
    const there = pooled(lower.filter((one) => one.running >= level / 1.12 && one.running <= level * 1.12))
    if (there === undefined) continue
    const chance = 1.5 * Math.sqrt(1 / there.runs + 1 / near.runs)
    // Slots in proportion would have done less by the ratio of the two numbers.
    const proportion = running / level
    if (near.rate / there.rate < 1 + Math.min(0.35, (proportion - 1) / 3) - Math.min(chance, 0.1))
      least = Math.min(least ?? level, level)
  }
  return least
}

const pooled = (probes: ReadonlyArray<Probe>): { readonly rate: number; readonly runs: number } | undefined => {
  const runs = sumOf(probes, (probe) => probe.runs)
  const seconds = sumOf(probes, (probe) => (probe.rate === 0 ? 0 : probe.runs / probe.rate))
  return runs < 20 || seconds === 0 ? undefined : { rate: runs / seconds, runs }
}
