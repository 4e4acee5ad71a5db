/**
 * A `LeaseQueue` in memory, driven by Effect's Clock: leases, long polls and redeliveries pass in virtual time under
 * `TestClock` and `Simulation`. It behaves as Amazon SQS does, standard or ordered (FIFO), and can be told to fail.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Fiber from "effect/Fiber"
import * as InvalidOptions from "../InvalidOptions.js"
import { Heap } from "../internal/data/heap.js"
import { fork as callbackFork, interrupt } from "../internal/effect/fork.js"
import type {
  Attribute,
  DeadLetterEntry,
  EntryFailure,
  EntryResult,
  ErrorKind,
  Lease,
  LeaseQueue,
  Message,
  ReceiveRequest,
  SetLeaseEntry
} from "../LeaseQueue.js"
import { type Backlog, Entry, ordered, standard } from "./internal/Backlog.js"

/** A call as a whole failed: because a fault was injected, or because it asked for more than the limits allow. */
export class MemoryQueueError extends Data.TaggedError("MemoryQueueError")<{
  readonly operation: Operation
  readonly kind: ErrorKind
  readonly message: string
}> {}

export type Operation = "receive" | "ack" | "setLease" | "deadLetter"

/** What goes wrong with one call. Without any field: nothing. */
export interface Fault {
  /** Before the call takes effect, beside the queue's latency. */
  readonly delay?: Duration.DurationInput | undefined
  /** The call fails and has no effect. */
  readonly fail?: ErrorKind | undefined
  /** The call takes effect, and its answer is lost: it fails all the same. */
  readonly drop?: ErrorKind | undefined
  /** Of ack, setLease and deadLetter: the entries for which a reason is given fail, without effect; the others go on. */
  readonly entries?: ((lease: Lease, index: number) => EntryFailure["reason"] | undefined) | undefined
}

/** A call about to be made, as `Options.faults` sees it. */
export interface Call {
  readonly operation: Operation
  /** The most messages asked for, or the number of entries. */
  readonly size: number
}

/** Something that happened to one message. */
export interface Event {
  readonly type: "Sent" | "Received" | "Acked" | "LeaseSet" | "Released" | "Expired" | "DeadLettered"
  /** Milliseconds on the Clock. */
  readonly at: number
  readonly id: string
  readonly body: string
  readonly group: string | undefined
  /** How often it has been received. */
  readonly attempt: number
}

export interface Options {
  /** Default: `memory`. Message ids begin with it. */
  readonly name?: string | undefined
  /** Messages of a group arrive in order, and each message needs a group. Default: false. */
  readonly ordered?: boolean | undefined
  /** Default: 30 seconds. */
  readonly leaseDuration?: Duration.DurationInput | undefined
  /** The longest a message may be leased in total. Default: 12 hours. */
  readonly maxLease?: Duration.DurationInput | undefined
  /** The longest a receive may wait. Default: 20 seconds. */
  readonly maxWait?: Duration.DurationInput | undefined
  /** Entries a call. Default: 10. */
  readonly batchSize?: number | undefined
  /** Whether there is a place for dead letters. Default: true. */
  readonly deadLetters?: boolean | undefined
  /**
   * A message received this often is dead-lettered by the queue itself when the next receive would return it. Default:
   * never.
   */
  readonly maxAttempts?: number | undefined
  /** What a call takes: half of it before the call takes effect, half before its answer arrives. Default: zero. */
  readonly latency?: Duration.DurationInput | undefined
  /**
   * A receive that is interrupted while it waits goes on at the queue: it leases what comes until its wait is over,
   * and nobody gets it. Default: false, it is withdrawn.
   */
  readonly strandAborted?: boolean | undefined
  /** Asked before each call for which nothing was injected; with Effect's Random a seed decides. */
  readonly faults?: ((call: Call) => Effect.Effect<Fault | undefined>) | undefined
  /** Told of everything that happens to a message, as it happens. */
  readonly onEvent?: ((event: Event) => void) | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  name: InvalidOptions.text,
  ordered: InvalidOptions.flag,
  leaseDuration: InvalidOptions.time(),
  maxLease: InvalidOptions.time(),
  maxWait: InvalidOptions.time(),
  batchSize: InvalidOptions.aWholeNumber({ min: 1 }),
  deadLetters: InvalidOptions.flag,
  maxAttempts: InvalidOptions.aNumber({ min: 1 }),
  latency: InvalidOptions.time(),
  strandAborted: InvalidOptions.flag,
  faults: InvalidOptions.func,
  onEvent: InvalidOptions.func
}

