/** A finding: a cause and its score, put into words by its family. */
import type { Attribution } from "./attribution.js"
import type { Cause, Finding, Severity } from "./finding.js"
import { arrivals } from "./findings/arrivals.js"
import type { Describing } from "./findings/describing.js"
import { failures } from "./findings/failures.js"
import { groups } from "./findings/groups.js"
import { intake } from "./findings/intake.js"
import { queue } from "./findings/queue.js"
import { slots } from "./findings/slots.js"
import { tenants } from "./findings/tenants.js"
import type { Lag } from "./lag.js"

const families: Describing<Cause> = { ...slots, ...queue, ...intake, ...failures, ...groups, ...tenants, ...arrivals }

const severity = (score: number): Severity => (score >= 0.5 ? "high" : score >= 0.2 ? "medium" : "low")

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
  NoisyTenant: "noisy-tenant",
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
    ...families[cause](lag, attribution)
  }) as Finding
