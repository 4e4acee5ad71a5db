/**
 * What every benchmark does: rounds in which the contestants take turns, medians of their figures, a table, and one
 * line of JSON. Absolute times of a shared machine tell little; ratios taken within one round do.
 */
import { execFile } from "node:child_process"
import * as os from "node:os"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"

/** What one contestant did in one round. */
export interface Figures {
  readonly messagesPerSecond: number
  /** CPU time of this process, in microseconds a message; servers run in their own. */
  readonly cpuMicros: number
  /** Calls of the queue for 1,000 messages: the floor is 200, a receive and a delete for each ten. */
  readonly callsPer1000?: number | undefined
  /** CPU time of the server's process, where there is one. */
  readonly serverCpuMicros?: number | undefined
  /** The same while the compiler was still at work: in the first seconds of a process. */
  readonly youngMessagesPerSecond?: number | undefined
  readonly youngCpuMicros?: number | undefined
  /** Part of the handler slots' time in which they ran a handler. */
  readonly busyShare?: number | undefined
}

export interface Contestant {
  readonly name: string
  readonly round: Effect.Effect<Figures>
}

export interface Settings {
  /** A short form, for a first look: fewer messages and rounds. */
  readonly quick: boolean
  /** Also the variants that say little new. */
  readonly all: boolean
}

/** A bound that the project gives itself, beside the figure. */
export interface Bound {
  readonly what: string
  readonly figure: number
  readonly limit: string
  readonly holds: boolean
}

export interface Report {
  readonly title: string
  /** Each a name and its figures; `ours` among them, by that name. */
  readonly rows: ReadonlyArray<readonly [name: string, figures: Readonly<Record<string, number>>]>
  /** Which figure is compared, where there is anything to compare with. */
  readonly ratioOf?: string | undefined
  /** Ours over each peer's. */
  readonly ratio: Readonly<Record<string, number>>
  readonly bounds: ReadonlyArray<Bound>
  /** How it was set up; what a reader must know to judge it. */
  readonly notes: ReadonlyArray<string>
}

export interface Benchmark {
  readonly about: string
  readonly run: (settings: Settings) => Effect.Effect<Report>
}

export const ours = "millrace"

// ------------------------------------------------------------------------------------------------------------ rounds

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

export type Results = ReadonlyMap<string, ReadonlyArray<Figures>>

/** Runs all contestants in each round, backwards in every other one, so that none always comes first. */
export const compete = (contestants: ReadonlyArray<Contestant>, rounds: number): Effect.Effect<Results> =>
  Effect.gen(function* () {
    const results = new Map(contestants.map(({ name }): [string, Array<Figures>] => [name, []]))
    for (let round = 0; round < rounds; round++) {
      for (const { name, round: run } of round % 2 === 0 ? contestants : [...contestants].reverse()) {
        yield* collectGarbage
        results.get(name)?.push(yield* run)
      }
    }
    return results
  })

export const collectGarbage = Effect.sync(() => globalThis.gc?.())

const always = ["messagesPerSecond", "cpuMicros", "callsPer1000"] as const

/** The median of each figure. */
const medians = (figures: ReadonlyArray<Figures>, keys: ReadonlyArray<keyof Figures>): Record<string, number> => {
  const out: Record<string, number> = {}
  for (const key of keys) {
    const values = figures.flatMap((each) => each[key] ?? [])
    if (values.length > 0) out[key] = median(values)
  }
  return out
}

export const rowsOf = (results: Results, ...more: ReadonlyArray<keyof Figures>): Report["rows"] =>
  [...results].map(([name, figures]) => [name, medians(figures, [...always, ...more])] as const)

/** The median over the rounds of ours ÷ theirs in the same round. */
export const ratioTo = (results: Results, peer: string, key: keyof Figures): number => {
  const theirs = results.get(peer) ?? []
  return median(
    (results.get(ours) ?? []).map((mine, i) => (mine[key] ?? Number.NaN) / (theirs[i]?.[key] ?? Number.NaN))
  )
}

export const ratiosOf = (results: Results, key: keyof Figures): Record<string, number> =>
  Object.fromEntries(
    [...results.keys()].filter((name) => name !== ours).map((name) => [name, ratioTo(results, name, key)])
  )

export const atMost = (what: string, figure: number, limit: number): Bound => ({
  what,
  figure,
  limit: `≤ ${limit}`,
  holds: figure <= limit
})

export const atLeast = (what: string, figure: number, limit: number): Bound => ({
  what,
  figure,
  limit: `≥ ${limit}`,
  holds: figure >= limit
})

// --------------------------------------------------------------------------------------------------------- measuring

