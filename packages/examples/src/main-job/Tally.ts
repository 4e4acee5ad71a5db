/** What the job computes: how many webhooks each repository had, by event. */
import { HashMap, Option, Order } from "effect"
import type { Webhook } from "./Webhook.js"

export type Tally = HashMap.HashMap<string, HashMap.HashMap<string, number>>

export const empty: Tally = HashMap.empty()

export const add = (tally: Tally, { event, payload }: Webhook): Tally =>
  HashMap.modifyAt(tally, payload.repository?.full_name ?? "(no repository)", (events) =>
    Option.some(
      HashMap.modifyAt(
        Option.getOrElse(events, () => HashMap.empty<string, number>()),
        event,
        (count) => Option.some(Option.getOrElse(count, () => 0) + 1)
      )
    )
  )

export interface Row {
  readonly repository: string
  readonly webhooks: number
  /** Most frequent first. */
  readonly events: ReadonlyArray<readonly [event: string, count: number]>
}

const byCount = Order.mapInput(Order.reverse(Order.number), ([, count]: readonly [string, number]) => count)
const byName = Order.mapInput(Order.string, ([name]: readonly [string, number]) => name)

/** Busiest first. */
export const rows = (tally: Tally): ReadonlyArray<Row> =>
  HashMap.toEntries(tally)
    .map(([repository, counts]) => ({
      repository,
      webhooks: HashMap.reduce(counts, 0, (sum, count) => sum + count),
      events: HashMap.toEntries(counts).sort(Order.combine(byCount, byName))
    }))
    .sort(
      Order.combine(
        Order.mapInput(Order.reverse(Order.number), (row: Row) => row.webhooks),
        Order.mapInput(Order.string, (row: Row) => row.repository)
      )
    )

export const total = (tally: Tally): number => rows(tally).reduce((sum, { webhooks }) => sum + webhooks, 0)
