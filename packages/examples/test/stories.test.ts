import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as AutoscalePage from "../src/autoscale/Page.js"
import * as Autoscale from "../src/autoscale/Play.js"
import * as DeadLetter from "../src/dead-letter/Consumers.js"
import * as DeadLetterPage from "../src/dead-letter/Page.js"
import * as DeadLetterStage from "../src/dead-letter/Stage.js"
import * as Fifo from "../src/fifo/Consumers.js"
import * as FifoPage from "../src/fifo/Page.js"
import * as FifoStage from "../src/fifo/Stage.js"
import * as Story from "../src/Story.js"
import * as TenantsPage from "../src/tenants/Page.js"
import * as Tenants from "../src/tenants/Town.js"

const standsAlone = (page: string) => {
  assert.notMatch(page, /https?:|<script|<link|@import|url\(|NaN|undefined|Infinity/)
  for (const chart of page.match(/<svg [^>]*role="img"[^>]*>/g) ?? []) {
    const [title, description] = /aria-labelledby="(\S+) (\S+)"/.exec(chart)?.slice(1) ?? []
    assert.match(page, new RegExp(`<title id="${title}">[^<]+</title><desc id="${description}">[^<]+</desc>`))
  }
  const ids = page.match(/ id="[^"]+"/g) ?? []
  assert.strictEqual(new Set(ids).size, ids.length)
}

describe("stories", { timeout: 240_000 }, () => {
  it.effect("fifo: ours holds the group, in order; the loops overtake, or burn receives until nobody tries", () =>
    Effect.gen(function* () {
      const ours = yield* Story.simulated(FifoStage.play("Millrace", Fifo.ours))
      const goesOn = yield* Story.simulated(FifoStage.play("goes on", Fifo.goesOn))
      const givesBack = yield* Story.simulated(FifoStage.play("gives back", Fifo.givesBack))
      assert.deepInclude(ours, { overtaking: 0, dead: 0 })
      assert.strictEqual(ours.booked.length, 24)
      assert.isBelow(FifoPage.doneAfter(ours) ?? Number.POSITIVE_INFINITY, 20)
      // One receive for each of the account's eight bookings.
      assert.strictEqual(ours.receives.at(-1)?.[1], 8)
      assert.isAbove(goesOn.overtaking, 0)
      assert.isAtLeast(FifoPage.doneAfter(goesOn) ?? 0, 30)
      assert.strictEqual(givesBack.overtaking, 0)
      assert.isAbove(givesBack.untried, 0)
      standsAlone(FifoPage.html({ ours, goesOn, givesBack }))
    })
  )

  it.effect("tenants: with shares the quiet ones do not notice the noisy one, and as much is done", () =>
    Effect.gen(function* () {
      const alone = yield* Story.simulated(Tenants.play("alone", false, undefined))
      const without = yield* Story.simulated(Tenants.play("without shares", true, undefined))
      const shared = yield* Story.simulated(Tenants.play("with shares", true, {}))
      assert.isAbove(without.p95, 10)
      assert.isAtMost(shared.p95, 2 * alone.p95)
      assert.isAtLeast(shared.done, 0.95 * without.done)
      standsAlone(TenantsPage.html({ alone, without, shared }))
    })
  )

  it.effect("dead letters: ours soon, with the reason and the attempt; the loops' late, with neither", () =>
    Effect.gen(function* () {
      const ours = yield* Story.simulated(DeadLetterStage.play("Millrace", DeadLetter.ours))
      const naive = yield* Story.simulated(DeadLetterStage.play("plain loops", DeadLetter.naive))
      for (const { samples } of [ours, naive]) assert.strictEqual(samples.at(-1)?.done, 298)
      const [unreadable, unfulfillable] = ours.deadLetters
      assert.match(unreadable?.reason ?? "", /^DecodeError: .* order_id/)
      assert.strictEqual(unreadable?.attempt, "1")
      assert.match(unfulfillable?.reason ?? "", /^OutOfStock: there are no unicorns/)
      assert.strictEqual(unfulfillable?.attempt, "3")
      assert.isBelow(unfulfillable?.at ?? 0, 20)
      assert.strictEqual(naive.deadLetters.length, 2)
      for (const { at, reason } of naive.deadLetters) {
        assert.isAbove(at, 120)
        assert.isUndefined(reason)
      }
      standsAlone(DeadLetterPage.html({ ours, naive }))
    })
  )

  it.effect(
    "autoscale: by advice orders are done in their time, for no more than a fixed fleet costs, and none is lost",
    () =>
      Effect.gen(function* () {
        const plays = yield* Autoscale.both
        const { advised, fixed } = plays
        for (const played of [advised, fixed]) {
          assert.isUndefined(Autoscale.problem(played))
          assert.strictEqual(played.done, played.sent)
          assert.strictEqual(played.again, 0)
        }
        assert.isAtMost(advised.hours, fixed.hours)
        assert.isAbove(fixed.hours, 24)
        // Consumers that went were drained while orders came.
        assert.isAbove(advised.drained, 10)
        assert.isAtMost(Math.max(...advised.samples.map(({ consumers }) => consumers)), Autoscale.max)
        // The campaign too, with the minutes that counting and starting take.
        assert.isAtMost(advised.waits.at(-1) ?? 0, Autoscale.target + 3)
        assert.isAbove(fixed.waits.at(-1) ?? 0, 4 * Autoscale.target)
        standsAlone(AutoscalePage.html(plays))
        const wrong = { ...fixed, lost: 1 }
        assert.match(AutoscalePage.print({ advised, fixed: wrong }), /1 orders were not done/)
      })
  )
})
