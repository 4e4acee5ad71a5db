/** The page's files: its own, and the chart's. All are read once and served from memory. */
import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"

export interface Asset {
  readonly type: string
  readonly bytes: Uint8Array
}

// The same place as seen from src and from dist.
const own = (name: string) => fileURLToPath(new URL(`../../client/${name}`, import.meta.url))
const ofChart = (name: string) => createRequire(import.meta.url).resolve(`uplot/dist/${name}`)

const script = "text/javascript; charset=utf-8"
const style = "text/css; charset=utf-8"
const page = "text/html; charset=utf-8"

const load = async (path: string, type: string): Promise<Asset> => ({ type, bytes: await readFile(path) })

export interface Assets {
  readonly page: Asset
  readonly login: Asset
  /** What the login page needs too: it tells nothing of the consumers. */
  readonly open: ReadonlyMap<string, Asset>
  readonly files: ReadonlyMap<string, Asset>
}

/** A file that is missing is missing from the package. */
export const assets: Effect.Effect<Assets> = Effect.promise(async () => ({
  page: await load(own("index.html"), page),
  login: await load(own("login.html"), page),
  open: new Map([
    ["/style.css", await load(own("style.css"), style)],
    ["/login.js", await load(own("login.js"), script)],
    ["/icon.svg", await load(own("icon.svg"), "image/svg+xml")]
  ]),
  files: new Map([
    ["/main.js", await load(own("main.js"), script)],
    ["/charts.js", await load(own("charts.js"), script)],
    ["/format.js", await load(own("format.js"), script)],
    ["/uplot.js", await load(ofChart("uPlot.esm.js"), script)],
    ["/uplot.css", await load(ofChart("uPlot.min.css"), style)]
  ])
}))
