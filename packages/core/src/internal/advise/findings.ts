import * as DateTime from "effect/DateTime"
import type { Cause, Change, CircuitOpen, Finding, Found, Severity } from "../../Diagnosis.js"
import * as Histogram from "../../Histogram.js"
import { type Attribution, ackTime, activeGroups, brought, repeated } from "./attribution.js"
import { receiveTime } from "./calls.js"
import type { Lag } from "./lag.js"
import { asManyBy } from "./probes.js"

const number = (value: number): string =>
  value >= 100
    ? Math.round(value).toLocaleString("en-US")
    : value >= 10
      ? value.toFixed(0)
      : String(Number(value.toFixed(1)))

const percent = (part: number): string => `${Math.round(part * 100)} %`

/** A time, rounded for a reader. */
const time = (millis: number): string =>
  millis < 1000
    ? `${number(millis)} ms`
    : millis < 120_000
      ? `${number(millis / 1000)} s`
      : millis < 7_200_000
        ? `${number(millis / 60_000)} min`
        : `${number(millis / 3_600_000)} h`

const perSecond = (rate: number): string => `${number(rate)} a second`

const instant = (at: number): string => `${DateTime.formatIso(DateTime.unsafeMake(at)).slice(0, 19)}Z`

const set = (setting: string, to: number, text: string): Change => ({ setting, to, text })
const say = (text: string): Change => ({ setting: undefined, to: undefined, text })

export const medianQueued = ({ now }: Lag): number | undefined => Histogram.quantile(now.queued, 0.5)

const severity = (score: number): Severity => (score >= 0.5 ? "high" : score >= 0.2 ? "medium" : "low")

/** A round number that is at least as large, with two digits that count. */
const roundUp = (value: number): number => {
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, value))) - 1)
  return Math.ceil(value / step) * step
}

/** A whole number, rounded up only as far as a twentieth. */
const atMost = (value: number): number => {
  const rounded = roundUp(value)
  return rounded <= value * 1.05 ? rounded : Math.max(1, Math.ceil(value))
}

/**
 * Poison fails each time that it comes, while what comes the first time succeeds: an outage fails both. Told by the
 * attempts of the latest failures.
 */
const poisoned = ({ now }: Lag): boolean => {
  const { failed, received, redelivered } = now.stats
  const first = now.recentFailures.filter(({ attempt }) => attempt <= 1).length / Math.max(1, now.recentFailures.length)
  const ofFirst = (first * failed) / Math.max(1, received - redelivered)
  const ofAgain = ((1 - first) * failed) / Math.max(1, redelivered)
  return ofFirst < 0.5 && ofAgain > Math.max(0.5, 1.5 * ofFirst)
}

/** Permits for so many slots at such a rate: what runs, what is received and acked meanwhile, and a few more. */
const permitsFor = (slots: number, { callTime, required, now }: Lag): number =>
  Math.min(120_000, roundUp(slots * 1.25 + (required * (callTime + 250)) / 1000 + now.settings.batchSize))

const commonest = (failures: Readonly<Record<string, number>>): string | undefined =>
  Object.entries(failures)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)[0]?.[0]

type Words<F extends Finding> = Omit<F, "_tag" | "score" | "severity" | "page">

type Describe = {
  readonly [C in Cause]: (lag: Lag, attribution: Attribution) => Words<Extract<Finding, Found<C, unknown>>>
}

const demand = ({ arrivals, required, throughput, visible }: Lag): string =>
  required > arrivals * 1.05
    ? `${perSecond(arrivals)} come, ${perSecond(throughput)} are done, ${number(visible)} wait`
    : `${perSecond(arrivals)} come and ${perSecond(throughput)} are done`

