/**
 * Whether a consumer is well, judged by its progress and not by its being there: a container's probe can rely on it.
 */
import * as Duration from "effect/Duration"
import * as InvalidOptions from "./InvalidOptions.js"

export interface Options {
  /**
   * A handler is stuck when it has run for more than `stuckFactor` times the 99th percentile of those before it (default
   * 10) and for more than `stuckAfter` (default 1 minute).
   */
  readonly stuckFactor?: number | undefined
  readonly stuckAfter?: Duration.DurationInput | undefined
  /** How long receives may fail, or nothing may be settled while permits are full. Default 2 minutes. */
  readonly staleAfter?: Duration.DurationInput | undefined
}

export interface Stuck {
  readonly messageId: string
  readonly group: string | undefined
  readonly attempt: number
  readonly runningFor: Duration.Duration
}

export interface Health {
  readonly healthy: boolean
  /** What is wrong, a sentence each, with what to look at. Empty where it is healthy. */
  readonly problems: ReadonlyArray<string>
  /** When a receive last succeeded, with messages or without, in milliseconds since the epoch. */
  readonly lastReceive: number | undefined
  readonly oldestInFlight: Duration.Duration | undefined
  readonly stuck: ReadonlyArray<Stuck>
  readonly inFlight: number
  readonly maxInFlight: number
  readonly running: number
  readonly paused: boolean
}

/** What a consumer knows of itself, times in milliseconds. */
export interface View {
  readonly now: number
  readonly queue: string
  readonly lastReceive: number | undefined
  /** A receive is open, or waits to be tried again, since then. */
  readonly receivingSince: number | undefined
  /** The stream has ended: nothing is received any more. */
  readonly ended: boolean
  /** The error that ended the stream. */
  readonly failure: string | undefined
  readonly lastEnd: number
  readonly oldest: number | undefined
  readonly running: ReadonlyArray<{
    readonly messageId: string
    readonly group: string | undefined
    readonly attempt: number
    readonly since: number
  }>
  /** Who held the event loop for long, the latest time. */
  readonly loopHeld?:
    | { readonly messageId: string | undefined; readonly at: number; readonly millis: number }
    | undefined
  /** How long a lease lasts. */
  readonly lease?: number | undefined
  readonly p99: number | undefined
  readonly inFlight: number
  readonly maxInFlight: number
  readonly paused: boolean
}

/** What each option may be. */
export const checks: InvalidOptions.Checks<Options> = {
  stuckFactor: InvalidOptions.aNumber({ min: 1 }),
  stuckAfter: InvalidOptions.time(),
  staleAfter: InvalidOptions.time()
}

/** What those figures say of a consumer. Throws `InvalidOptions` where an option cannot work. */
export const judge = (view: View, options: Options = {}): Health => {
  InvalidOptions.checkOrThrow("health", options, checks)
  const staleAfter = Duration.toMillis(options.staleAfter ?? "2 minutes")
  const stuckAfter = Math.max(
    Duration.toMillis(options.stuckAfter ?? "1 minute"),
    (view.p99 ?? 0) * (options.stuckFactor ?? 10)
  )
  const problems: Array<string> = []
  const ago = (since: number) => Duration.format(Duration.millis(view.now - since))

  if (view.failure !== undefined) problems.push(`the stream of ${view.queue} has failed: ${view.failure}`)
  else if (view.ended) problems.push(`the stream of ${view.queue} has ended: nothing is received any more`)
  const lastReceive = Math.max(view.lastReceive ?? 0, view.receivingSince ?? 0)
  if (view.receivingSince !== undefined && view.now - lastReceive > staleAfter) {
    problems.push(
      `no receive from ${view.queue} has succeeded for ${ago(lastReceive)}: look at the network, the credentials and the throttling of the queue`
    )
  }
  const stuck = view.running
    .filter(({ since }) => view.now - since > stuckAfter)
    .map(({ attempt, group, messageId, since }) => ({
      messageId,
      group,
      attempt,
      runningFor: Duration.millis(view.now - since)
    }))
  const [first] = stuck
  if (first !== undefined) {
    problems.push(
      `${stuck.length} handlers are stuck, message ${first.messageId} for ${Duration.format(first.runningFor)}: give process a timeout, or look at what the handler waits for`
    )
  }
  const { lease = 0, loopHeld } = view
  if (loopHeld !== undefined && 2 * loopHeld.millis > lease && view.now - loopHeld.at <= staleAfter) {
    const by = loopHeld.messageId === undefined ? "" : ` by message ${loopHeld.messageId}`
    problems.push(
      `the event loop was held for ${Duration.format(Duration.millis(loopHeld.millis))}${by}, ${ago(loopHeld.at)} ago, more than half of a lease of ${view.queue}, and no lease could be extended meanwhile: make the work of one message smaller, or move it to a worker thread`
    )
  }
  if (view.inFlight >= view.maxInFlight && view.running.length === 0 && view.now - view.lastEnd > staleAfter) {
    problems.push(
      `all ${view.maxInFlight} permits of ${view.queue} are taken, no handler runs, and nothing has been settled for ${ago(view.lastEnd)}`
    )
  }
  return {
    healthy: problems.length === 0,
    problems,
    lastReceive: view.lastReceive,
    oldestInFlight: view.oldest === undefined ? undefined : Duration.millis(view.now - view.oldest),
    stuck,
    inFlight: view.inFlight,
    maxInFlight: view.maxInFlight,
    running: view.running.length,
    paused: view.paused
  }
}
