import type { Chart, Line } from "../backpressure/Chart.js"
import * as Document from "../Document.js"
import { count, percentile, table } from "../Format.js"
import * as Day from "./Day.js"
import { max, type Played, type Plays, problem, type Sample, target } from "./Play.js"

const minutes = (n: number | undefined) =>
  n === undefined ? "–" : n < 100 ? `${n.toFixed(1)} min` : `${(n / 60).toFixed(1)} h`
const most = ({ samples }: Played, of: (sample: Sample) => number) => Math.max(...samples.map(of))

const facts = (played: Played): ReadonlyArray<readonly [string, string]> => [
  ["orders done", `${count(played.done)} of ${count(played.sent)}`],
  ["lost", count(played.lost + played.left)],
  ["done twice", count(played.again)],
  ["consumer-hours", played.hours.toFixed(1)],
  ["most consumers", count(most(played, ({ consumers }) => consumers))],
  ["drained on the way", count(played.drained)],
  ["most waiting", count(most(played, ({ backlog }) => backlog))],
  ["from sent to done, half of them", minutes(percentile(played.waits, 0.5))],
  ["95 %", minutes(percentile(played.waits, 0.95))],
  ["the longest", minutes(played.waits.at(-1))]
]

export const print = ({ advised, fixed }: Plays): string => {
  const other = facts(fixed)
  const rows = facts(advised).map(([term, value], i) => [term, value, other[i]?.[1] ?? ""])
  const wrong = [advised, fixed].flatMap((played) => problem(played) ?? [])
  return [
    table([["", advised.name, fixed.name], ...rows], ["left", "right", "right"]),
    ...(wrong.length === 0 ? ["", "Nothing was lost."] : ["", ...wrong])
  ].join("\n")
}

const line = (played: Played, of: (sample: Sample) => number, colour: Line["colour"]): Line => ({
  label: played.name,
  colour,
  points: played.samples.map((sample) => [sample.at, of(sample)])
})

export const html = ({ advised, fixed }: Plays): string => {
  const chart = (id: string, title: string, of: (sample: Sample) => number, words: string): Chart => ({
    id,
    title,
    x: "hours",
    description: `${words} ${advised.name}: at most ${count(Math.round(most(advised, of)))}. ${fixed.name}: at most ${count(Math.round(most(fixed, of)))}.`,
    lines: [line(advised, of, 1), line(fixed, of, 2)]
  })
  return Document.page(
    "A fleet by its own advice",
    `${count(advised.sent)} orders in a day: few at night, many at noon, and a campaign that brings ${Day.campaign.orders} at once at ${Day.campaign.at / 3600} o'clock. An order takes a consumer ${Day.work} seconds.`,
    Document.section(
      "By advice, and all day the same",
      [
        `Scaling.timeToDrain("${target} minutes") reads the queue once a minute and says how many consumers there should be, at most ${max}. They take a minute to start, and are drained when they go. It changed their number ${advised.changes} times, and paid for ${advised.hours.toFixed(1)} consumer-hours. The fixed fleet cost ${fixed.hours.toFixed(1)}: at noon it is too small, at night it idles.`,
        `${advised.drained} consumers were drained while orders came. ${problem(advised) === undefined ? "Each order was done, and nothing is left in the queue." : "Orders were lost."}`
      ],
      Document.facts(facts(advised)),
      [
        chart("backlog", "Orders waiting", ({ backlog }) => backlog, "Orders in the queue by the hour."),
        chart("consumers", "Consumers", ({ consumers }) => consumers, "Consumers that start, run or drain."),
        {
          ...chart(
            "drain",
            "Time to drain, in minutes",
            ({ drain }) => drain,
            "What the consumers there are would take for all that waits."
          ),
          limit: { label: `target: ${target}`, y: target }
        }
      ]
    )
  )
}
