/** The page: listens to the server's events and shows one consumer of those that there are. */
import * as Charts from "./charts.js"
import { clock, count, percent, rate, time, unknown } from "./format.js"

/** @typedef {import("../src/internal/wire.js").Opening} Opening */
/** @typedef {import("../src/internal/wire.js").Update} Update */
/** @typedef {import("../src/internal/wire.js").Point} Point */
/** @typedef {import("../src/internal/wire.js").Snapshot} Snapshot */
/** @typedef {import("../src/internal/wire.js").Command} Command */
/** @typedef {{ name: string, points: Array<Point>, now: Snapshot | null }} Known */

/** @param {string} selector @returns {HTMLElement} */
const find = (selector) => {
  const found = document.querySelector(selector)
  if (!(found instanceof HTMLElement)) throw new Error(`no ${selector}`)
  return found
}

/** All text comes in as text: nothing that a message or a queue is called is ever markup. */
/** @param {string} tag @param {string} [className] @param {ReadonlyArray<Node | string>} children */
const element = (tag, className, ...children) => {
  const made = document.createElement(tag)
  if (className !== undefined) made.className = className
  made.append(...children)
  return made
}

/** A sentence with `code` in it. */
/** @param {string} sentence @returns {ReadonlyArray<Node | string>} */
const marked = (sentence) =>
  sentence.split("`").map((part, i) => (i % 2 === 0 ? part : element("code", undefined, part)))

/** Writes only what changes, so that nothing that is read or selected is torn away. */
/** @param {HTMLElement} at @param {string} text */
const write = (at, text) => {
  if (at.textContent !== text) at.textContent = text
}

/** @type {Map<string, Known>} */
let known = new Map()
let history = 600_000
/** Shown for as long as there is one of this name. */
/** What follows the # may be anything: what is no name is none. */
const chosenByAddress = () => {
  try {
    return decodeURIComponent(location.hash.slice(1))
  } catch {
    return ""
  }
}

let chosen = chosenByAddress()
const charts = Charts.make(find("#charts"))

const current = () => known.get(chosen) ?? known.values().next().value

// ── The connection ──────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {"waiting" | "live" | "lost"} state @param {string} text */
const connection = (state, text) => {
  const at = find("#connection")
  at.dataset["state"] = state
  write(at, text)
}

const listen = () => {
  const events = new EventSource("/events")
  events.addEventListener("opening", (event) => {
    /** @type {Opening} */
    const opening = JSON.parse(event.data)
    history = opening.history
    known = new Map(opening.consumers.map((each) => [each.name, { ...each, points: [...each.points] }]))
    connection("live", "live")
    show()
  })
  events.addEventListener("update", (event) => {
    /** @type {ReadonlyArray<Update>} */
    const updates = JSON.parse(event.data)
    for (const { name, now, point } of updates) {
      const each = known.get(name)
      if (each === undefined) continue
      each.now = now
      each.points.push(point)
      const first = each.points.findIndex(({ at }) => at > point.at - history)
      if (first > 0) each.points.splice(0, first)
    }
    connection("live", "live")
    show()
  })
  events.addEventListener("error", () => {
    connection("lost", "not connected, trying again")
    // By itself it tries again only while the server answers; one that was started anew asks for its token again.
    if (events.readyState !== EventSource.CLOSED) return
    setTimeout(async () => {
      const answer = await fetch("/", { method: "HEAD" }).catch(() => undefined)
      if (answer?.status === 401) location.reload()
      else listen()
    }, 3000)
  })
}

// ── What is shown ───────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {Snapshot} now @returns {readonly [string, string]} */
const stateOf = (now) => {
  if (!now.health.healthy) return ["bad", "unhealthy"]
  if (now.paused) return ["warn", "paused"]
  if (now.diagnosis?.verdict === "behind") return ["bad", "behind"]
  if (now.diagnosis?.verdict === "attention") return ["warn", "needs attention"]
  return ["good", "healthy"]
}