export interface SendMessage {
  readonly body: string
  /** Required where the queue is ordered. */
  readonly group?: string | undefined
  readonly attributes?: Readonly<Record<string, Attribute>> | undefined
}

export interface DeadLetter {
  readonly message: Message
  readonly reason: string
}

export interface Stats {
  readonly sent: number
  /** Waiting to be received, those that an ordered group holds back included. */
  readonly visible: number
  readonly inFlight: number
  /** The most that ever were in flight at once. */
  readonly peakInFlight: number
  /** Deleted because the work was done. */
  readonly acked: number
  readonly deadLettered: number
  /** Acks that came with a lease that had run out, whatever became of them. */
  readonly staleAcks: number
  /** Deliveries of a message that had been received before. */
  readonly redelivered: number
  /** Leases that ran out, and those ended by a `setLease` of zero. */
  readonly expired: number
  readonly released: number
  readonly calls: Readonly<Record<Operation, number>>
  /** Receives that answered with nothing. */
  readonly emptyReceives: number
  /** Receives that wait at this moment. */
  readonly waiting: number
}

/** The queue, and the handle on it that a test needs. */
export interface MemoryQueue extends LeaseQueue<MemoryQueueError> {
  /** Sends messages in order, a bare string being a body; answers with their ids. Cheap enough for a million. */
  readonly send: (messages: Iterable<string | SendMessage>) => Effect.Effect<ReadonlyArray<string>>
  /** How things stand now. */
  readonly stats: Effect.Effect<Stats>
  readonly deadLetters: Effect.Effect<ReadonlyArray<DeadLetter>>
  /** Waits until at least `n` messages are acked or dead-lettered. */
  readonly settled: (n: number) => Effect.Effect<void>
  /** Waits until every message that was sent is acked or dead-lettered. */
  readonly idle: Effect.Effect<void>
  /** The next `times` calls (default: 1) of the operation suffer this. Injected faults are used up in order. */
  readonly inject: (operation: Operation, fault: Fault, times?: number) => Effect.Effect<void>
}

/** A receive may be repeated by its attempt id for five minutes (SQS: `ReceiveRequestAttemptId`). */
const repeatable = 5 * 60_000

const noAttributes: Readonly<Record<string, Attribute>> = {}
const noSystem: Readonly<Record<string, string>> = {}
const done: EntryResult = Either.void

const failed = (reason: EntryFailure["reason"], message: string): EntryResult => Either.left({ reason, message })

