/** The page as people meet it: in a browser, against a consumer at work. */
import { assert, describe, it } from "@effect/vitest"
import { Dashboard } from "@millrace/dashboard"
import { Effect, Redacted } from "effect"
import type { BrowserContextOptions, Page } from "playwright-core"
import { vi } from "vitest"
import { executable, newPage, useBrowser } from "./support/Browser.js"
import { working } from "./support/index.js"

if (executable === undefined) {
  console.warn("The page is not tested: no Chromium is installed (apt-get install chromium, or CHROMIUM=<its path>).")
}

const run = <A>(f: () => Promise<A>) => Effect.promise(f)

/**
 * Waits until it holds in the page. All that is asked of the page is text: the types of its world are not ours, and its
 * own policy forbids it to evaluate any.
 */
const until = (page: Page, holds: string) =>
  run(() =>
    vi
      .waitUntil(() => page.evaluate<unknown>(holds).catch(() => false), { timeout: 45_000, interval: 50 })
      .catch(() => assert.fail(`it never held that ${holds}`))
  )

const valueOf = <A>(page: Page, expression: string) => run(() => page.evaluate<A>(expression))

const text = (selector: string) => `document.querySelector(${JSON.stringify(selector)}).textContent`

const open = (
  entry: (work: Effect.Effect.Success<ReturnType<typeof working>>) => Partial<Dashboard.Entry> = () => ({}),
  options: BrowserContextOptions = {},
  more: Partial<Dashboard.Options> = {}
) =>
  Effect.gen(function* () {
    const work = yield* working("orders")
    const { consumer } = work
    const dashboard = yield* Dashboard.make({
      port: 0,
      every: "200 millis",
      consumers: Effect.succeed({ orders: { consumer, ...entry(work) } }),
      ...more
    })
    const { errors, page } = yield* newPage(options)
    yield* run(() => page.goto(dashboard.url))
    return { ...work, dashboard, page, errors }
  })

const shown = (page: Page) => run(() => page.locator("#consumer").waitFor({ state: "visible" }))

/** Between a text and what is behind it, by WCAG 2, from the colours that the browser computed. */
const contrast = (page: Page, selector: string) =>
  valueOf<number>(
    page,
    `(() => {
      const luminance = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).map((part) => {
          const c = Number(part) / 255
          return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
        })
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
      }
      const at = document.querySelector(${JSON.stringify(selector)})
      let ground = "rgba(0, 0, 0, 0)"
      for (let behind = at; ground === "rgba(0, 0, 0, 0)"; behind = behind.parentElement) {
        ground = getComputedStyle(behind).backgroundColor
      }
      const [dark, light] = [luminance(getComputedStyle(at).color), luminance(ground)].sort((a, b) => a - b)
      return (light + 0.05) / (dark + 0.05)
    })()`
  )

