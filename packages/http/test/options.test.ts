/** Every object of options of this package: what TypeScript refuses is refused at run time too. */
import { join } from "node:path"
import { describe } from "@effect/vitest"
import { HealthRoute, MetricsRoute } from "@millrace/http"
import { Effect, Layer } from "effect"
import { type Row, testCoverage, testRows } from "../../../test/support/options.js"

const health = ["stuckFactor", "stuckAfter", "staleAfter"]

const rows: ReadonlyArray<Row<never>> = [
  {
    what: "MetricsRoute.handler",
    of: ["MetricsRoute.Options"],
    names: ["include"],
    use: (o) => Effect.sync(() => MetricsRoute.handler(o))
  },
  { what: "MetricsRoute.route", names: ["include"], use: (o) => Effect.sync(() => MetricsRoute.route("/metrics", o)) },
  {
    what: "HealthRoute.handler",
    names: health,
    use: (o) => Effect.sync(() => HealthRoute.handler(Effect.succeed({}), o))
  },
  {
    what: "HealthRoute.route",
    names: health,
    use: (o) => Effect.sync(() => HealthRoute.route("/health", Effect.succeed({}), o))
  }
]

describe("options", () => {
  testRows(rows, Layer.empty)
  testCoverage(join(import.meta.dirname, "../src"), rows)
})