/** Behind a hidden page nothing is drawn; it is all there when the page is looked at again. */
const show = () => {
  if (document.hidden) return
  const each = current()
  const now = each?.now ?? null
  find("#consumer").hidden = now === null
  find("#waiting").hidden = now !== null
  showConsumers()
  if (each === undefined || now === null) return
  const [kind, state] = stateOf(now)
  document.title = `${each.name}: ${state} · Millrace`
  write(find("#name"), each.name)
  write(find("#about"), `${now.queue === each.name ? "" : `queue ${now.queue}, `}running since ${clock(now.startedAt)}`)
  find("#state").dataset["kind"] = kind
  write(find("#state"), state)
  showControls(now)
  showDiagnosis(each.name, now)
  showTiles(now, each.points.at(-1))
  charts.show(each.points)
  showFailures(each.name, now)
  showGroups(now)
  showTimes(now)
  showTotals(now)
}

const showConsumers = () => {
  const nav = find("#consumers")
  nav.hidden = known.size < 2
  const list = find("#consumers ul")
  const names = [...known.keys()]
  if (list.dataset["names"] !== JSON.stringify(names)) {
    list.dataset["names"] = JSON.stringify(names)
    list.replaceChildren(
      ...names.map((name) => {
        const link = document.createElement("a")
        link.href = `#${encodeURIComponent(name)}`
        link.append(element("span", "dot"), name, element("span", "unseen"))
        return element("li", undefined, link)
      })
    )
  }
  for (const [i, link] of [...list.querySelectorAll("a")].entries()) {
    const each = known.get(names[i] ?? "")
    const [kind, state] = each?.now ? stateOf(each.now) : ["", "no readings yet"]
    link.dataset["kind"] = kind
    const said = link.querySelector(".unseen")
    if (said instanceof HTMLElement) write(said, `, ${state}`)
    if (each === current()) link.setAttribute("aria-current", "page")
    else link.removeAttribute("aria-current")
  }
}

const verdicts = {
  healthy: "It keeps up, and nothing is wrong.",
  attention: "It keeps up, but:",
  behind: "It is behind."
}

/** What was said last of each consumer, so that only a change is said again. */
const said = new Map()

/** @param {string} name @param {Snapshot} now */
const showDiagnosis = (name, now) => {
  const { diagnosis, health } = now
  const [kind] = stateOf(now)
  find("#diagnosis").dataset["kind"] = kind
  const verdict =
    diagnosis !== null
      ? diagnosis.verdict === "behind" && diagnosis.findings.length === 0
        ? "It is behind, and no figure of this consumer shows why: look at the other consumers of the queue."
        : verdicts[diagnosis.verdict]
      : health.healthy
        ? "It makes progress. What may hold it back is told after some readings."
        : "Something is wrong:"
  write(find("#verdict"), verdict)

  const problems = find("#problems")
  problems.hidden = health.healthy
  const told = health.problems.join("\n")
  if (problems.dataset["told"] !== told) {
    problems.dataset["told"] = told
    problems.replaceChildren(...health.problems.map((problem) => element("li", undefined, problem)))
  }

  const list = find("#findings")
  const findings = diagnosis?.findings ?? []
  list.hidden = findings.length === 0
  const shown = JSON.stringify(findings)
  if (list.dataset["shown"] !== shown) {
    list.dataset["shown"] = shown
    list.replaceChildren(
      ...findings.map((finding) => {
        const item = element("li")
        item.dataset["severity"] = finding.severity
        const heading = element("h3", undefined, finding.title)
        if (diagnosis?.verdict === "behind") {
          heading.append(" ", element("span", "score", `explains ${percent(finding.score)}`))
        }
        const changes = finding.change.map((change) => element("li", undefined, ...marked(change)))
        item.append(
          heading,
          element("p", undefined, ...marked(finding.evidence)),
          element("ul", "change", ...changes),
          element("p", "muted", ...marked(finding.why))
        )
        return item
      })
    )
  }

  // Numbers change at every reading: what is said is what it comes to.
  const sentence = [
    ...(health.healthy ? [] : ["unhealthy"]),
    ...(now.paused ? ["paused"] : []),
    ...(diagnosis === null ? [] : [diagnosis.verdict, ...findings.map(({ title }) => title)])
  ].join(". ")
  const before = said.get(name)
  said.set(name, sentence)
  if (before !== undefined && before !== sentence) write(find("#said"), `${name}: ${sentence || "healthy"}`)
}

