/** Chromium without a window, where it is installed. */
import { existsSync } from "node:fs"
import { Effect } from "effect"
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core"
import { afterAll, beforeAll } from "vitest"

const places = [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]

/** Where it is; `undefined` where there is none. */
export const executable = places.find((path) => path !== undefined && existsSync(path))

const args = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync"
]

let launched: Browser | undefined

/** One for all tests of the file. */
export const useBrowser = (): void => {
  beforeAll(async () => {
    launched = await chromium.launch({ executablePath: executable ?? "", args, timeout: 90_000 })
  }, 120_000)
  afterAll(() => launched?.close())
}

export interface Opened {
  readonly page: Page
  /** Errors of the page's scripts, and what the browser refused to load. */
  readonly errors: ReadonlyArray<string>
}

/** An empty page in a profile of its own. */
export const newPage = (options: BrowserContextOptions = {}) =>
  Effect.gen(function* () {
    const context = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        if (launched === undefined) throw new Error("useBrowser is missing")
        return launched.newContext(options)
      }),
      (made) => Effect.promise(() => made.close())
    )
    return yield* Effect.promise(async (): Promise<Opened> => {
      const page = await context.newPage()
      // A machine may be busy.
      page.setDefaultTimeout(30_000)
      const errors: Array<string> = []
      page.on("pageerror", (error) => errors.push(String(error)))
      page.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text())
      })
      return { page, errors }
    })
  })
