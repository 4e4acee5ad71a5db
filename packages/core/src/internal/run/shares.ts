/**
 * Whose turn it is: slots go round among the keys that have something ready, each by its weight (deficit round robin:
 * Shreedhar and Varghese, "Efficient fair queuing", 1995), as far as a key's own slots and its rate allow.
 *
 * How much of a key may wait here follows from what is left: no more than the room that nobody takes (Choudhury and Hahne,
 * "Dynamic queue length thresholds for shared-memory packet switches", 1998). One key alone has half of it, two a third
 * each, and there is always some for a key that has nothing. What comes beyond that goes back, one after another, for the
 * time that its key needs to work on all that is before it.
 *
 * Each step takes the same time however many keys there are, but for keys that wait for their rate (O(log n) of those).
 * Memory is by what is in flight, and by keys whose bucket is not full again or who have something away.
 */
import { Heap } from "../data/heap.js"
import { Line, type Standing } from "../data/line.js"

/** What a key may have. */
export interface Terms {
  /** Run at once, at most. */
  readonly concurrency: number
  /** Begun a second, at most, and so many at once after a pause. */
  readonly rate: { readonly perSecond: number; readonly burst: number } | undefined
  /** At least 1. */
  readonly weight: number
  /** Waiting here, at most, whatever room there is. */
  readonly waiting: number
}

export interface Host {
  readonly terms: (key: string) => Terms
  /** In milliseconds. */
  readonly now: () => number
  /** How many may be in flight in all. */
  readonly room: () => number
}

class Entry<A> implements Standing<Entry<A>> {
  line: Line<Entry<A>> | undefined
  ahead: Entry<A> | undefined
  behind: Entry<A> | undefined
  /** Since when it runs. */
  startedAt: number | undefined
  readonly item: A
  readonly tenant: Tenant<A>

  constructor(item: A, tenant: Tenant<A>) {
    this.item = item
    this.tenant = tenant
  }
}

class Tenant<A> implements Standing<Tenant<A>> {
  line: Line<Tenant<A>> | undefined
  ahead: Tenant<A> | undefined
  behind: Tenant<A> | undefined
  /** In the order in which it runs. */
  readonly ready = new Line<Entry<A>>()
  waiting = 0
  running = 0
  /** How many more it may begin before it is the next one's turn. */
  credit = 0
  tokens: number
  filledAt: number
  /** When it has a token again, where it waits for that: it has its place among those that do. */
  dueAt = 0
  timed = -1
  /** When the last of what went back comes again. */
  backAt = 0
  readonly key: string | undefined
  readonly terms: Terms

  constructor(key: string | undefined, terms: Terms, now: number) {
    this.key = key
    this.terms = terms
    this.tokens = terms.rate?.burst ?? 0
    this.filledAt = now
  }
}

/** What has no key shares with nobody. */
const free: Terms = {
  concurrency: Infinity,
  rate: undefined,
  weight: 1,
  waiting: Infinity
}

/** What went back comes again somewhat earlier than its key is thought to need it: a slot must not wait for it. */
const headway = 1.25

/** How long a message stays away, at least and at most, in milliseconds; and how many of a key, for each that may be here. */
const shortestAway = 1000
const longestAway = 2 * 60 * 1000
const mostAway = 50

/** How long work takes before any has been seen to end, in milliseconds. */
const firstMillis = 100

/** Keys that are remembered before they are looked through for some that need not be. */
const fewKeys = 64