/** @param {string} id @param {string} label */
const tile = (id, label) => {
  const value = element("dd", "figure")
  const more = element("dd", "muted")
  const bar = element("div", "bar", element("span", "filled"))
  bar.setAttribute("aria-hidden", "true")
  const whole = element("div", "card tile", element("dt", undefined, label), value, more)
  whole.id = `tile-${id}`
  find("#tiles").append(whole)
  /** @param {string} figure @param {string} text @param {{ part?: number | undefined, kind?: string }} [options] */
  return (figure, text, { kind = "", part } = {}) => {
    write(value, figure)
    write(more, text)
    whole.dataset["kind"] = kind
    if (part === undefined) return
    if (bar.parentElement === null) more.before(element("dd", "meter", bar))
    const inner = bar.firstElementChild
    if (inner instanceof HTMLElement) inner.style.width = `${Math.min(100, part * 100)}%`
  }
}

const tiles = {
  backlog: tile("backlog", "Backlog"),
  rate: tile("rate", "Handled"),
  inFlight: tile("in-flight", "In flight"),
  slots: tile("slots", "Slots busy"),
  handler: tile("handler", "Handler time"),
  failures: tile("failures", "Failing"),
  oldest: tile("oldest", "Oldest in flight"),
  deadLetters: tile("dead-letters", "Dead letters")
}

/** @param {Snapshot["backlog"]} backlog */
const course = (backlog) => {
  if (backlog === null) return "not read"
  if (backlog.problem !== null) return `as of ${clock(backlog.at)}: ${backlog.problem}`
  if (backlog.growth === null) return "its course is not known yet"
  const { growth, timeToDrain } = backlog
  if (Math.abs(growth) < 0.05) return "steady"
  if (growth > 0) return `grows by ${rate(growth)}`
  return `shrinks by ${rate(-growth)}${typeof timeToDrain === "number" ? `, empty in ${time(timeToDrain)}` : ""}`
}

/** @param {Snapshot} now @param {Point | undefined} point */
const showTiles = (now, point) => {
  const { backlog, stages } = now
  const handler = now.times.find(({ name }) => name === "handler")
  const slots = stages.reduce((sum, stage) => sum + stage.slots, 0)
  const running = stages.reduce((sum, stage) => sum + stage.running, 0)
  const waiting = stages.reduce((sum, stage) => sum + stage.waiting, 0)
  const busy = slots === 0 ? 0 : stages.reduce((sum, stage) => sum + stage.busy * stage.slots, 0) / slots
  const circuit = stages.find((stage) => stage.circuit === "none" || stage.circuit === "probes")
  tiles.backlog(count(backlog?.visible), course(backlog), {
    kind: backlog?.problem != null || (backlog?.growth ?? 0) > 0.05 ? "warn" : ""
  })
  tiles.rate(rate(point?.handled), `${rate(point?.received)} received`)
  tiles.inFlight(count(now.inFlight), `of ${count(now.bound)} at most`, { part: now.inFlight / now.bound })
  tiles.slots(
    slots === 0 ? unknown : percent(busy),
    slots === 0
      ? "no handler yet"
      : `${count(running)} of ${count(slots)} run, ${count(waiting)} wait${circuit === undefined ? "" : `; circuit lets through ${circuit.circuit}`}`,
    { part: busy, kind: circuit === undefined ? "" : "bad" }
  )
  tiles.handler(time(handler?.p50), `95 % ${time(handler?.p95)}, 99 % ${time(handler?.p99)}`)
  const failed = point?.failed ?? 0
  const runs = failed + (point?.handled ?? 0)
  tiles.failures(rate(failed), runs === 0 ? "nothing was run" : `${percent(failed / runs)} of the runs`, {
    kind: runs > 0 && failed / runs > 0.1 ? "bad" : ""
  })
  tiles.oldest(
    time(now.oldestInFlight),
    backlog?.oldest == null ? "since it was received" : `in the queue: ${time(backlog.oldest)}`
  )
  tiles.deadLetters(count(backlog?.deadLetters), `${count(now.totals["dead-lettered"])} from here`, {
    kind: (backlog?.deadLetters ?? 0) > 0 ? "warn" : ""
  })
}