/** Wall and CPU time of an effect, in microseconds. */
export const timed = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<{ readonly value: A; readonly wall: number; readonly cpu: number }, E, R> =>
  Effect.suspend(() => {
    const cpu = cpuTime()
    const started = performance.now()
    return Effect.map(effect, (value) => ({
      value,
      wall: (performance.now() - started) * 1000,
      cpu: cpuTime() - cpu
    }))
  })

/** CPU time of this process so far, in microseconds. */
export const cpuTime = (): number => {
  const { system, user } = process.cpuUsage()
  return user + system
}

/** Waits on the wall clock. */
export const pause = (millis: number): Effect.Effect<void> => Effect.promise(() => sleep(millis))

// ----------------------------------------------------------------------------------------------------------- printing

export const machine = () => ({
  at: new Date().toISOString(),
  node: process.version,
  cpu: os.cpus()[0]?.model ?? "unknown",
  cores: os.availableParallelism(),
  load: os.loadavg().map((load) => Math.round(load * 100) / 100)
})

const titles: Readonly<Record<string, string>> = {
  messagesPerSecond: "messages/s",
  cpuMicros: "µs CPU/message",
  callsPer1000: "calls/1,000",
  serverCpuMicros: "server's",
  busyShare: "slots busy",
  youngMessagesPerSecond: "first: messages/s",
  youngCpuMicros: "first: µs CPU",
  sendsPer1000: "sends/1,000",
  groupsPerSend: "groups a send",
  deletesPer1000: "deletes/1,000",
  receivesPerDelete: "receives a delete",
  importMillis: "ms CPU to import",
  wallMillis: "ms",
  cpuMillis: "ms CPU",
  bundleKiB: "KiB",
  withoutSdkKiB: "KiB, the SDK left out"
}

const shown = (key: string, value: number): string => {
  if (key === "busyShare") return `${(value * 100).toFixed(1)} %`
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 3
  return value.toLocaleString("en", { maximumFractionDigits: digits })
}

const table = ({ ratio, ratioOf, rows }: Report): string => {
  const keys = [...new Set(rows.flatMap(([, figures]) => Object.keys(figures)))]
  const compared = Object.keys(ratio).length > 0
  const lines = [
    ["", ...keys.map((key) => titles[key] ?? key), ...(compared ? [`${ours} ÷ it`] : [])],
    ...rows.map(([name, figures]) => [
      name,
      ...keys.map((key) => {
        const value = figures[key]
        return value === undefined ? "" : shown(key, value)
      }),
      ...(compared ? [ratio[name] === undefined ? "" : ratio[name].toFixed(3)] : [])
    ])
  ]
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)))
  const text = lines.map((line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ")
  )
  return [
    ...text,
    ...(compared ? [`(${ours} ÷ it: of ${titles[ratioOf ?? ""] ?? ratioOf}, within each round)`] : [])
  ].join("\n")
}

export const print = (name: string, report: Report, json: boolean): void => {
  const { at, cores, cpu, load, node } = machine()
  console.log(`${name}: ${report.title}\n`)
  console.log(table(report))
  for (const { figure, holds, limit, what } of report.bounds) {
    console.log(`${what}: ${shown("", figure)} (${limit}: ${holds ? "holds" : "DOES NOT HOLD"})`)
  }
  for (const note of report.notes) console.log(`- ${note}`)
  console.log(`- ${at}, node ${node}, ${cores} cores (${cpu}), load ${load.join(" ")}`)
  if (!json) return
  const figures = Object.fromEntries(report.rows)
  const peers = Object.fromEntries(report.rows.filter(([row]) => row !== ours))
  console.log(
    JSON.stringify({
      bench: name,
      ours: figures[ours] ?? {},
      peers,
      ratio: report.ratio,
      ratioOf: report.ratioOf,
      bounds: report.bounds,
      notes: report.notes,
      machine: machine()
    })
  )
}

/**
 * A round in a process of its own, as a program would use it: what the compiler learns of one contestant would slow down
 * the others.
 */
export const inChild = (
  script: string,
  name: string,
  args: ReadonlyArray<string> = [],
  env: Readonly<Record<string, string>> = {}
): Contestant => ({
  name,
  round: Effect.map(
    Effect.promise(() =>
      promisify(execFile)(process.execPath, ["--expose-gc", script, name, ...args], { env: { ...process.env, ...env } })
    ),
    ({ stdout }) => JSON.parse(stdout) as Figures
  )
})

/** The child's part: measures the contestant that it was told, and tells the figures. */
export const runChild = async <Program>(
  programs: Readonly<Record<string, Program>>,
  measure: (program: Program, ...args: ReadonlyArray<string>) => Effect.Effect<Figures>
): Promise<void> => {
  const [name = "", ...args] = process.argv.slice(2)
  const [, program] = Object.entries(programs).find(([each]) => each === name) ?? []
  if (program === undefined) throw new Error(`there is no contestant ${name}`)
  console.log(JSON.stringify(await Effect.runPromise(measure(program, ...args))))
}