describe.skipIf(executable === undefined)("the page", { timeout: 120_000 }, () => {
  useBrowser()

  it.scopedLive("shows a consumer at work, live: figures, charts, failures, groups, calls", () =>
    Effect.gen(function* () {
      const { errors, page } = yield* open(({ backlog }) => ({ backlog }))
      yield* shown(page)
      yield* until(page, `${text("#tile-in-flight .muted")} === "of 20 at most"`)
      yield* until(page, `/^\\d/.test(${text("#tile-backlog .figure")})`)
      yield* until(page, `${text("#tile-dead-letters .figure")} === "7"`)
      yield* until(page, `/^\\d+ ms$/.test(${text("#tile-handler .figure")})`)
      yield* until(page, `/CardDeclined \\d/.test(${text("#failure-tags")})`)
      yield* until(page, `/<i>customer-\\d<\\/i>/.test(${text("#groups tbody")})`)
      yield* until(page, `${text("#groups-h")}.startsWith("Groups with the oldest heads")`)
      assert.isFalse(yield* run(() => page.locator("#noisy-groups").isVisible()))
      yield* until(page, `${text("#calls tbody tr")}.startsWith("receive")`)
      yield* until(page, `${text("#connection")} === "live"`)
      // It goes on by itself.
      const before = yield* valueOf<string>(page, text("#totals"))
      yield* until(page, `${text("#totals")} !== ${JSON.stringify(before)}`)
      // Something is drawn in each chart, in its own colours.
      const drawn = `[...document.querySelectorAll(".plot canvas")].filter((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
        return data.some((value, i) => i % 4 === 3 && value === 255 && Math.max(...data.slice(i - 3, i)) - Math.min(...data.slice(i - 3, i)) > 60)
      }).length === 4`
      yield* until(page, drawn)
      assert.deepEqual(errors, [])
    })
  )

  it.scopedLive("shows itself though its address ends in what cannot be decoded", () =>
    Effect.gen(function* () {
      const { dashboard, errors, page } = yield* open()
      yield* run(() => page.goto(`${dashboard.url}/#%`))
      yield* run(() => page.reload())
      yield* shown(page)
      yield* until(page, `${text("#connection")} === "live"`)
      assert.deepEqual(errors, [])
    })
  )

  it.scopedLive("says in words what is wrong, and what to change", () =>
    Effect.gen(function* () {
      const { page } = yield* open(
        ({ backlog }) => ({ backlog }),
        {},
        {
          diagnosis: { window: "5 seconds", every: "1 second", memory: "10 seconds" }
        }
      )
      yield* shown(page)
      yield* until(page, `document.querySelectorAll("#findings > li[data-severity] .change li").length > 0`)
      const titles = yield* run(() => page.locator("#findings h3").allTextContents())
      assert.isNotEmpty(titles)
      yield* until(page, `["behind", "needs attention"].includes(${text("#state")})`)
    })
  )

  it.scopedLive("shows the last minutes to who comes late", () =>
    Effect.gen(function* () {
      const { dashboard, page } = yield* open()
      yield* shown(page)
      yield* until(page, `${text("#connection")} === "live"`)
      const rows = `document.querySelectorAll("#chart-rates tbody tr").length`
      yield* run(() => page.locator("#chart-rates summary").click())
      yield* until(page, `${rows} === 12`)
      yield* run(() => page.goto(`${dashboard.url}/#orders`))
      yield* run(() => page.reload())
      yield* shown(page)
      yield* run(() => page.locator("#chart-rates summary").click())
      // The first that is drawn has all twelve: to gather them anew would show fewer first.
      yield* until(page, `${rows} > 0`)
      assert.strictEqual(yield* valueOf<number>(page, rows), 12)
    })
  )

  it.scopedLive("has no controls and no bodies unless the program gives them", () =>
    Effect.gen(function* () {
      const { page } = yield* open()
      yield* shown(page)
      yield* until(page, `document.querySelectorAll("#failures tbody tr").length > 0`)
      assert.strictEqual(yield* run(() => page.getByRole("button").count()), 0)
      assert.strictEqual(yield* run(() => page.getByRole("spinbutton").count()), 0)
      assert.notInclude(yield* run(() => page.content()), "secret")
    })
  )

  it.scopedLive("pauses and resumes, and sets the concurrency, where the program lets it", () =>
    Effect.gen(function* () {
      const { concurrency, consumer, page } = yield* open(({ concurrency }) => ({
        controls: { pause: true, concurrency }
      }))
      yield* run(() => page.getByRole("button", { name: "Pause" }).click())
      yield* until(page, `${text("#state")} === "paused"`)
      assert.isTrue((yield* consumer.figures).paused)
      yield* run(() => page.getByRole("button", { name: "Resume" }).click())
      yield* until(page, `${text("#state")} !== "paused"`)
      assert.isFalse((yield* consumer.figures).paused)

      const slots = page.getByRole("spinbutton", { name: "Concurrency" })
      assert.strictEqual(yield* run(() => slots.inputValue()), "4")
      yield* run(() => slots.fill("9"))
      yield* run(() => slots.press("Enter"))
      yield* until(page, `${text("#answer")} === "Concurrency is 9."`)
      assert.strictEqual(concurrency.unsafeGet(), 9)
      yield* until(page, `/ of 9 run/.test(${text("#tile-slots .muted")})`)
      yield* run(() => slots.fill("99"))
      yield* run(() => slots.press("Enter"))
      yield* until(page, `${text("#answer")} === "concurrency is 99; write a number from 1 to 32"`)
      assert.strictEqual(concurrency.unsafeGet(), 9)
    })
  )

  it.scopedLive("shows a body that is asked for as text, never as markup", () =>
    Effect.gen(function* () {
      const { errors, page } = yield* open(({ bodies }) => ({ bodies }))
      yield* shown(page)
      // By its element: rows move on while one is looked for.
      yield* until(
        page,
        `(() => { const b = document.querySelector("#failures button"); if (b) b.click(); return b !== null })()`
      )
      yield* until(page, `${text("#body pre")}.includes("<img src=x onerror=")`)
      assert.strictEqual(yield* run(() => page.locator("#body img, #groups i, #failures i").count()), 0)
      assert.isTrue(yield* run(() => page.getByRole("dialog").isVisible()))
      yield* run(() => page.keyboard.press("Escape"))
      assert.isFalse(yield* run(() => page.getByRole("dialog").isVisible()))
      assert.match(yield* run(() => page.title()), /^orders: /)
      assert.deepEqual(errors, [])
    })
  )

  it.scopedLive("fits a phone: nothing is wider than the screen", () =>
    Effect.gen(function* () {
      const { page } = yield* open(
        ({ backlog, bodies, concurrency }) => ({ backlog, bodies, controls: { pause: true, concurrency } }),
        { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true }
      )
      yield* shown(page)
      yield* until(page, `document.querySelectorAll("#failures tbody tr").length > 0`)
      yield* until(
        page,
        `[...document.querySelectorAll(".plot .uplot")].every((u) => u.offsetWidth <= u.parentElement.clientWidth)`
      )
      const [inner, scroll] = yield* valueOf<[number, number]>(
        page,
        "[window.innerWidth, document.documentElement.scrollWidth]"
      )
      assert.strictEqual(inner, 320)
      assert.isAtMost(scroll, 320)
    })
  )

  for (const colorScheme of ["light", "dark"] as const) {
    it.scopedLive(`is readable in ${colorScheme} mode`, () =>
      Effect.gen(function* () {
        const { page } = yield* open(({ backlog }) => ({ backlog, controls: { pause: true } }), { colorScheme })
        yield* shown(page)
        yield* until(page, `document.querySelectorAll("#failure-tags li").length > 0`)
        const ground = yield* valueOf<string>(page, "getComputedStyle(document.body).backgroundColor")
        const [red = 0] = (ground.match(/\d+/g) ?? []).map(Number)
        if (colorScheme === "dark") assert.isBelow(red, 40)
        else assert.isAbove(red, 200)
        const all = [
          "h1",
          "#about",
          "#state",
          ".tile .figure",
          ".tile .muted",
          ".tile dt",
          "#verdict",
          "summary",
          "th",
          "#pause"
        ]
        for (const selector of [...all, ".legend .value", ".legend li", "#connection"]) {
          assert.isAtLeast(yield* contrast(page, selector), 4.5, selector)
        }
        // Two of a chart's colours are told apart from the ground by 3 to 1, as WCAG asks of graphics.
        for (const name of ["--blue", "--green", "--orange", "--violet", "--red"]) {
          yield* valueOf(page, `document.querySelector("#about").style.color = "var(${name})"`)
          assert.isAtLeast(yield* contrast(page, "#about"), 3, name)
        }
      })
    )
  }

  it.scopedLive("is used by keys alone, and shows where the focus is", () =>
    Effect.gen(function* () {
      const { consumer, page } = yield* open(({ concurrency }) => ({ controls: { pause: true, concurrency } }))
      yield* shown(page)
      const focused = `(() => {
        const at = document.activeElement
        const { outlineStyle, outlineWidth } = getComputedStyle(at)
        return outlineStyle === "none" || outlineWidth === "0px" ? "unseen" : at.textContent.trim() || at.id
      })()`
      const path: Array<string> = []
      for (let i = 0; i < 5; i++) {
        yield* run(() => page.keyboard.press("Tab"))
        path.push(yield* valueOf<string>(page, focused))
        if (i === 1) yield* run(() => page.keyboard.press("Enter"))
      }
      assert.deepEqual(path.slice(0, 4), ["Skip to the consumer", "Pause", "slots", "Set"])
      assert.include(path[4], "As a table")
      yield* until(page, `${text("#state")} === "paused"`)
      assert.isTrue((yield* consumer.figures).paused)
      yield* run(() => page.keyboard.press("Enter"))
      yield* until(page, `document.querySelectorAll("#chart-backlog tbody tr").length > 0`)
    })
  )

  it.scopedLive(
    "has names for who listens: landmarks, headings, charts in words, tables, one live region of what changed",
    () =>
      Effect.gen(function* () {
        const { consumer, page } = yield* open(({ backlog }) => ({ backlog, controls: { pause: true } }))
        yield* shown(page)
        const count = (role: Parameters<Page["getByRole"]>[0], name?: string | RegExp) =>
          run(() => page.getByRole(role, name === undefined ? {} : { name }).count())
        for (const landmark of ["banner", "main"] as const) assert.strictEqual(yield* count(landmark), 1, landmark)
        for (const region of ["Diagnosis", "Controls", "Failures", "Calls to the queue", "Times of a message"]) {
          assert.isAtLeast(yield* count("region", region), 1, region)
        }
        const headings = yield* run(() => page.getByRole("heading").evaluateAll((all) => all.map((h) => h.tagName)))
        assert.strictEqual(headings[0], "H1")
        assert.strictEqual(headings.filter((tag) => tag === "H1").length, 1)
        // No level is skipped.
        for (const [i, tag] of headings.entries()) {
          assert.isAtMost(Number(tag.slice(1)) - Number(headings[i - 1]?.slice(1) ?? 0), 1, `${headings[i - 1]} ${tag}`)
        }
        yield* until(page, `/now: median \\d/.test(document.querySelector("#chart-times .plot").ariaLabel)`)
        assert.strictEqual(
          yield* count("img", /^(Backlog|Messages a second|In flight and slots|Handler time), now: /),
          4
        )
        assert.strictEqual(yield* run(() => page.locator("th:not([scope])").count()), 0)

        // Readings go by and nothing is said; a change is said once.
        const said = yield* run(() => page.locator("#said").textContent())
        assert.strictEqual(said, "")
        assert.strictEqual(yield* run(() => page.locator("#said").getAttribute("role")), "status")
        yield* consumer.pause
        yield* until(page, `/^orders: paused/.test(${text("#said")})`)
      })
  )

  it.scopedLive("keeps still where motion is not wanted", () =>
    Effect.gen(function* () {
      const moves = (page: Page) =>
        valueOf<string>(
          page,
          `getComputedStyle(document.querySelector("#tile-in-flight .bar span")).transitionDuration`
        )
      const still = yield* open(() => ({}), { reducedMotion: "reduce" })
      yield* shown(still.page)
      assert.strictEqual(yield* moves(still.page), "0s")
      const moving = yield* open()
      yield* shown(moving.page)
      assert.strictEqual(yield* moves(moving.page), "0.3s")
    })
  )

  it.scopedLive("shows one of several consumers at a time, by a link of its own", () =>
    Effect.gen(function* () {
      const orders = yield* working("orders")
      const bills = yield* working("bills", { ordered: false })
      const dashboard = yield* Dashboard.make({
        port: 0,
        every: "200 millis",
        consumers: Effect.succeed({
          orders: orders.consumer,
          "bills & <b>more</b>": { consumer: bills.consumer, backlog: bills.backlog }
        })
      })
      const { errors, page } = yield* newPage()
      yield* run(() => page.goto(dashboard.url))
      yield* shown(page)
      assert.strictEqual(yield* run(() => page.getByRole("heading", { level: 1 }).textContent()), "orders")
      const link = page.getByRole("navigation", { name: "Consumers" }).getByRole("link", { name: /bills/ })
      yield* run(() => link.click())
      yield* until(page, `${text("#name")} === "bills & <b>more</b>"`)
      assert.strictEqual(yield* run(() => link.getAttribute("aria-current")), "page")
      // A standard queue: its groups are tenants.
      yield* until(page, `${text("#groups-h")}.startsWith("Groups with most of the slots' time")`)
      yield* until(page, `/\\d %$/.test(${text("#groups tbody tr")})`)
      const noisy = "The queue takes 1 for noisy, 12 messages of quiet ones wait."
      yield* until(page, `${text("#noisy-groups")} === ${JSON.stringify(noisy)}`)
      yield* run(() => page.reload())
      yield* until(page, `${text("#name")} === "bills & <b>more</b>"`)
      assert.include(yield* run(() => page.locator("#about").textContent()), "queue bills")
      assert.deepEqual(errors, [])
    })
  )

  it.scopedLive("asks for the token, takes it once, and has it nowhere afterwards", () =>
    Effect.gen(function* () {
      const token = "a token of many characters"
      const { consumer, dashboard, page } = yield* open(
        () => ({ controls: { pause: true } }),
        {},
        {
          token: Redacted.make(token)
        }
      )
      const field = page.getByLabel("Token of this dashboard")
      yield* run(() => field.fill("not this one"))
      yield* run(() => field.press("Enter"))
      yield* until(page, `document.querySelector("#wrong")?.textContent === "That is not the token."`)
      yield* run(() => field.fill(token))
      yield* run(() => field.press("Enter"))
      yield* shown(page)
      assert.strictEqual(page.url(), `${dashboard.url}/`)
      assert.strictEqual(yield* valueOf<string>(page, "document.cookie"), "")
      const [cookie] = yield* run(() => page.context().cookies())
      assert.deepInclude(cookie, { httpOnly: true, sameSite: "Strict" })
      assert.notInclude(cookie?.value, token)
      yield* run(() => page.getByRole("button", { name: "Pause" }).click())
      yield* until(page, `${text("#state")} === "paused"`)
      assert.isTrue((yield* consumer.figures).paused)

      // By a link, of which the part after # is not sent.
      const other = yield* newPage()
      const sent: Array<string> = []
      other.page.on("request", (request) => sent.push(request.url()))
      yield* run(() => other.page.goto(`${dashboard.url}/#token=${encodeURIComponent(token)}`))
      yield* shown(other.page)
      assert.strictEqual(other.page.url(), `${dashboard.url}/`)
      assert.deepEqual(
        sent.filter((url) => url.includes("token")),
        []
      )
    })
  )
})