/** The queue itself, synchronous: every operation is given the time. */
class Store {
  readonly received = new Map<string, Entry>()
  readonly deadLetters: Array<DeadLetter> = []
  sent = 0
  visible = 0
  inFlight = 0
  peakInFlight = 0
  acked = 0
  staleAcks = 0
  redelivered = 0
  expired = 0
  released = 0
  readonly #name: string
  readonly #ordered: boolean
  readonly #lease: number
  readonly #maxLease: number
  readonly #maxAttempts: number
  readonly #onEvent: Options["onEvent"]
  readonly #backlog: Backlog
  readonly #deadlines = new Heap<Entry>(
    (a, b) => a.deadline < b.deadline || (a.deadline === b.deadline && a.number < b.number),
    (entry, index) => {
      entry.slot = index
    }
  )
  readonly #repeats = new Map<string, { readonly at: number; readonly entries: ReadonlyArray<Entry> }>()

  constructor(options: {
    readonly name: string
    readonly ordered: boolean
    readonly lease: number
    readonly maxLease: number
    readonly maxAttempts: number
    readonly onEvent: Options["onEvent"]
  }) {
    this.#name = options.name
    this.#ordered = options.ordered
    this.#lease = options.lease
    this.#maxLease = options.maxLease
    this.#maxAttempts = options.maxAttempts
    this.#onEvent = options.onEvent
    this.#backlog = options.ordered ? ordered() : standard()
  }

  get settled(): number {
    return this.acked + this.deadLetters.length
  }

  get receivable(): boolean {
    return this.#backlog.receivable
  }

  /** When the next lease runs out. */
  get nextDeadline(): number {
    return this.#deadlines.peek?.deadline ?? Infinity
  }

  expire(now: number): void {
    let entry = this.#deadlines.peek
    while (entry !== undefined && entry.deadline <= now) {
      this.expired += 1
      this.#giveBack(entry)
      this.#tell("Expired", entry, entry.deadline)
      entry = this.#deadlines.peek
    }
  }

  send(now: number, message: string | SendMessage): string {
    this.sent += 1
    const id = `${this.#name}-${this.sent}`
    const entry =
      typeof message === "string"
        ? new Entry(this.sent, id, message, undefined, noAttributes, now)
        : new Entry(this.sent, id, message.body, message.group, message.attributes ?? noAttributes, now)
    this.visible += 1
    this.#backlog.send(entry)
    this.#tell("Sent", entry, now)
    return id
  }

  receive(now: number, max: number, attemptId: string | undefined): ReadonlyArray<Message> {
    this.expire(now)
    if (!this.#ordered || attemptId === undefined) return this.#take(now, max).map((entry) => this.#message(entry))
    const repeat = this.#repeats.get(attemptId)
    if (repeat !== undefined && now - repeat.at <= repeatable) {
      for (const entry of repeat.entries) this.#setDeadline(entry, now + this.#lease)
      return repeat.entries.map((entry) => this.#message(entry))
    }
    const entries = this.#take(now, max)
    if (entries.length > 0) {
      for (const entry of entries) entry.attemptId = attemptId
      this.#repeats.set(attemptId, { at: now, entries })
    }
    return entries.map((entry) => this.#message(entry))
  }

  ack(now: number, lease: Lease): EntryResult {
    this.expire(now)
    const entry = this.received.get(lease.messageId)
    if (entry?.state !== "inFlight" || entry.handle !== lease.handle) {
      if (!this.#known(lease)) return neverLeased(lease)
      if (entry === undefined) return done
      this.staleAcks += 1
      if (this.#ordered) return leaseOver(lease)
      // A standard queue takes the newest handle even when its time is over, and answers well to older ones in vain.
      if (entry.handle !== lease.handle) return done
    }
    this.#remove(entry)
    this.acked += 1
    this.#tell("Acked", entry, now)
    return done
  }

  setLease(now: number, { lease, duration }: SetLeaseEntry): EntryResult {
    this.expire(now)
    const entry = this.#leased(lease)
    if (entry === undefined) return this.#known(lease) ? leaseOver(lease) : neverLeased(lease)
    const millis = Duration.toMillis(duration)
    if (now + millis - entry.receivedAt > this.#maxLease) {
      return failed(
        "Rejected",
        `A lease of ${millis} ms more would exceed the ${this.#maxLease} ms that message ${entry.id} may be leased.`
      )
    }
    this.#forgetRepeat(entry)
    if (millis > 0) {
      this.#setDeadline(entry, now + millis)
      this.#tell("LeaseSet", entry, now)
    } else {
      this.released += 1
      this.#giveBack(entry)
      this.#tell("Released", entry, now)
    }
    return done
  }

  deadLetter(now: number, { message, reason }: DeadLetterEntry): EntryResult {
    this.expire(now)
    const entry = this.#leased(message.lease)
    if (entry === undefined) return this.#known(message.lease) ? leaseOver(message.lease) : neverLeased(message.lease)
    this.#remove(entry)
    this.#bury(now, entry, reason)
    return done
  }

  #take(now: number, max: number): ReadonlyArray<Entry> {
    return this.#backlog.take(max, (entry) => {
      this.visible -= 1
      if (entry.attempt >= this.#maxAttempts) {
        entry.state = "gone"
        this.received.delete(entry.id)
        this.#bury(now, entry, `received ${entry.attempt} times, the most that the queue allows`)
        return false
      }
      entry.state = "inFlight"
      entry.attempt += 1
      entry.handle = `${entry.id}/${entry.attempt}`
      entry.receivedAt = now
      entry.deadline = now + this.#lease
      this.#deadlines.push(entry)
      if (entry.attempt === 1) {
        entry.firstReceivedAt = now
        this.received.set(entry.id, entry)
      } else {
        this.redelivered += 1
      }
      this.inFlight += 1
      if (this.inFlight > this.peakInFlight) this.peakInFlight = this.inFlight
      this.#tell("Received", entry, now)
      return true
    })
  }

  #giveBack(entry: Entry): void {
    this.#leave(entry)
    entry.state = "visible"
    this.visible += 1
    this.#backlog.giveBack(entry)
  }

  #remove(entry: Entry): void {
    if (entry.state === "inFlight") this.#leave(entry)
    else this.visible -= 1
    entry.state = "gone"
    this.received.delete(entry.id)
    this.#backlog.remove(entry)
  }

  #leave(entry: Entry): void {
    this.#deadlines.removeAt(entry.slot)
    this.inFlight -= 1
    this.#forgetRepeat(entry)
  }

  #bury(now: number, entry: Entry, reason: string): void {
    this.deadLetters.push({ message: this.#message(entry), reason })
    this.#tell("DeadLettered", entry, now)
  }

  #setDeadline(entry: Entry, deadline: number): void {
    entry.deadline = deadline
    this.#deadlines.moved(entry.slot)
  }

  /** A receive can be repeated only while all its messages are as it left them. */
  #forgetRepeat(entry: Entry): void {
    if (entry.attemptId === undefined) return
    const repeat = this.#repeats.get(entry.attemptId)
    if (repeat === undefined) return
    this.#repeats.delete(entry.attemptId)
    for (const other of repeat.entries) other.attemptId = undefined
  }

  #leased(lease: Lease): Entry | undefined {
    const entry = this.received.get(lease.messageId)
    return entry?.state === "inFlight" && entry.handle === lease.handle ? entry : undefined
  }

  #known(lease: Lease): boolean {
    return isHandleOf(lease) && (this.received.has(lease.messageId) || this.#wasSettled(lease))
  }

  /** Settled messages are not kept, so that memory stays flat: an id that was given out and is not here is settled. */
  #wasSettled(lease: Lease): boolean {
    const prefix = `${this.#name}-`
    if (!isHandleOf(lease) || !lease.messageId.startsWith(prefix)) return false
    const number = Number(lease.messageId.slice(prefix.length))
    return number >= 1 && number <= this.sent
  }

  #message(entry: Entry): Message {
    return {
      id: entry.id,
      body: entry.body,
      lease: { messageId: entry.id, handle: entry.handle },
      attributes: entry.attributes,
      attempt: entry.attempt,
      group: entry.group,
      sequence: this.#ordered ? String(entry.number).padStart(20, "0") : undefined,
      sentAt: entry.sentAt,
      firstReceivedAt: entry.firstReceivedAt,
      system: noSystem
    }
  }

  #tell(type: Event["type"], { id, body, group, attempt }: Entry, at: number): void {
    if (this.#onEvent !== undefined) this.#onEvent({ type, at, id, body, group, attempt })
  }
}