/** @param {string} id @param {ReadonlyArray<ReadonlyArray<string | Node>>} rows */
const fill = (id, rows) => {
  find(`#${id} tbody`).replaceChildren(
    ...rows.map(([first = "", ...rest]) => {
      const head = element("th", undefined, first)
      head.setAttribute("scope", "row")
      return element("tr", undefined, head, ...rest.map((cell) => element("td", "number", cell)))
    })
  )
}

/** Rows stay the same elements for as long as they are shown: their buttons may have the focus. */
/** @type {Map<string, { row: HTMLElement, ago: HTMLElement, at: number }>} */
let failureRows = new Map()

/** @param {string} name @param {Snapshot} now */
const showFailures = (name, now) => {
  find("#no-failures").hidden = now.failures.length > 0
  find("#failures").hidden = now.recentFailures.length === 0
  const tags = find("#failure-tags")
  tags.hidden = now.failures.length === 0
  tags.replaceChildren(
    ...now.failures.map(({ count: n, error }) =>
      element("li", undefined, error, " ", element("b", undefined, count(n)))
    )
  )
  /** @type {typeof failureRows} */
  const rows = new Map()
  for (const { at, attempt, error, group, messageId } of now.recentFailures) {
    const key = JSON.stringify([name, messageId, at, attempt, now.bodies])
    const made = failureRows.get(key)
    if (made !== undefined) {
      rows.set(key, made)
      continue
    }
    const ago = element("th", undefined)
    ago.setAttribute("scope", "row")
    const message = element("td", undefined, element("code", undefined, messageId))
    if (group !== null) message.append(" ", element("span", "muted", `group ${group}`))
    if (now.bodies) {
      const button = element("button", "small", "Body")
      button.setAttribute("aria-label", `Body of message ${messageId}`)
      button.addEventListener("click", () => showBody(name, messageId))
      message.append(" ", button)
    }
    const row = element(
      "tr",
      undefined,
      ago,
      element("td", undefined, error),
      message,
      element("td", "number", count(attempt))
    )
    rows.set(key, { row, ago, at })
  }
  const same = [...rows.keys()].join() === [...failureRows.keys()].join()
  failureRows = rows
  if (!same) find("#failures tbody").replaceChildren(...[...rows.values()].map(({ row }) => row))
  for (const { ago, at } of rows.values()) write(ago, time(Math.max(0, now.at - at)))
}

/** @param {string} consumer @param {string} message */
const showBody = async (consumer, message) => {
  const dialog = find("#body")
  if (!(dialog instanceof HTMLDialogElement)) return
  write(find("#body-h"), `Message ${message}`)
  const at = find("#body pre")
  write(at, "…")
  dialog.showModal()
  const answer = await fetch(`/body?${new URLSearchParams({ consumer, message })}`).catch(() => undefined)
  write(at, answer === undefined ? "The server does not answer." : await answer.text())
}

/** What the queue itself says of its groups. @param {Snapshot["backlog"]} backlog */
const noisy = (backlog) => {
  if (backlog === null || backlog.noisyGroups === null) return ""
  const quiet = backlog.quietWaiting === null ? "" : `, ${count(backlog.quietWaiting)} messages of quiet ones wait`
  return `The queue takes ${backlog.noisyGroups === 0 ? "none" : count(backlog.noisyGroups)} for noisy${quiet}.`
}

