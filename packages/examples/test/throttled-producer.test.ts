import { assert, describe, it } from "@effect/vitest"
import { Simulation } from "@millrace/core/testing"
import { Effect } from "effect"
import { html } from "../src/throttled-producer/Page.js"
import { figures, type Played, play, strategies, target } from "../src/throttled-producer/Play.js"

const played = new Map<string, Played>()

/** Played once, in virtual time. */
const performed = (name: keyof typeof strategies): Played => {
  const known =
    played.get(name) ?? Effect.runSync(Simulation.run(1, play(name, strategies[name]), { order: "fifo" }).exit)
  played.set(name, known)
  return known
}

describe("throttled-producer", { timeout: 120_000 }, () => {
  it("without a throttle the backlog grows by 18 a second, and the queue is never read", () => {
    const { done, mostWaiting, readings, waitingAtEnd } = figures(performed("unthrottled"))
    assert.approximately(mostWaiting, 18 * 1_200, 300)
    assert.strictEqual(waitingAtEnd, mostWaiting)
    assert.approximately(done, 2_400, 80)
    assert.strictEqual(readings, 0)
  })

  it("with it the backlog comes to its target and stays, and as much is done", () => {
    const { done, mostWaiting, rateAtEnd, readings, sent, settled } = figures(performed("throttled"))
    assert.isAtLeast(settled.least, 0.75 * target)
    assert.isAtMost(settled.most, 1.25 * target)
    assert.isAtMost(mostWaiting, 1.5 * target)
    assert.approximately(rateAtEnd, 2, 0.6)
    // The consumer has hardly ever been without work.
    assert.approximately(done, figures(performed("unthrottled")).done, 120)
    assert.approximately(sent, done + target, 60)
    assert.approximately(readings, 120, 2)
  })

  it("the page stands alone, and its charts can be read without being seen", () => {
    const page = html({ unthrottled: performed("unthrottled"), throttled: performed("throttled") })
    assert.notMatch(page, /https?:|<script|<link|@import|url\(|NaN|undefined|Infinity/)
    const charts = page.match(/<svg [^>]*role="img"[^>]*>/g) ?? []
    assert.strictEqual(charts.length, 3)
    for (const chart of charts) {
      const [title, description] = /aria-labelledby="(\S+) (\S+)"/.exec(chart)?.slice(1) ?? []
      assert.match(page, new RegExp(`<title id="${title}">[^<]+</title><desc id="${description}">[^<]+</desc>`))
    }
  })
})