const isHandleOf = (lease: Lease): boolean => lease.handle.startsWith(`${lease.messageId}/`)

const leaseOver = (lease: Lease): EntryResult =>
  failed("LeaseLost", `The lease ${lease.handle} is over: the message is settled, visible, or leased anew.`)

const neverLeased = (lease: Lease): EntryResult => failed("LeaseLost", `No message was ever leased as ${lease.handle}.`)

/** Makes an empty queue. Dies where an option is illegal. */
export const make = (options: Options = {}): Effect.Effect<MemoryQueue> =>
  Effect.sync(() => {
    InvalidOptions.checkOrThrow("MemoryQueue", options, checks)
    const name = options.name ?? "memory"
    const leaseDuration = Duration.decode(options.leaseDuration ?? "30 seconds")
    const maxLease = Duration.decode(options.maxLease ?? "12 hours")
    const maxWait = Duration.decode(options.maxWait ?? "20 seconds")
    const halfLatency = Duration.times(Duration.decode(options.latency ?? 0), 0.5)
    const isOrdered = options.ordered ?? false
    const batchSize = options.batchSize ?? 10
    const maxAttempts = options.maxAttempts ?? Infinity
    if (!Duration.greaterThan(leaseDuration, Duration.zero) || Duration.greaterThan(leaseDuration, maxLease)) {
      throw new RangeError(`MemoryQueue: leaseDuration must be more than zero and at most maxLease`)
    }

    const store = new Store({
      name,
      ordered: isOrdered,
      lease: Duration.toMillis(leaseDuration),
      maxLease: Duration.toMillis(maxLease),
      maxAttempts,
      onEvent: options.onEvent
    })
    const calls: Record<Operation, number> = { receive: 0, ack: 0, setLease: 0, deadLetter: 0 }
    const injected: Record<Operation, Array<Fault>> = { receive: [], ack: [], setLease: [], deadLetter: [] }
    let emptyReceives = 0

    // Receives that wait are woken when there is something to receive, or when a lease ends sooner than they knew.
    const waiting = new Set<() => void>()
    let wakes = 0
    let nextKnown = Infinity
    // Not a race: that interrupts its children with its caller, also one that is not interruptible itself.
    const awaitWake = (seen: number, sleep: Effect.Effect<void>, stop: Effect.Effect<void> | undefined) =>
      Effect.flatMap(callbackFork(), (fork) =>
        Effect.async<"stop" | "wake">((resume) => {
          if (wakes !== seen) return resume(Effect.succeed("wake"))
          const helpers: Array<Fiber.RuntimeFiber<void>> = []
          const end = () => {
            waiting.delete(waiter)
            for (const helper of helpers) interrupt(helper)
          }
          const answer = (why: "stop" | "wake") => () => {
            end()
            resume(Effect.succeed(why))
          }
          const waiter = answer("wake")
          waiting.add(waiter)
          const when = (effect: Effect.Effect<void>, then: () => void) =>
            helpers.push(fork(Effect.andThen(effect, Effect.sync(then))))
          when(sleep, waiter)
          if (stop !== undefined) when(stop, answer("stop"))
          return Effect.sync(end)
        })
      )

    const watchers = new Map<() => void, () => boolean>()
    const until = (holds: () => boolean) =>
      Effect.async<void>((resume) => {
        if (holds()) return resume(Effect.void)
        const watcher = () => resume(Effect.void)
        watchers.set(watcher, holds)
        return Effect.sync(() => watchers.delete(watcher))
      })

    const changed = () => {
      if (store.receivable || store.nextDeadline < nextKnown) {
        // Counted for those, too, that have found nothing and do not wait yet.
        wakes += 1
        for (const waiter of waiting) waiter()
      }
      if (watchers.size === 0) return
      for (const [resume, holds] of watchers) {
        if (!holds()) continue
        watchers.delete(resume)
        resume()
      }
    }

    const error = (operation: Operation, kind: ErrorKind, message: string) =>
      Effect.fail(new MemoryQueueError({ operation, kind, message }))

    const call = <A>(
      operation: Operation,
      size: number,
      run: (fault: Fault | undefined) => Effect.Effect<A, MemoryQueueError>
    ): Effect.Effect<A, MemoryQueueError> =>
      Effect.suspend(() => {
        calls[operation] += 1
        if (!(size >= 1 && size <= batchSize)) {
          return error(operation, "fatal", `A call of ${operation} takes 1 to ${batchSize} messages, not ${size}.`)
        }
        const scripted = injected[operation].shift()
        if (scripted !== undefined) return suffer(operation, scripted, run)
        if (options.faults === undefined) return suffer(operation, undefined, run)
        return Effect.flatMap(options.faults({ operation, size }), (fault) => suffer(operation, fault, run))
      })

    const suffer = <A>(
      operation: Operation,
      fault: Fault | undefined,
      run: (fault: Fault | undefined) => Effect.Effect<A, MemoryQueueError>
    ): Effect.Effect<A, MemoryQueueError> => {
      if (fault === undefined && Duration.toMillis(halfLatency) === 0) return run(fault)
      const { delay = 0, drop, fail } = fault ?? {}
      const effect = fail === undefined ? run(fault) : error(operation, fail, `Injected: ${operation} fails, ${fail}.`)
      const answered =
        drop === undefined
          ? effect
          : Effect.zipRight(effect, error(operation, drop, `Injected: the answer to ${operation} is lost, ${drop}.`))
      return Effect.sleep(Duration.sum(halfLatency, Duration.decode(delay))).pipe(
        Effect.zipRight(Effect.exit(answered)),
        Effect.zipLeft(Effect.sleep(halfLatency)),
        Effect.flatten
      )
    }

    const entries = <A>(
      operation: Operation,
      all: ReadonlyArray<A>,
      leaseOf: (entry: A) => Lease,
      settle: (now: number, entry: A) => EntryResult
    ): Effect.Effect<ReadonlyArray<EntryResult>, MemoryQueueError> =>
      call(operation, all.length, (fault) =>
        Effect.clockWith((clock) => {
          const now = clock.unsafeCurrentTimeMillis()
          const results = all.map((entry, index) => {
            const reason = fault?.entries?.(leaseOf(entry), index)
            return reason === undefined ? settle(now, entry) : failed(reason, `Injected: entry ${index} failed.`)
          })
          changed()
          return Effect.succeed(results)
        })
      )

    const nothing = Effect.sync((): ReadonlyArray<Message> => {
      emptyReceives += 1
      return []
    })

    const poll = (clock: Clock.Clock, until: number, request: ReceiveRequest): Effect.Effect<ReadonlyArray<Message>> =>
      Effect.suspend(() => {
        const now = clock.unsafeCurrentTimeMillis()
        const messages = store.receive(now, request.max, request.attemptId)
        changed()
        if (messages.length > 0) return Effect.succeed(messages)
        if (now >= until) return nothing
        nextKnown = store.nextDeadline
        const sleep = clock.sleep(Duration.millis(Math.max(Math.min(until, nextKnown) - now, 0)))
        return Effect.flatMap(awaitWake(wakes, sleep, request.stop), (why) =>
          why === "stop" ? nothing : poll(clock, until, request)
        )
      })

    const receive = (request: ReceiveRequest) =>
      call("receive", request.max, () => {
        if (Duration.greaterThan(request.wait, maxWait)) {
          return error("receive", "fatal", `A receive may wait ${Duration.format(maxWait)} at most.`)
        }
        return Effect.clockWith((clock) => {
          const until = clock.unsafeCurrentTimeMillis() + Duration.toMillis(request.wait)
          const answer = poll(clock, until, request)
          return options.strandAborted
            ? Effect.onInterrupt(answer, () => Effect.forkDaemon(Effect.interruptible(answer)))
            : answer
        })
      })

    const now = Effect.map(Clock.currentTimeMillis, (millis) => {
      store.expire(millis)
      changed()
      return millis
    })

    const queue: MemoryQueue = {
      name,
      limits: { batchSize, maxWait, maxLease, ordered: isOrdered },
      leaseDuration,
      maxAttempts: options.maxAttempts,
      errorKind: (error) => error.kind,
      receive,
      ack: (leases) =>
        entries(
          "ack",
          leases,
          (lease) => lease,
          (now, lease) => store.ack(now, lease)
        ),
      setLease: (all) =>
        entries(
          "setLease",
          all,
          ({ lease }) => lease,
          (now, entry) => store.setLease(now, entry)
        ),
      deadLetter:
        options.deadLetters === false
          ? undefined
          : (all) =>
              entries(
                "deadLetter",
                all,
                ({ message }) => message.lease,
                (now, entry) => store.deadLetter(now, entry)
              ),
      send: (messages) =>
        Effect.clockWith((clock) => {
          const at = clock.unsafeCurrentTimeMillis()
          const ids: Array<string> = []
          for (const message of messages) {
            if (isOrdered && (typeof message === "string" || message.group === undefined)) {
              return Effect.dieMessage(`MemoryQueue.send: "${name}" is ordered, so every message needs a group`)
            }
            ids.push(store.send(at, message))
          }
          changed()
          return Effect.succeed(ids)
        }),
      stats: Effect.map(now, () => ({
        sent: store.sent,
        visible: store.visible,
        inFlight: store.inFlight,
        peakInFlight: store.peakInFlight,
        acked: store.acked,
        deadLettered: store.deadLetters.length,
        staleAcks: store.staleAcks,
        redelivered: store.redelivered,
        expired: store.expired,
        released: store.released,
        calls: { ...calls },
        emptyReceives,
        waiting: waiting.size
      })),
      deadLetters: Effect.sync(() => [...store.deadLetters]),
      settled: (n) => until(() => store.settled >= n),
      idle: until(() => store.settled === store.sent),
      inject: (operation, fault, times = 1) =>
        Effect.sync(() => {
          for (let i = 0; i < times; i++) injected[operation].push(fault)
        })
    }
    return queue
  })
