/**
 * What a consumer says in its log of what goes wrong, at the default level: nothing fails in silence, and nothing fills the
 * log. Of each kind of failure the first is told at once; those that follow are counted, and told together after a minute,
 * two, four … where it goes on. What ends a message, or is a bug, is told each time. Never a body.
 */
import * as Effect from "effect/Effect"
import type { Fork } from "../effect/fork.js"
import { Timer } from "../effect/timer.js"

/** Between two lines of one kind, at first and at the longest, in milliseconds. */
const firstPause = 60_000
const longestPause = 3_600_000
/** Kinds that are told apart: tags may be made up by the failure itself. */
const mostKinds = 50

interface Kind {
  toldAt: number
  pause: number
  /** Since then, and the latest of them. */
  untold: number
  latest: string
}

interface Host {
  readonly runFork: Fork
  readonly now: () => number
}

export class Notices {
  readonly #host: Host
  readonly #kinds = new Map<string, Kind>()
  readonly #timer: Timer

  constructor(host: Host) {
    this.#host = host
    this.#timer = new Timer(host.runFork)
  }

  /** Tells it now. */
  always(text: string): void {
    this.#host.runFork(Effect.logWarning(text))
  }

  /** Tells it now, or counts it, where one of its kind was told within the last minute. */
  ofKind(name: string, text: string): void {
    const now = this.#host.now()
    const known = this.#kinds.has(name) || this.#kinds.size < mostKinds
    const key = known ? name : "others"
    const kind = this.#kinds.get(key)
    if (kind !== undefined && (kind.untold > 0 || now - kind.toldAt < kind.pause)) {
      kind.untold++
      kind.latest = text
      this.#arm()
      return
    }
    this.#kinds.set(key, { toldAt: now, pause: firstPause, untold: 0, latest: text })
    this.always(text)
  }

  /** Tells what is only counted yet. Nothing is left to wait for. */
  flush(): void {
    this.#timer.cancel()
    this.#tell(Infinity)
  }

  #tell(now: number): void {
    for (const kind of this.#kinds.values()) {
      if (kind.untold === 0 || now < kind.toldAt + kind.pause) continue
      this.always(kind.untold === 1 ? kind.latest : `${kind.latest} (and ${kind.untold - 1} more like it)`)
      kind.toldAt = this.#host.now()
      kind.pause = Math.min(2 * kind.pause, longestPause)
      kind.untold = 0
    }
  }

  #arm(): void {
    if (this.#timer.isSet) return
    const dues = [...this.#kinds.values()].flatMap(({ pause, toldAt, untold }) => (untold > 0 ? toldAt + pause : []))
    if (dues.length === 0) return
    const due = Math.min(...dues)
    this.#timer.set(due, Math.max(1, Math.ceil(due - this.#host.now())), () => {
      this.#tell(this.#host.now())
      this.#arm()
    })
  }
}

/** A text without the body that it may quote, as that of a JSON parser does. */
export const without = (body: string, text: string): string => {
  const quoted = JSON.stringify(body).slice(1, -1)
  let left = text.replace(/(?:\.\.\.)?".*"(?:\.\.\.)? is not valid JSON/gs, "it is not valid JSON")
  if (body.length >= shortestBody) left = left.replaceAll(body, "…").replaceAll(quoted, "…")
  return left
}

/** A shorter one is a word like any other. */
const shortestBody = 4

/** Where a defect was thrown, without its message. */
export const placeOf = (defect: unknown): string => {
  try {
    const stack = defect instanceof Error ? String(defect.stack) : ""
    const frames = stack.split("\n").filter((line) => /^\s+at /.test(line))
    return frames
      .slice(0, mostFrames)
      .map((frame) => `\n${frame}`)
      .join("")
  } catch {
    return ""
  }
}

const mostFrames = 8
