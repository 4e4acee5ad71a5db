/** Somebody who does what a finding advises, to the letter. */
import type { Diagnosis } from "@millrace/core"
import type { Knobs } from "./World.js"

export interface Orders {
  readonly knobs: Partial<Knobs>
  readonly resume: boolean
}

const knobOf: Readonly<Record<string, keyof Knobs>> = {
  concurrency: "concurrency",
  maxInFlight: "maxInFlight",
  "rate.perSecond": "rate",
  consumers: "consumers",
  timeout: "timeout",
  visibilityTimeout: "visibilityTimeout",
  wait: "wait",
  maxSockets: "maxSockets",
  groups: "groups",
  attempts: "attempts"
}

/** Every number that is named is set; a heartbeat is turned on and a pause ended where the words say so. */
export const ordersOf = (finding: Diagnosis.Finding): Orders => {
  const knobs: Partial<Record<keyof Knobs, number | boolean>> = {}
  for (const { setting, text, to } of finding.advice) {
    const knob = setting === undefined ? undefined : knobOf[setting]
    if (knob !== undefined && to !== undefined) knobs[knob] = to
    if (text.includes("heartbeat: true")) knobs.heartbeat = true
  }
  return { knobs: knobs as Partial<Knobs>, resume: finding._tag === "Paused" }
}
