import type { Line } from "../backpressure/Chart.js"
import * as Document from "../Document.js"
import { count, table } from "../Format.js"
import { burst, lasts, type Played, slots } from "./Town.js"

export interface Plays {
  readonly alone: Played
  readonly without: Played
  readonly shared: Played
}

const seconds = (value: number) => `${value.toFixed(2)} s`

const facts = ({ done, p95, receives: [half, most] }: Played): ReadonlyArray<readonly [string, string]> => [
  ["quiet tenants: 95 % done within", seconds(p95)],
  ["handled, of all tenants", count(done)],
  ["receives of a noisy one's message: half of them, 95 %", half === 0 ? "-" : `${half}, ${most}`]
]

export const print = ({ alone, shared, without }: Plays): string => {
  const all = [alone, without, shared]
  const columns = all.map(facts)
  const rows = (columns[0] ?? []).map(([term], i) => [term, ...columns.map((column) => column[i]?.[1] ?? "")])
  return table([["", ...all.map(({ name }) => name)], ...rows], ["left", "right", "right", "right"])
}

/** The longest wait of those sent in each second. */
const worst = ({ name, waits }: Played, colour: Line["colour"]): Line => {
  const bySecond = new Map<number, number>()
  for (const [at, wait] of waits) bySecond.set(Math.floor(at), Math.max(bySecond.get(Math.floor(at)) ?? 0, wait))
  return { label: name, colour, points: [...bySecond] }
}

export const html = ({ alone, shared, without }: Plays): string =>
  Document.page(
    "Tenants: one noisy, 99 quiet",
    `A hundred tenants share a queue and ${slots} slots, at a load of 0.9. One of them has 90 % of the messages, and sends them ${burst} seconds' worth at once; the others send one now and then.`,
    [
      Document.section(
        "Without shares",
        ["The first one that came is the next: a quiet tenant's message waits behind all that the noisy one has sent."],
        Document.facts(facts(without)),
        [
          {
            id: "wait-without",
            title: "Quiet tenants: the longest from send to done, in seconds",
            description: `Without shares up to ${seconds(Math.max(...without.waits.map(([, wait]) => wait)))}, with shares up to ${seconds(Math.max(...shared.waits.map(([, wait]) => wait)))}, in ${lasts} seconds.`,
            lines: [worst(shared, 1), worst(without, 2)]
          }
        ]
      ),
      Document.section(
        "With shares",
        [
          "Slots go round among the tenants that have something. What the noisy one has beyond its share waits here as far as there is room, and goes back to the queue until its turn comes: the others' messages are found behind it."
        ],
        Document.facts(facts(shared)),
        [
          {
            id: "wait-shared",
            title: "The same, beside what it is without the noisy one",
            description: `With shares 95 % are done within ${seconds(shared.p95)}, without the noisy one within ${seconds(alone.p95)}.`,
            lines: [worst(shared, 1), worst(alone, 2)]
          }
        ]
      )
    ].join("\n")
  )
