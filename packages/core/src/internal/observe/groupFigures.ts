/**
 * What a consumer tells of its groups: those with most in flight, those with the oldest heads, and those that take most of
 * the handlers' time. Each group is looked at for the first two, for its size and its head, and nothing is made of it; the
 * third are few, and the observer knows them. What costs more is done for those that are told.
 */
import type * as Figures from "../../Figures.js"
import { largest } from "../data/largest.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Observer } from "./observer.js"

interface Group {
  readonly name: string
  readonly members: ReadonlySet<InFlight>
}

/** All groups that have something in flight. */
export interface Groups extends Iterable<Group> {
  readonly size: number
  readonly in: (name: string) => Iterable<InFlight>
}

/** So many by each of the three. */
const mostGroups = 10

const headOf = (members: Iterable<InFlight>): InFlight | undefined => {
  let head: InFlight | undefined
  for (const member of members) {
    if (head === undefined || (member.message.sequence ?? "") < (head.message.sequence ?? "")) head = member
  }
  return head
}

export const groupFigures = (
  all: Groups,
  { byGroup, shares }: Pick<Observer, "byGroup" | "shares">
): Pick<Figures.Figures, "groups" | "groupsInFlight"> => {
  const most = largest(all, mostGroups, ({ members }) => members.size)
  const oldest = largest(all, mostGroups, ({ members }) => -(headOf(members)?.receivedAt ?? 0))
  const times = new Map(byGroup.largest(Infinity).map(({ atLeast, key }) => [key, atLeast]))
  const busiest = [...times.keys()].filter((name) => headOf(all.in(name)) !== undefined).slice(0, mostGroups)
  const names = new Set([...[...most, ...oldest].map(({ name }) => name), ...busiest])
  const groups: Array<Figures.Group> = []
  for (const group of names) {
    const members = [...all.in(group)]
    const head = headOf(members)
    if (head === undefined) continue
    groups.push({
      group,
      inFlight: members.length,
      share: shares.get(group) ?? 0,
      time: times.get(group) ?? 0,
      head: {
        messageId: head.message.id,
        receivedAt: head.receivedAt,
        attempt: head.attempt,
        running: head.startedAt !== undefined
      }
    })
  }
  return { groups, groupsInFlight: all.size }
}
