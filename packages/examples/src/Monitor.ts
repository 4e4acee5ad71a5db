/** The dashboard of a program that ends: it stays when the work is done, until Ctrl-C. */
import { Dashboard } from "@millrace/dashboard"
import { Console, Effect } from "effect"
import { BadArguments } from "./Cli.js"

export const usage = `  --dashboard       a page that shows it live; it stays until Ctrl-C
  --port <n>        of the dashboard (default 4400; 0 picks a free one)`

export const options = {
  dashboard: { type: "boolean", default: false },
  port: { type: "string", default: "4400" }
} as const

/** The port; `undefined` where no dashboard is asked for. */
export const read = (given: { readonly dashboard: boolean; readonly port: string }) =>
  !/^\d{1,5}$/.test(given.port)
    ? new BadArguments({ message: `--port is "${given.port}"; write a port's number, such as --port 4400` })
    : Effect.succeed(given.dashboard ? Number(given.port) : undefined)

export const serve = <E, R>(options: Dashboard.Options<E, R>) =>
  Effect.tap(Dashboard.make(options), ({ url }) => Console.log(`The dashboard: ${url}\n`))

/** Until somebody has seen enough. */
export const stay = ({ url }: Dashboard.Service) =>
  Effect.zipRight(Console.log(`\nThe dashboard stays at ${url} until Ctrl-C.`), Effect.never)
