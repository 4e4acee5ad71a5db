/** What is wrong between the consumer and the queue: calls, connections, quotas, leases. */
import * as Histogram from "../../../Histogram.js"
import { receiveTime } from "../calls.js"
import { occupancy } from "../evidence.js"
import type { Lag } from "../lag.js"
import { clamp } from "../readings.js"
import { atMost, number, perSecond, roundUp, say, set, time } from "../words.js"
import type { Describing } from "./describing.js"

const loopHeld = ({ loopHeldBy, loopHeldFor }: Lag["now"]): string =>
  loopHeldBy === undefined
    ? ""
    : `; the event loop was held for ${time(loopHeldFor)}, at last for ${time(loopHeldBy.millis)}${
        loopHeldBy.messageId === undefined ? "" : ` by message ${loopHeldBy.messageId}`
      }, when no lease could be extended`

export const queue: Describing<
  "SlowCalls" | "ConnectionsExhausted" | "Throttled" | "InFlightWindowFull" | "VisibilityTimeoutTooShort"
> = {
  SlowCalls: (lag) => {
    const { callTime, handlerTime, now, required, running, slots, usualCallTime } = lag
    const received = receiveTime(now)
    const ackTime = Histogram.mean(now.calls.ack)
    const failed = now.failedCalls.transient
    // As long as a permit is held now, where that is more than the calls and the work come to.
    const least = callTime + (handlerTime ?? 0)
    const held = (1000 * now.stats.maxInFlight * Math.min(1, occupancy(lag))) / Math.max(lag.throughput, 1e-9)
    const each = Math.max(1.9 * least, Math.min(1.2 * held, 2.1 * least))
    const permits = atMost(Math.max(now.stats.maxInFlight * 1.2, (lag.sustained * each) / 1000))
    return {
      title: "Calls to the queue are slow",
      figures: { receiveTime: received, ackTime, usual: usualCallTime, handlerTime, failed, busy: running / slots },
      evidence: `${
        received === undefined ? "" : `A receive takes ${time(received)}, `
      }${ackTime === undefined ? "" : `an ack ${time(ackTime)}, `}a handler ${time(handlerTime ?? 0)}${
        failed > 0 ? `; ${failed} calls failed` : ""
      }; ${number(slots - running)} of ${number(slots)} slots wait for messages meanwhile.`,
      advice: [
        say(
          "Run the consumer in the queue's region, through a VPC endpoint rather than a NAT gateway or proxy; look for packet loss and DNS."
        ),
        set(
          "maxInFlight",
          permits,
          `Set \`maxInFlight\` to ${permits} (now ${now.stats.maxInFlight}): more receives and acks under way at once hide the time that each takes.`
        )
      ],
      why: `A message holds a permit from its receive until its ack is confirmed, here ${time(callTime)} of calls for ${time(handlerTime ?? 0)} of work; ${perSecond(required)} at once take that many more permits (rate × time).`
    }
  },

  ConnectionsExhausted: ({
    callTime,
    required,
    throughput,
    now: { connections = { max: 0, open: 0, waiting: 0 } }
  }) => {
    // Calls in proportion to what is to be done: those that wait now are held back by themselves.
    const more = Math.min(4, Math.max(1, required / Math.max(throughput, 1e-9)))
    const sockets = roundUp(Math.max(connections.max * 2, (connections.open + connections.waiting) * 1.5 * more))
    return {
      title: "The client is out of connections",
      figures: { ...connections, callTime },
      evidence: `${connections.open} of ${connections.max} connections are in use and ${connections.waiting} calls wait for one; a message's calls take ${time(callTime)}.`,
      advice: [
        set(
          "maxSockets",
          sockets,
          `Set the client's \`maxSockets\` to ${sockets}, or give each consumer a client of its own.`
        )
      ],
      why: "An open long poll keeps its connection for up to 20 seconds. When polls have taken all of them, acks and extensions of leases wait behind them."
    }
  },

  Throttled: ({ now, running, slots, required }) => {
    const { extendCalls, polls, settleCalls } = now.stats
    const calls = polls + settleCalls + extendCalls
    const { throttled } = now.failedCalls
    return {
      title: "The queue throttles calls",
      figures: { throttled, calls, throttledFor: now.throttledFor, busy: running / slots },
      evidence: `${throttled} of ${calls} calls were throttled, no receive was sent for ${time(now.throttledFor)} of ${time(now.seconds * 1000)}, and ${number(slots - running)} of ${number(slots)} slots wait.`,
      advice: [
        now.settings.ordered
          ? say(
              `Turn on high throughput for the FIFO queue (\`FifoThroughputLimit\` perMessageGroupId, \`DeduplicationScope\` messageGroup): without it 300 calls a second are allowed for each operation, ${required > 300 ? "which one message a call exceeds" : "shared by all consumers"}.`
            )
          : say(
              "Find who else calls this queue or API from the same account, and ask AWS for a higher quota; standard queues have nearly none of their own."
            ),
        say(
          `Fill the batches: send in tens, and raise \`linger\` (up to half of the lease), so that ten acks share a call.`
        )
      ],
      why: "Each throttled call is tried again after a pause that grows, up to 20 seconds; calls saved are calls that are not refused."
    }
  },

  InFlightWindowFull: ({ consumers = 1, inFlightLimit: limit, last, now }) => {
    const most = Math.max(10, Math.floor(limit / 2 / consumers))
    return {
      title: "The queue's in-flight limit is reached",
      figures: { inFlight: last?.inFlight ?? 0, limit, own: now.stats.inFlight },
      evidence: `${number(last?.inFlight ?? 0)} messages are in flight of ${number(limit)} that the queue allows, ${now.stats.inFlight} of them here; a receive brings nothing${now.settings.ordered ? ", whatever other groups have" : ""}.`,
      advice: [
        say(
          "Find the consumers that hold them: those that receive much and ack late or never. Lower their `maxInFlight`."
        ),
        ...(now.stats.maxInFlight > most
          ? [
              set(
                "maxInFlight",
                most,
                `Set \`maxInFlight\` to ${most}, so that all consumers together stay under half of the limit.`
              )
            ]
          : [say("Keep `maxInFlight` times the number of consumers under half of the limit.")])
      ],
      why: "At the limit SQS hands out nothing more until something in flight is deleted or its lease ends; FIFO queues say so by empty answers alone."
    }
  },

  VisibilityTimeoutTooShort: (lag, { needed }) => {
    const { now, slots } = lag
    // New messages that nobody has ended would have taken the lease at least.
    const fresh = Math.max(1, now.stats.received - now.stats.redelivered)
    const unended = clamp(1 - lag.runs / fresh)
    const work = ((1 - unended) * (lag.handlerTime ?? 0) + unended * now.settings.leaseDuration) / lag.perSlot
    const bridge = atMost(Math.min(1.2 * Math.max(needed, (lag.required * work) / 1000), 2 * slots))
    const { heartbeat, leaseDuration } = now.settings
    const p99 = Histogram.quantile(now.settled, 0.99)
    const median = Histogram.quantile(now.handler, 0.5) ?? 0
    const { extendErrors, lost, received, redelivered } = now.stats
    // What was cut off at the lease would have taken longer: how much longer nobody has seen.
    const timeout = Math.min(
      43_200_000,
      Math.max(
        30_000,
        Math.ceil(Math.max(6 * median, 2 * (p99 ?? 0), lost > 0 ? 3 * leaseDuration : 0) / 10_000) * 10_000
      )
    )
    return {
      title: "The visibility timeout is too short",
      figures: { visibilityTimeout: leaseDuration, p99, lost, redelivered, received, heartbeat, extendErrors },
      evidence: `A message is leased for ${time(leaseDuration)} and takes up to ${time(p99 ?? 0)} (99th percentile) from receive to end; ${lost} leases were lost, and ${redelivered} of ${received} messages came again${
        heartbeat ? (extendErrors > 0 ? `; ${extendErrors} calls to extend leases failed` : "") : "; heartbeats are off"
      }${loopHeld(now)}.`,
      advice: [
        ...(now.loopHeldBy === undefined
          ? []
          : [
              say(
                "Make the work of one message smaller, or move it to a worker thread, so that leases can be extended."
              )
            ]),
        set(
          "visibilityTimeout",
          timeout,
          `Set the visibility timeout to ${time(timeout)} (now ${time(leaseDuration)}).`
        ),
        ...(heartbeat
          ? extendErrors > 0
            ? [say("Let the role call `sqs:ChangeMessageVisibility`, and look at why those calls fail.")]
            : []
          : [
              say(
                "Turn heartbeats on (`heartbeat: true`, the default): leases are then extended for as long as the work takes."
              )
            ]),
        ...(lag.behind && lag.bounded && bridge > slots
          ? [
              set(
                "concurrency",
                bridge,
                `Work that was done twice has left a backlog: ${bridge} slots (now ${number(slots)}) clear it, at a run's time as far as it is known.`
              )
            ]
          : [])
      ],
      why: "When the timeout ends before the ack, the queue hands the message out again: its work is done twice or broken off, and its receive count goes up towards the dead-letter queue."
    }
  }
}
