import type { Chart, Line } from "../backpressure/Chart.js"
import * as Document from "../Document.js"
import { count, table } from "../Format.js"
import * as Accounts from "./Accounts.js"
import type { Played } from "./Stage.js"

export interface Plays {
  readonly ours: Played
  readonly goesOn: Played
  readonly givesBack: Played
}

const ofLocked = ({ booked }: Played) => booked.filter(({ account }) => account === Accounts.lockedAccount)

export const doneAfter = (played: Played): number | undefined =>
  ofLocked(played).length < Accounts.steps ? undefined : Math.max(...ofLocked(played).map(({ at }) => at))

const seconds = (at: number | undefined) => (at === undefined ? "never" : `${at.toFixed(1)} s`)
const receivesOf = ({ receives }: Played) => receives.at(-1)?.[1] ?? 0

const facts = (played: Played): ReadonlyArray<readonly [string, string]> => [
  ["bookings done", `${count(played.booked.length)} of ${Accounts.bookings.length}`],
  ["overtaking an earlier one", count(played.overtaking)],
  [`account ${Accounts.lockedAccount} all done after`, seconds(doneAfter(played))],
  [`receives of account ${Accounts.lockedAccount}`, count(receivesOf(played))],
  ["dead-lettered", count(played.dead)],
  ["of those, never tried", count(played.untried)]
]

export const print = ({ givesBack, goesOn, ours }: Plays): string => {
  const all = [ours, goesOn, givesBack]
  const columns = all.map(facts)
  const rows = (columns[0] ?? []).map(([term], i) => [term, ...columns.map((column) => column[i]?.[1] ?? "")])
  return table([["", ...all.map(({ name }) => name)], ...rows], ["left", "right", "right", "right"])
}

const order = (played: Played, colour: Line["colour"]): Line => ({
  label: played.name,
  colour,
  points: ofLocked(played).map(({ at, step }) => [at, step])
})

const handed = ({ name, receives }: Played, colour: Line["colour"]): Line => ({ label: name, colour, points: receives })

const band = { label: "locked", from: 0, to: 12 }

const charts = (id: string, ours: Played, other: Played): ReadonlyArray<Chart> => [
  {
    id: `order-${id}`,
    title: `Account ${Accounts.lockedAccount}: which booking was done when`,
    description: `${ours.name}: in order, the last after ${seconds(doneAfter(ours))}. ${other.name}: ${other.overtaking} overtook an earlier one, all done after: ${seconds(doneAfter(other))}.`,
    lines: [order(ours, 1), order(other, 2)],
    band
  },
  {
    id: `receives-${id}`,
    title: `Account ${Accounts.lockedAccount}: messages handed out so far`,
    description: `${ours.name}: ${receivesOf(ours)}. ${other.name}: ${receivesOf(other)}.`,
    lines: [handed(ours, 1), handed(other, 2)],
    band
  }
]

export const html = ({ givesBack, goesOn, ours }: Plays): string =>
  Document.page(
    "FIFO: a head that fails",
    `Three accounts have ${Accounts.steps} bookings each, to be done in order, in groups of a FIFO queue with a visibility timeout of 30 seconds and a redrive policy that takes a message away after ${Accounts.maxReceiveCount} receives. The first booking of account ${Accounts.lockedAccount} fails for 12 seconds.`,
    [
      Document.section(
        "Millrace: the group waits behind its head",
        [
          "The head is tried again every 2 seconds. Its group stays leased here meanwhile, nothing overtakes it, the other accounts go on, and no receive is spent on waiting."
        ],
        Document.facts(facts(ours)),
        []
      ),
      Document.section(
        "A loop that goes on",
        [
          "It leaves what fails to its visibility timeout and takes the next of its receive. The bookings behind the head are done before it, and the head itself comes again after 30 seconds."
        ],
        Document.facts(facts(goesOn)),
        charts("on", ours, goesOn)
      ),
      Document.section(
        "A loop that gives back",
        [
          `It makes visible again what failed and all behind it. Order is kept, but each turn costs every message of the group a receive, and after ${Accounts.maxReceiveCount} the queue takes messages away: the head, which would have worked soon, and ${givesBack.untried} behind it that no handler had ever seen.`
        ],
        Document.facts(facts(givesBack)),
        charts("back", ours, givesBack)
      )
    ].join("\n")
  )
