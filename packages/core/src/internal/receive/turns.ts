/**
 * Of several queues, which one hands over next: by weight, so that each has its part of what is handed over while all
 * have something; or strictly the first one that has, with a floor for those behind it.
 */
export interface Turn {
  readonly member: number
  /** Deliveries, at most. */
  readonly most: number
}

export interface Turns {
  /** Of those that have something. */
  readonly next: (has: (member: number) => boolean) => Turn | undefined
  /** So many were handed over. */
  readonly took: (member: number, count: number) => void
  /** Whether it may have something before its betters have nothing. */
  readonly isOwed: (member: number) => boolean
}

/** How far one that had nothing falls behind, in deliveries: so many it makes good when it has something again. */
const mostOwed = 100

/** By weight: each delivery moves its queue on by what it is worth to it, and the hindmost is next. */
export const weighted = (weights: ReadonlyArray<number>): Turns => {
  const passed = weights.map(() => 0)
  let now = 0
  const weightOf = (member: number) => weights[member] ?? 1
  const of = (member: number) => Math.max(passed[member] ?? 0, now - mostOwed / weightOf(member))
  return {
    next: (has) => {
      let member: number | undefined
      weights.forEach((_, i) => {
        if (has(i) && (member === undefined || of(i) < of(member))) member = i
      })
      return member === undefined ? undefined : { member, most: Infinity }
    },
    took: (member, count) => {
      const before = of(member)
      now = Math.max(now, before)
      passed[member] = before + count / weightOf(member)
    },
    isOwed: () => false
  }
}

/** The first that has something; of what is handed over before it, each that comes later is owed `floor`. */
export const strict = (members: number, floor: number): Turns => {
  const owed = Array.from({ length: members }, () => 0)
  const isOwed = (member: number) => (owed[member] ?? 0) >= 1 - 1e-9
  return {
    isOwed,
    next: (has) => {
      // The last has waited for the longest.
      for (let member = members - 1; member > 0; member--) {
        if (isOwed(member) && has(member)) return { member, most: 1 }
      }
      for (let member = 0; member < members; member++) {
        if (has(member)) return { member, most: Infinity }
      }
      return undefined
    },
    took: (member, count) => {
      owed[member] = Math.max(0, (owed[member] ?? 0) - count)
      for (let later = member + 1; later < members; later++) {
        owed[later] = Math.min(1, (owed[later] ?? 0) + count * floor)
      }
    }
  }
}