const describeAll: Describe = {
  TooFewSlots: (lag, { enough, needed }) => {
    const { handlerTime = 0, load, now, running, slots, throughput, arrivals, required } = lag
    const wanted = atMost(Math.min(needed * 1.2, Math.max(enough * 2.2, enough + 1)))
    const setting = lag.bounded ? "concurrency" : "maxInFlight"
    const permits = permitsFor(wanted, lag)
    return {
      title: "Too few slots",
      figures: {
        slots,
        busy: running / slots,
        needed,
        handlerTime,
        throughput,
        arrivals,
        utilization: load?.utilization
      },
      evidence: `${number(running)} of ${number(slots)} slots are busy, a handler takes ${time(handlerTime)} as before, and ${demand(lag)}${
        load === undefined ? "" : `; the event loop is ${percent(load.utilization)} busy`
      }.`,
      advice: [
        set(
          setting,
          wanted,
          `Set \`${setting}\` to ${wanted} (now ${number(slots)}), or run ${Math.ceil(wanted / slots)} consumers like this one.`
        ),
        ...(lag.bounded && now.stats.maxInFlight < permits
          ? [
              set(
                "maxInFlight",
                permits,
                `Set \`maxInFlight\` to ${permits} (now ${now.stats.maxInFlight}), so that they are not short of messages.`
              )
            ]
          : [])
      ],
      why: `Each slot does one message in ${time(handlerTime)}, so ${perSecond(required)} take ${number(needed)} slots (rate × time), and a fifth more to spare; handlers that wait for others cost this process next to nothing.`
    }
  },

  CpuBound: (lag) => {
    const { load = { utilization: 0, delay: 0, delayP99: 0 }, required, throughput } = lag
    const processes = Math.max(2, Math.ceil((required / Math.max(throughput, 1e-9)) * 1.2))
    return {
      title: "The process is out of CPU",
      figures: { ...load, throughput },
      evidence: `The event loop is busy ${percent(load.utilization)} of the time and timers are ${time(load.delay)} late (99th percentile ${time(load.delayP99)}), while ${demand(lag)}.`,
      advice: [
        set(
          "consumers",
          Math.min(processes, 1000),
          `Run ${Math.min(processes, 1000)} processes for each that runs now, or move the heavy work of the handler to a worker thread.`
        ),
        say(
          "Profile it (`node --cpu-prof`): JSON of large bodies, compression and synchronous calls are the usual finds."
        )
      ],
      why: "All handlers of a process share one thread. When it is full, more slots only make each handler slower; another process brings another thread."
    }
  },

  SlowHandler: (lag, { best, needed }) => {
    const { handlerTime = 0, now, perSlot, probes, slots, usualTime, quick, required, running } = lag
    const usual = usualTime ?? quick?.time ?? best
    const p99 = Histogram.quantile(now.handler, 0.99) ?? handlerTime
    // What takes long for a queue of its own would be cut off by less, and only come again.
    const timeout = roundUp(Math.max(5 * usual, 3 * p99))
    const wanted = (required * handlerTime * 1.2) / 1000 / perSlot
    const bridge = atMost(Math.min(wanted, 2 * slots))
    const back = asManyBy(probes, running)
    return {
      title: "The handler has become slow",
      figures: { handlerTime, usual, slots, needed },
      evidence: `A handler takes ${time(handlerTime)} where it took ${time(usual)}: ${number(handlerTime / Math.max(usual, 1e-3))} times as long, so that ${number(slots)} slots do ${perSecond((slots * perSlot * 1000) / Math.max(handlerTime, 1e-3))} instead of ${perSecond((slots * perSlot * 1000) / Math.max(usual, 1e-3))}.`,
      advice: [
        say("Look at what the handler calls (a database, another service): what has changed there since?"),
        set(
          "timeout",
          timeout,
          `Give the handler a \`timeout\` of ${time(timeout)} if it may be tried again: above all that it takes now, so that only a call that hangs loses its slot.`
        ),
        ...(back !== undefined
          ? [
              set(
                "concurrency",
                Math.max(1, Math.ceil(back)),
                `Go back to ${Math.max(1, Math.ceil(back))} slots: more have not got more done.`
              )
            ]
          : bridge > slots
            ? [
                set(
                  "concurrency",
                  bridge,
                  `Until it is quick again, try ${bridge} slots, if what it calls can take that; go back where the rate does not follow.`
                )
              ]
            : [])
      ],
      why: `At its usual ${time(usual)} the required ${perSecond(required)} take ${number(needed)} slots, and there are ${number(slots)}.`
    }
  },

  SaturatedDownstream: ({ handlerTime = 0, now, perSlot, probes, quick, running }, { best }) => {
    const few = quick?.running ?? 1
    const fewTime = quick?.time ?? best
    const rate = now.handler.count / now.seconds
    const enough = Math.max(
      1,
      Math.ceil(
        Math.min(asManyBy(probes, running) ?? Number.POSITIVE_INFINITY, (rate * fewTime * 1.1) / 1000 / perSlot)
      )
    )
    return {
      title: "What the handler calls is saturated",
      figures: { running, handlerTime, few, fewTime, best: enough, throughput: rate },
      evidence: `With about ${number(few)} running a handler takes ${time(fewTime)}, with ${number(running)} it takes ${time(handlerTime)}: the rate stays at ${perSecond(rate)}, which ${enough} at once would give too.`,
      advice: [
        set(
          "concurrency",
          enough,
          `Set \`concurrency\` to ${enough} (${number(running)} run now): the rate stays, and each message takes ${time(fewTime)} again.`
        ),
        say(
          "For a higher rate, give the downstream more: a larger pool, more replicas, fewer or cheaper calls a message (Pipeline.batch)."
        )
      ],
      why: "Beyond its capacity a downstream only queues: rate = running ÷ time, so time grows as fast as running does. Fewer at once wait in SQS instead, where waiting costs nothing and no lease."
    }
  },

  SlowCalls: (lag) => {
    const { callTime, handlerTime, now, required, running, slots, usualCallTime } = lag
    const received = receiveTime(now)
    const ackTime = Histogram.mean(now.calls.ack)
    const failed = now.failedCalls.transient
    const permits = roundUp(
      Math.max(now.stats.maxInFlight * 1.2, (lag.sustained * (1.5 * callTime + (handlerTime ?? 0) + 250)) / 1000)
    )
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

  ConnectionsExhausted: ({ callTime, now: { connections = { max: 0, open: 0, waiting: 0 } } }) => {
    const sockets = roundUp(Math.max(connections.max * 2, (connections.open + connections.waiting) * 1.5))
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

  VisibilityTimeoutTooShort: ({ now }) => {
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
            ])
      ],
      why: "When the timeout ends before the ack, the queue hands the message out again: its work is done twice or broken off, and its receive count goes up towards the dead-letter queue."
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

  IntakeTooSmall: (lag) => {
    const { now, required, running, slots } = lag
    const bringing = brought(lag)
    const { batchSize } = now.settings
    const short = (bringing ?? batchSize) < 0.7 * Math.min(batchSize, now.stats.maxInFlight)
    const scale = short ? batchSize / Math.max(1, bringing ?? 1) : 1
    const permits = Math.min(
      120_000,
      roundUp(Math.max(permitsFor(slots, lag) * Math.min(scale, 5), now.stats.maxInFlight * 2))
    )
    return {
      title: "The consumer takes in too little",
      figures: {
        brought: bringing,
        batchSize,
        maxInFlight: now.stats.maxInFlight,
        slots,
        busy: running / slots,
        fullFor: now.fullFor
      },
      evidence: `${number(slots - running)} of ${number(slots)} slots are idle while ${number(lag.visible)} messages wait; a receive brings ${
        bringing === undefined ? "nothing" : `${number(bringing)} of ${batchSize} messages`
      }, and \`maxInFlight\` is ${now.stats.maxInFlight}.`,
      advice: [
        set("maxInFlight", permits, `Set \`maxInFlight\` to ${permits} (now ${now.stats.maxInFlight}).`),
        ...(now.settings.wait < 20_000
          ? [
              set(
                "wait",
                20_000,
                `Set \`wait\` to 20 seconds (now ${time(now.settings.wait)}): a long poll asks all of SQS's servers.`
              )
            ]
          : [])
      ],
      why: short
        ? `A receive holds a permit for each of the ${batchSize} messages that it asks for, and brings ${number(bringing ?? 0)}: with more permits more receives are open at once, and ${perSecond(required)} come in.`
        : "Every message holds a permit from its receive to the confirmation of its ack; with fewer permits than slots and messages on their way, slots go without."
    }
  },

  RateLimited: ({ arrivals, now, required }) => {
    const rate = now.settings.rate ?? 0
    return {
      title: "The consumer's own rate limit holds it back",
      figures: { rate, received: now.stats.received / now.seconds, arrivals, required },
      evidence: `\`rate\` allows ${perSecond(rate)} and ${perSecond(now.stats.received / now.seconds)} are received, while ${perSecond(arrivals)} come.`,
      advice: [
        set(
          "rate.perSecond",
          roundUp(required * 1.1),
          `Set \`rate.perSecond\` to ${roundUp(required * 1.1)} if what the handler calls can take that.`
        )
      ],
      why: "No more than the rate is received, however many slots are free."
    }
  },

  Retries: (lag) => {
    const { now, runs } = lag
    const poison = repeated(lag)
    const { failed, received, redelivered } = now.stats
    const error = commonest(now.failures)
    const wasted = now.handler.sum === 0 ? 0 : now.failedTime / now.handler.sum
    const few = poisoned(lag)
    const [worst] = poison
    return {
      title: few ? "The same messages fail again and again" : "Many runs fail",
      figures: { failed, runs, redelivered, received, wasted, error, poison: poison.slice(0, 10) },
      evidence: `${failed} of ${runs} runs failed${error === undefined ? "" : ` (mostly ${error})`}, ${redelivered} of ${received} messages received were not new, and failed runs took ${percent(wasted)} of the handlers' time${
        worst === undefined ? "" : `; message ${worst.messageId} failed ${worst.failures} times`
      }.`,
      advice: few
        ? [
            say(
              `Look at message ${worst?.messageId ?? "ids in the log"}, and dead-letter what can never succeed at once: \`(error) => RetryPolicy.deadLetter\` for those errors.`
            ),
            set(
              "attempts",
              5,
              "Bound the retries: `RetryPolicy.redeliver(schedule, { attempts: 5 })`, then `RetryPolicy.orElse(RetryPolicy.deadLetter)`."
            )
          ]
        : [
            say(
              `Look at what ${error === undefined ? "the errors name" : `\`${error}\` names`}: while it is down, retries only add load.`
            ),
            say(
              'Put a `circuit` before the handler, and let delays grow: `Schedule.exponential("1 second").pipe(Schedule.jittered)`.'
            )
          ],
      why: few
        ? "A message that can never succeed takes a slot each time it comes back; in the dead-letter queue it can be looked at and takes none."
        : "Each failed run takes a slot and comes again. A circuit stops that while the downstream is down, and spends none of the messages' attempts."
    }
  },

  HotGroup: (lag, { best }) => {
    const { now, required, running, slots } = lag
    const stuck = new Set(lag.stuck.map(({ group }) => group))
    const [hottest] = now.groups.filter(({ group }) => !stuck.has(group)).sort((a, b) => b.share - a.share)
    const share = hottest?.share ?? 0
    const active = activeGroups(lag)
    // One of a group runs at a time, and the next begins when its ack is confirmed.
    const confirming = ackTime(lag)
    const chain = best + confirming
    const suggestedGroups = Math.max(2, roundUp(2 * Math.max((required * chain) / 1000, active)))
    return {
      title: share >= 0.3 ? "One group is hot" : "Too few groups are active",
      figures: { group: hottest?.group, share, activeGroups: active, slots, busy: running / slots, suggestedGroups },
      evidence: `Messages wait, and ${number(slots - running)} of ${number(slots)} slots are idle: ${number(active)} groups are active on average${
        hottest === undefined ? "" : `, and group ${hottest.group} has ${percent(share)} of what is received`
      }.`,
      advice: [
        set(
          "groups",
          suggestedGroups,
          `Spread the messages over ${suggestedGroups} groups or more of like size: order by the narrowest key that needs it (an order rather than a customer), or split the hot key into ${Math.max(2, Math.ceil(suggestedGroups * Math.max(share, 0.1)))}.`
        ),
        say(
          "Where order is not needed, leave the group out or make it unique; a quicker handler helps each group as well."
        ),
        ...(confirming >= 0.2 * chain
          ? [
              say(
                `Each turn waits ${time(confirming)} for its delete to be confirmed: \`ackAhead: true\` begins the next one before, where a message that comes again after the next has run is bearable.`
              )
            ]
          : [])
      ],
      why: `Of a group one message runs at a time, ${time(chain)} each, so a group does ${perSecond(1000 / Math.max(chain, 1e-3))} at most, however many slots and consumers there are; ${perSecond(required)} take ${number((required * chain) / 1000)} groups at once.`
    }
  },

  StuckGroup: (lag) => {
    const all = lag.stuck
    const [worst] = all
    const { age = 0, failures = 0, group = "", head = { attempt: 0, messageId: "", running: false } } = worst ?? {}
    return {
      title: "A group is stuck behind its head",
      figures: {
        group,
        messageId: head.messageId,
        age,
        attempt: head.attempt,
        failures,
        running: head.running,
        stuckGroups: all.length
      },
      evidence: `Message ${head.messageId} at the head of group ${group} has been here for ${time(age)} (attempt ${head.attempt}, ${
        failures > 0 ? `failed ${failures} times of late` : head.running ? "still running" : "waiting"
      })${all.length > 1 ? `, and ${all.length - 1} more groups are stuck` : ""}; all behind it waits.`,
      advice:
        failures > 0
          ? [
              say(`Look at message ${head.messageId}; dead-letter it, or discard it, and the group goes on.`),
              set(
                "attempts",
                5,
                "Bound the retries of a head: `{ attempts: 5 }`, then `RetryPolicy.orElse(RetryPolicy.deadLetter)`."
              )
            ]
          : [
              say(`Look at what the handler of message ${head.messageId} waits for.`),
              set(
                "timeout",
                30_000,
                "Give the handler a `timeout`, so that the slot and the group come free and the retry policy decides."
              )
            ],
      why: "Order means that nothing of a group runs before its head has ended. Other groups are not held up."
    }
  },

  InFlightWindowFull: ({ inFlightLimit: limit, last, now }) => ({
    title: "The queue's in-flight limit is reached",
    figures: { inFlight: last?.inFlight ?? 0, limit, own: now.stats.inFlight },
    evidence: `${number(last?.inFlight ?? 0)} messages are in flight of ${number(limit)} that the queue allows, ${now.stats.inFlight} of them here; a receive brings nothing${now.settings.ordered ? ", whatever other groups have" : ""}.`,
    advice: [
      say(
        "Find the consumers that hold them: those that receive much and ack late or never. Lower their `maxInFlight`."
      ),
      set(
        "maxInFlight",
        Math.max(10, Math.floor(limit / 100)),
        "Keep `maxInFlight` times the number of consumers under half of the limit."
      )
    ],
    why: "At the limit SQS hands out nothing more until something in flight is deleted or its lease ends; FIFO queues say so by empty answers alone."
  }),

  ProducerBurst: (lag) => {
    const { arrivals, excess, now, throughput, usualArrivals = 0, visible } = lag
    const spare = throughput - usualArrivals
    const clearAt = spare <= 0 ? undefined : now.to + (visible / spare) * 1000
    const past = arrivals <= 1.2 * usualArrivals
    return {
      title: "A burst came in; the consumer is as quick as before",
      figures: { arrivals, usual: usualArrivals, throughput, excess, clearAt },
      evidence: `${number(excess)} of the ${number(visible)} messages that wait came beyond the usual ${perSecond(usualArrivals)}${
        past ? "" : ` (${perSecond(arrivals)} come now)`
      }, and ${perSecond(throughput)} are done${
        clearAt === undefined
          ? ""
          : `: it will clear by ${instant(clearAt)}, in ${time(clearAt - now.to)}${past ? "" : ", once no more come than usual"}`
      }.`,
      advice: [
        say(
          clearAt === undefined
            ? "The usual rate leaves nothing to spare: add slots, or this backlog stays."
            : "Nothing, if that is soon enough. If not, add slots or consumers until it has cleared, and take them away again."
        ),
        say("Where bursts are planned (an import, a nightly job), send them at a rate: SqsProducer has one.")
      ],
      why: "The backlog is what came beyond the rate at which the consumer works; it shrinks by the difference once the producer is back to its usual rate."
    }
  },

  Paused: ({ now, visible }) => ({
    title: "The consumer is paused",
    figures: { pausedFor: now.pausedFor, visible },
    evidence: `It was paused for ${time(now.pausedFor)} of the last ${time(now.seconds * 1000)}, and ${number(visible)} messages wait.`,
    advice: [say("Call `resume`.")],
    why: "A paused consumer sends no receives; what is in flight goes on."
  }),

  CircuitOpen: ({ now }): Words<CircuitOpen> => {
    const state = now.stages.find(({ circuit }) => circuit !== undefined && circuit !== "all")?.circuit ?? "all"
    const error = commonest(now.failures)
    return {
      title: "The circuit is open",
      figures: { state, failed: now.stats.failed, error },
      evidence: `The circuit lets ${state === "none" ? "nothing" : state === "probes" ? "only probes" : "everything again"} through${
        now.stats.failed > 0 ? ` after ${now.stats.failed} failed runs` : ""
      }${error === undefined ? "" : ` (mostly ${error})`}.`,
      advice: [
        say(
          `Mend what the handler calls${error === undefined ? "" : ` (\`${error}\`)`}: the circuit closes by itself when a probe succeeds.`
        )
      ],
      why: "While it is open nothing runs and nothing is received, so that no message spends its attempts on a downstream that is down."
    }
  }
}

const loopHeld = ({ loopHeldBy, loopHeldFor }: Lag["now"]): string =>
  loopHeldBy === undefined
    ? ""
    : `; the event loop was held for ${time(loopHeldFor)}, at last for ${time(loopHeldBy.millis)}${
        loopHeldBy.messageId === undefined ? "" : ` by message ${loopHeldBy.messageId}`
      }, when no lease could be extended`

const pages: Readonly<Record<Cause, string>> = {
  TooFewSlots: "too-few-slots",
  CpuBound: "cpu-bound",
  SlowHandler: "slow-handler",
  SaturatedDownstream: "saturated-downstream",
  SlowCalls: "slow-calls",
  ConnectionsExhausted: "connections-exhausted",
  VisibilityTimeoutTooShort: "visibility-timeout",
  Throttled: "throttled",
  IntakeTooSmall: "intake-too-small",
  RateLimited: "rate-limited",
  Retries: "retries",
  HotGroup: "hot-group",
  StuckGroup: "stuck-group",
  InFlightWindowFull: "in-flight-limit",
  ProducerBurst: "producer-burst",
  Paused: "paused",
  CircuitOpen: "circuit-open"
}

export const describe = (cause: Cause, score: number, lag: Lag, attribution: Attribution): Finding =>
  ({
    _tag: cause,
    score,
    severity: severity(score),
    page: pages[cause],
    ...describeAll[cause](lag, attribution)
  }) as Finding

export { number, percent, perSecond, time }