export class Shares<A> {
  readonly #host: Host
  readonly #tenants = new Map<string, Tenant<A>>()
  readonly #entries = new Map<A, Entry<A>>()
  /** The keys that may begin something now, in turn. */
  readonly #ring = new Line<Tenant<A>>()
  /** Those that wait for their rate, the first one first. */
  readonly #timed = new Heap<Tenant<A>>(
    (a, b) => a.dueAt < b.dueAt,
    (tenant, place) => {
      tenant.timed = place
    }
  )
  #sweepAt = fewKeys
  /** How long one run takes, on average of late. */
  #millis = firstMillis
  #ended = 0
  /** Until then a key has so much away that no more is looked for. */
  #fullUntil = 0
  /** Ready to run, of all keys. */
  ready = 0

  constructor(host: Host) {
    this.#host = host
  }

  /** What waits here or runs. */
  get size(): number {
    return this.#entries.size
  }

  /** Keys that are remembered. */
  get keys(): number {
    return this.#tenants.size
  }

  /** Keys that may begin something now. */
  get turns(): number {
    this.#due()
    return this.#ring.size
  }

  /**
   * How many of those that are ready are of use: of each key one, since more of the others is wanted; all of them while
   * so much is away that others are not looked for.
   */
  get useful(): number {
    return this.#host.now() < this.#fullUntil ? this.ready : this.turns
  }

  /** When there may be something to begin, or more to look for, though nothing happens. */
  get wakeAt(): number | undefined {
    // What is due already waits for a slot.
    this.#due()
    const due = this.#timed.peek?.dueAt
    const full = this.#fullUntil > this.#host.now() ? this.#fullUntil : undefined
    return due === undefined ? full : full === undefined ? due : Math.min(due, full)
  }

  /** Whether one more of a key has room to wait here; one that is spared takes what others leave, the last eighth excepted. */
  hasRoom(key: string | undefined, spared = false): boolean {
    const tenant = key === undefined ? undefined : this.#tenants.get(key)
    if (tenant === undefined || tenant.waiting === 0) return true
    const room = this.#host.room()
    const left = room - this.size
    return tenant.waiting < tenant.terms.waiting && (tenant.waiting < left || (spared && left > room / 8))
  }

  /** For how long one more of a key has to stay away, in milliseconds: until what is before it has been worked on. */
  awayFor(key: string): number {
    const now = this.#host.now()
    const tenant = this.#of(key)
    const { rate } = tenant.terms
    const most = (rate?.perSecond ?? Infinity) / 1000
    // By its slots, unless it is its rate that they wait for.
    const bySlots = (headway * Math.max(1, tenant.running)) / this.#millis
    const perMillis = rate !== undefined && (tenant.timed >= 0 || tenant.running === 0) ? most : Math.min(bySlots, most)
    // What waits here is worked on first; half of it is still here when the first one comes again.
    const from = Math.max(tenant.backAt, now + tenant.waiting / perMillis / 2)
    const longest = Math.max(shortestAway, Math.min(longestAway, (mostAway * this.#host.room()) / perMillis))
    tenant.backAt = Math.min(from + 1 / perMillis, now + longest)
    if (from + 1 / perMillis > now + longest)
      this.#fullUntil = Math.max(this.#fullUntil, now + Math.ceil(1 / perMillis))
    return Math.max(shortestAway, Math.ceil(tenant.backAt - now))
  }

  /** It waits here from now on. Without a key it shares with nobody. */
  add(key: string | undefined, item: A): void {
    const tenant = key === undefined ? new Tenant<A>(undefined, free, this.#host.now()) : this.#of(key)
    tenant.waiting++
    this.#entries.set(item, new Entry(item, tenant))
  }

  has(item: A): boolean {
    return this.#entries.has(item)
  }

  /** It may run as soon as it is its turn; `first` before the others of its key. */
  push(item: A, first = false): void {
    const entry = this.#entries.get(item)
    if (entry === undefined || entry.line !== undefined) return
    if (first) entry.tenant.ready.unshift(entry)
    else entry.tenant.ready.push(entry)
    this.ready++
    this.#enrol(entry.tenant)
  }

  /** What runs next, if anything may; from now on it does. */
  next(): A | undefined {
    this.#due()
    for (let tenant = this.#ring.first; tenant !== undefined; tenant = this.#ring.first) {
      const entry = tenant.ready.first
      if (entry === undefined || !this.#mayBegin(tenant)) {
        this.#withdraw(tenant)
        continue
      }
      if (tenant.credit < 1) tenant.credit += tenant.terms.weight
      tenant.credit--
      tenant.tokens--
      tenant.ready.remove(entry)
      this.ready--
      tenant.waiting--
      tenant.running++
      entry.startedAt = this.#host.now()
      if (tenant.ready.size === 0 || !this.#mayBegin(tenant)) {
        this.#withdraw(tenant)
      } else if (tenant.credit < 1) {
        this.#ring.remove(tenant)
        this.#ring.push(tenant)
      }
      return entry.item
    }
    return undefined
  }

  /** It runs no more, and waits here again. Where nothing `ran` its key has its token back. */
  waits(item: A, ran = true): void {
    const entry = this.#entries.get(item)
    if (entry === undefined || !this.#stops(entry, ran)) return
    const { tenant } = entry
    tenant.waiting++
    if (!ran) {
      tenant.tokens = Math.min(tenant.terms.rate?.burst ?? 0, tenant.tokens + 1)
      // It may have waited for one.
      if (tenant.timed >= 0) this.#timed.removeAt(tenant.timed)
    }
    this.#enrol(tenant)
  }

  /** It runs no more and is done with. */
  ends(item: A): void {
    const entry = this.#entries.get(item)
    if (entry !== undefined && this.#stops(entry)) this.#forget(entry)
  }

  /** It is not to run any more. One that runs still does, until it `ends`. */
  leaves(item: A): void {
    const entry = this.#entries.get(item)
    if (entry === undefined || entry.startedAt !== undefined) return
    const { tenant } = entry
    if (entry.line !== undefined) {
      tenant.ready.remove(entry)
      this.ready--
    }
    tenant.waiting--
    if (tenant.ready.size === 0) this.#withdraw(tenant)
    this.#forget(entry)
  }

  /** What is ready, by key. */
  *[Symbol.iterator](): Iterator<A> {
    for (const { item, line } of this.#entries.values()) if (line !== undefined) yield item
  }

  #stops(entry: Entry<A>, ran = true): boolean {
    if (entry.startedAt === undefined) return false
    if (ran) {
      // A mean at first, then one that forgets.
      this.#ended = Math.min(32, this.#ended + 1)
      this.#millis += (Math.max(1, this.#host.now() - entry.startedAt) - this.#millis) / this.#ended
    }
    entry.startedAt = undefined
    entry.tenant.running--
    return true
  }

  #forget({ item, tenant }: Entry<A>): void {
    this.#entries.delete(item)
    if (tenant.waiting + tenant.running > 0) this.#enrol(tenant)
    else this.#rests(tenant)
  }

  #of(key: string): Tenant<A> {
    const known = this.#tenants.get(key)
    if (known !== undefined) return known
    if (this.#tenants.size >= this.#sweepAt) {
      // Looked through each time that they have doubled: each costs a step or two in all.
      for (const tenant of this.#tenants.values()) this.#rests(tenant)
      this.#sweepAt = Math.max(fewKeys, 2 * this.#tenants.size)
    }
    const tenant = new Tenant<A>(key, this.#host.terms(key), this.#host.now())
    this.#tenants.set(key, tenant)
    return tenant
  }

  /** With nothing here it is remembered for as long as that makes a difference. */
  #rests(tenant: Tenant<A>): void {
    if (tenant.key === undefined || tenant.waiting + tenant.running > 0 || !this.#isAsNew(tenant)) return
    this.#tenants.delete(tenant.key)
  }

  #isAsNew(tenant: Tenant<A>): boolean {
    this.#fill(tenant)
    return tenant.backAt <= this.#host.now() && tenant.tokens >= (tenant.terms.rate?.burst ?? tenant.tokens)
  }

  #fill(tenant: Tenant<A>): void {
    const { rate } = tenant.terms
    const now = this.#host.now()
    if (rate !== undefined) {
      tenant.tokens = Math.min(rate.burst, tenant.tokens + ((now - tenant.filledAt) * rate.perSecond) / 1000)
    }
    tenant.filledAt = now
  }

  #hasToken(tenant: Tenant<A>): boolean {
    if (tenant.terms.rate === undefined) return true
    this.#fill(tenant)
    // A millisecond's rounding must not cost a turn.
    return tenant.tokens >= 1 - 1e-6
  }

  #hasSlot({ running, terms }: Tenant<A>): boolean {
    if (running >= terms.concurrency) return false
    // Where slots and permits are as many, one key must not take all of them.
    const room = this.#host.room()
    return running < Math.max(1, room - Math.ceil(room / 10))
  }

  #mayBegin(tenant: Tenant<A>): boolean {
    return this.#hasSlot(tenant) && this.#hasToken(tenant)
  }

  /** It takes its place among those whose turn comes, or among those who wait for their rate. */
  #enrol(tenant: Tenant<A>): void {
    if (tenant.line !== undefined || tenant.timed >= 0 || tenant.ready.size === 0) return
    if (!this.#hasSlot(tenant)) return
    if (this.#hasToken(tenant)) {
      this.#ring.push(tenant)
    } else {
      tenant.dueAt = this.#host.now() + Math.ceil(((1 - tenant.tokens) * 1000) / (tenant.terms.rate?.perSecond ?? 1))
      this.#timed.push(tenant)
    }
  }

  #withdraw(tenant: Tenant<A>): void {
    tenant.credit = 0
    this.#ring.remove(tenant)
    if (tenant.timed >= 0) this.#timed.removeAt(tenant.timed)
    this.#enrol(tenant)
  }

  #due(): void {
    const now = this.#host.now()
    for (let tenant = this.#timed.peek; tenant !== undefined && tenant.dueAt <= now; tenant = this.#timed.peek) {
      this.#timed.removeAt(0)
      this.#enrol(tenant)
    }
  }
}
