import { assert, describe, it } from "@effect/vitest"
import { ProcessLoad } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { Effect } from "effect"
import { acts, type Scenario, slow } from "../src/backpressure/Acts.js"
import { svg } from "../src/backpressure/Chart.js"
import { figures, perSecond } from "../src/backpressure/Figures.js"
import { html } from "../src/backpressure/Page.js"
import { type Played, play } from "../src/backpressure/Stage.js"

const played = new Map<Scenario, Played>()

/** Played once, in virtual time. */
const performed = (scenario: Scenario): Played => {
  const known =
    played.get(scenario) ??
    Effect.runSync(Simulation.run(1, Effect.provide(play(scenario), ProcessLoad.layerUnknown), { order: "fifo" }).exit)
  played.set(scenario, known)
  return known
}

describe("backpressure", { timeout: 120_000 }, () => {
  it("one at a time: the backlog grows by 18 a second, and still every order is done once", () => {
    const { again, allDoneAt, bound, done, growth, peakInFlight, sent } = figures(performed(acts.oneAtATime))
    assert.approximately(growth, 18, 0.5)
    assert.deepStrictEqual({ again, done, sent }, { again: 0, done: 1_000, sent: 1_000 })
    // 1,000 orders of half a second.
    assert.approximately(allDoneAt ?? 0, 500, 5)
    assert.isAtMost(peakInFlight, bound ?? 0)
  })

  it("the naive loop: messages outlive their lease in memory and are worked on again", () => {
    const { again, done, peakInFlight, runs } = figures(performed(acts.naiveLoop))
    assert.isAbove(again, 100)
    assert.isBelow(done, 100)
    assert.isAbove(peakInFlight, 900)
    // It was busy all the time: half a second of work and 10 milliseconds of delete each.
    assert.approximately(runs, acts.naiveLoop.until / 0.51, 10)
  })

  it("32 at a time: the backlog of the first act drains, in flight within its bound", () => {
    const { again, bound, done, drainedAt, peakInFlight, sent } = figures(performed(acts.enough))
    // 900 at 64 - 20 a second.
    assert.approximately(drainedAt ?? 0, 20.5, 3)
    assert.deepStrictEqual({ again, done, sent }, { again: 0, done: 1_900, sent: 1_900 })
    assert.isAtMost(peakInFlight, bound ?? 0)
  })

  it("a slow downstream: polling slows with it, in flight stays at its bound, and it recovers", () => {
    const act = performed(acts.slowDownstream)
    const { again, bound, done, peakInFlight } = figures(act)
    const receives = (from: number, to: number) => perSecond(act, ({ receives }) => receives, from, to)
    assert.isAbove(receives(5, slow.from), 15)
    assert.isBelow(receives(slow.from + 5, slow.to), 2)
    const inFlight = act.samples.filter(({ at }) => at >= slow.from + 8 && at < slow.to).map(({ inFlight }) => inFlight)
    assert.isAtLeast(Math.min(...inFlight), 32)
    assert.isAtMost(peakInFlight, bound ?? 0)
    assert.deepStrictEqual({ again, done }, { again: 0, done: 1_000 })
  })

  it("each act's diagnosis is what its story is about", () => {
    const found = (scenario: Scenario) => {
      const { diagnosis } = performed(scenario)
      return [diagnosis?.verdict, diagnosis?.findings[0]?._tag]
    }
    assert.deepStrictEqual(found(acts.oneAtATime), ["behind", "TooFewSlots"])
    // 900 wait, and will be gone in twenty seconds.
    assert.deepStrictEqual(found(acts.enough), ["healthy", undefined])
    assert.deepStrictEqual(found(acts.slowDownstream), ["behind", "SlowHandler"])
  })

  it("the page stands alone, and its charts can be read without being seen", () => {
    const page = html({
      oneAtATime: performed(acts.oneAtATime),
      naiveLoop: performed(acts.naiveLoop),
      enough: performed(acts.enough),
      slowDownstream: performed(acts.slowDownstream)
    })
    assert.notMatch(page, /https?:|<script|<link|@import|url\(|NaN|undefined|Infinity/)
    assert.match(page, /prefers-color-scheme: dark/)
    const charts = page.match(/<svg [^>]*role="img"[^>]*>/g) ?? []
    assert.strictEqual(charts.length, 9)
    for (const chart of charts) {
      const [title, description] = /aria-labelledby="(\S+) (\S+)"/.exec(chart)?.slice(1) ?? []
      assert.match(page, new RegExp(`<title id="${title}">[^<]+</title><desc id="${description}">[^<]+</desc>`))
    }
    const ids = page.match(/ id="[^"]+"/g) ?? []
    assert.strictEqual(new Set(ids).size, ids.length)
  })

  it("a chart of nothing is empty, and escapes what it is given", () => {
    const drawn = svg({ id: "c", title: "a < b", description: `"&"`, lines: [{ label: "l", colour: 1, points: [] }] })
    assert.include(drawn, "a &lt; b")
    assert.include(drawn, "&quot;&amp;&quot;")
    assert.notMatch(drawn, /NaN|Infinity/)
  })
})
