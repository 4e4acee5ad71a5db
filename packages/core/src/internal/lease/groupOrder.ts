/**
 * Lets items run one at a time in each of their lanes, in the order in which they came. A lane is there as long as
 * something is in it: idle groups cost nothing, and memory is bounded by what is in flight.
 *
 * Invariant 5 (order): an item is ready only when what was before it in all its lanes has been taken out, which is when
 * that has ended. And one that goes back to its queue must not be overtaken: what is `behind` it goes back first, the last
 * before the others, so that every state in between is in order.
 */
export interface Options<in A> {
  /** It is first in all its lanes and may run. Told once. */
  readonly onReady: (item: A) => void
  /** Whether it still may run; one that may not is passed over until it is removed. */
  readonly mayRun: (item: A) => boolean
}

interface Place {
  lanes: ReadonlyArray<string>
  ready: boolean
}

export interface Sequencer<in out A> {
  /** Puts an item at the end of these lanes, at least one. */
  readonly add: (lanes: ReadonlyArray<string>, item: A) => void
  /** Takes it out; what was behind it moves up. */
  readonly remove: (item: A) => void
  /** Takes it out of one of its lanes. */
  readonly leave: (lane: string, item: A) => void
  readonly has: (item: A) => boolean
  /** What is in a lane, in order. */
  readonly in: (lane: string) => Iterable<A>
  /** Items in a lane. */
  readonly length: (lane: string) => number
  /** Items in all lanes. */
  readonly size: () => number
}

/** Without lanes to begin with. */
export const make = <A>(options: Options<A>): Sequencer<A> => {
  // A Set keeps its order, and gives up any item at once: 100,000 messages of one group cost no more than of many.
  const lanes = new Map<string, Set<A>>()
  const places = new Map<A, Place>()

  const first = (lane: string): A | undefined => {
    const items = lanes.get(lane)
    return items === undefined ? undefined : items.values().next().value
  }

  const check = (item: A) => {
    const place = places.get(item)
    if (place === undefined || place.ready || !place.lanes.every((lane) => first(lane) === item)) return
    if (!options.mayRun(item)) return
    place.ready = true
    options.onReady(item)
  }

  const drop = (name: string, item: A) => {
    const lane = lanes.get(name)
    lane?.delete(item)
    if (lane?.size === 0) lanes.delete(name)
  }

  const moveUp = (name: string) => {
    const next = first(name)
    if (next !== undefined) check(next)
  }

  return {
    add: (names, item) => {
      places.set(item, { lanes: names, ready: false })
      for (const name of names) {
        const lane = lanes.get(name)
        if (lane === undefined) lanes.set(name, new Set([item]))
        else lane.add(item)
      }
      check(item)
    },
    remove: (item) => {
      const place = places.get(item)
      if (place === undefined) return
      places.delete(item)
      for (const name of place.lanes) drop(name, item)
      for (const name of place.lanes) moveUp(name)
    },
    leave: (name, item) => {
      const place = places.get(item)
      if (place === undefined || !place.lanes.includes(name)) return
      place.lanes = place.lanes.filter((other) => other !== name)
      drop(name, item)
      if (place.lanes.length === 0) places.delete(item)
      else check(item)
      moveUp(name)
    },
    has: (item) => places.has(item),
    in: (lane) => lanes.get(lane) ?? [],
    length: (lane) => lanes.get(lane)?.size ?? 0,
    size: () => places.size
  }
}

/** What can be put into the queue's own order. */
interface Sequenced {
  readonly message: { readonly sequence?: string | undefined }
}

/** @internal By the queue's own order, where it has one, or by arrival. */
export const latestFirst = <M extends Sequenced>(members: Iterable<M>): Array<M> =>
  [...members].reverse().sort((a, b) => {
    const [x, y] = [a.message.sequence ?? "", b.message.sequence ?? ""]
    return x < y ? 1 : x > y ? -1 : 0
  })

/** @internal What of a group is behind this place in it, in the order in which it must go back. */
export const behind = <M extends Sequenced>(sequence: string, group: Iterable<M>): Array<M> =>
  latestFirst(group).filter(({ message }) => (message.sequence ?? "") > sequence)