/** Of an ordered queue those whose heads hold up the most; of another those that have most of the slots. @param {Snapshot} now */
const showGroups = (now) => {
  const [title, rank] = now.ordered
    ? ["Groups with the oldest heads", (/** @type {Snapshot["groups"][number]} */ { headAge }) => headAge]
    : ["Groups with most of the slots' time", (/** @type {Snapshot["groups"][number]} */ { time }) => time]
  const first = [...now.groups].sort((a, b) => rank(b) - rank(a)).slice(0, 10)
  find("#no-groups").hidden = first.length > 0
  find("#groups").hidden = first.length === 0
  write(
    find("#groups-h"),
    now.groupsInFlight > first.length ? `${title} (${count(now.groupsInFlight)} in flight)` : title
  )
  const said = noisy(now.backlog)
  find("#noisy-groups").hidden = said === ""
  write(find("#noisy-groups"), said)
  fill(
    "groups",
    first.map(({ attempt, group, headAge, inFlight, running, share, time: busy }) => [
      group,
      `${time(headAge)}${running ? "" : ", waits"}`,
      count(attempt),
      count(inFlight),
      percent(share),
      percent(busy)
    ])
  )
}

const callNames = new Map([
  ["ack", "delete"],
  ["setLease", "change the lease"],
  ["deadLetter", "dead-letter"]
])

/** @param {Snapshot} now */
const showTimes = (now) => {
  fill(
    "times",
    now.times.map(({ name, p50, p95, p99 }) => [name, time(p50), time(p95), time(p99)])
  )
  fill(
    "calls",
    now.calls.map(({ name, p50, p99, perSecond }) => [
      callNames.get(name) ?? name,
      rate(perSecond).replace("/s", ""),
      time(p50),
      time(p99)
    ])
  )
  const { fatal, throttled, transient } = now.failedCalls
  const failed = [
    ...(throttled > 0 ? [`${count(throttled)} throttled`] : []),
    ...(transient > 0 ? [`${count(transient)} transient`] : []),
    ...(fatal > 0 ? [`${count(fatal)} fatal`] : [])
  ]
  write(
    find("#failed-calls"),
    failed.length === 0 ? "No call failed of late." : `Failed of late: ${failed.join(", ")}.`
  )
}

/** @param {Snapshot} now */
const showTotals = (now) => {
  find("#totals").replaceChildren(
    ...Object.entries(now.totals).map(([name, n]) =>
      element("div", undefined, element("dt", undefined, name), element("dd", undefined, count(n)))
    )
  )
}

// ── Controls ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {Snapshot} now */
const showControls = (now) => {
  const { concurrency, pause } = now.controls
  find("#controls").hidden = !pause && concurrency === null
  find("#pause").hidden = !pause
  write(find("#pause"), now.paused ? "Resume" : "Pause")
  find("#concurrency").hidden = concurrency === null
  const input = find("#slots")
  // Not while somebody writes another.
  if (input instanceof HTMLInputElement && concurrency !== null && document.activeElement !== input) {
    if (input.dataset["now"] !== String(concurrency)) input.value = String(concurrency)
    input.dataset["now"] = String(concurrency)
  }
}

/** @param {Command} command @param {string} done */
const send = async (command, done) => {
  const answer = await fetch("/control", {
    method: "POST",
    headers: { "content-type": "application/json", "x-millrace": "control" },
    body: JSON.stringify(command)
  }).catch(() => undefined)
  const text = answer === undefined ? "The server does not answer." : answer.ok ? done : await answer.text()
  write(find("#answer"), text)
}

find("#pause").addEventListener("click", () => {
  const each = current()
  if (!each?.now) return
  const action = each.now.paused ? "resume" : "pause"
  send({ consumer: each.name, action }, action === "pause" ? "Paused: no more is received." : "Resumed.")
})

find("#concurrency").addEventListener("submit", (event) => {
  event.preventDefault()
  const input = find("#slots")
  const each = current()
  if (!(input instanceof HTMLInputElement) || each === undefined) return
  const value = input.valueAsNumber
  send({ consumer: each.name, action: "concurrency", value }, `Concurrency is ${count(value)}.`)
})

addEventListener("hashchange", () => {
  // The skip link has a fragment of its own.
  if (location.hash === "#main") return
  chosen = chosenByAddress()
  write(find("#answer"), "")
  show()
  scrollTo(0, 0)
})
document.addEventListener("visibilitychange", show)
listen()
