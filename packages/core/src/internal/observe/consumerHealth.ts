/** A consumer's health, from what its parts know. */
import * as Health from "../../Health.js"
import type { Intake } from "../../Intake.js"
import * as Reason from "../../Reason.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import type { Steady } from "../lease/steady.js"
import type { Ends } from "../settle/ends.js"
import * as Phase from "../settle/phase.js"
import type { Observer } from "./observer.js"

/** What it needs of its consumer. */
export interface Host {
  readonly queueName: string
  readonly leaseMillis: number
  readonly clock: Steady
  readonly table: InFlightTable
  readonly intake: Pick<Intake<never, never>, "lastReceive" | "receivingSince" | "failure" | "maxInFlight" | "paused">
  readonly ends: Ends
  readonly observer: Pick<Observer, "handlerMillis" | "loopHeldBy">
  /** Nobody takes from the stream any more. */
  readonly isClosed: () => boolean
}

export const consumerHealth = (host: Host, options: Health.Options): Health.Health => {
  const { clock, ends, intake, leaseMillis, observer, queueName, table } = host
  const running: Array<Health.View["running"][number]> = []
  for (const { attempt, message, phase, startedAt } of table) {
    if (phase === Phase.Claimed && startedAt !== undefined) {
      running.push({ messageId: message.id, group: message.group, attempt, since: startedAt })
    }
  }
  const { lastReceive } = intake
  const judged = Health.judge(
    {
      now: clock.now(),
      queue: queueName,
      lastReceive,
      receivingSince: intake.receivingSince,
      ended: host.isClosed(),
      failure: intake.failure === undefined ? undefined : Reason.of(intake.failure),
      lastEnd: ends.latest,
      oldest: table.oldest,
      running,
      loopHeld: observer.loopHeldBy,
      lease: leaseMillis,
      p99: observer.handlerMillis.at(0.99),
      inFlight: table.size,
      maxInFlight: intake.maxInFlight,
      paused: intake.paused
    },
    options
  )
  return { ...judged, lastReceive: lastReceive === undefined ? undefined : clock.onTheWall(lastReceive) }
}
