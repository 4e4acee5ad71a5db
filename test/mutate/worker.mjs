/** Runs a bundle of tests against one mutant after the other, and tells of each who has noticed it. */
import { pathToFileURL } from "node:url"

/** What takes more of the processor is left out, in milliseconds: a busy machine must not leave out more. */
const fast = 1500

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1000
}

/** Longer than any of these tests takes: what it waits for never comes. */
const limit = 20_000

let on = 0
let reached
globalThis.$m = (id) => {
  reached?.add(id)
  return id === on
}

let failed
for (const event of ["uncaughtException", "unhandledRejection"]) process.on(event, (error) => failed?.(error))
for (const method of ["log", "info", "warn", "error", "debug"]) console[method] = () => {}

const passes = ({ run }) =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), limit)
    failed = () => resolve(false)
    Promise.resolve()
      .then(run)
      .then(
        () => resolve(true),
        () => resolve(false)
      )
      .finally(() => clearTimeout(timer))
  })

process.on("disconnect", () => process.exit(1))
process.once("message", async ({ bundle, mutants }) => {
  const { tests } = await import(pathToFileURL(bundle).href)
  const reaching = []
  for (const test of tests) {
    if (/,000|million/.test(test.name)) continue
    reached = new Set()
    const since = cpu()
    const passed = await passes(test)
    if (!passed) process.send({ broken: test.name })
    const took = cpu() - since
    if (took < fast) reaching.push({ test, took, reached })
  }
  reached = undefined
  reaching.sort((a, b) => a.took - b.took)
  process.send({ ready: true })
  for (const id of mutants) {
    process.send({ begins: id })
    on = id
    let by
    for (const { reached, test } of reaching) {
      if (!reached.has(id) || (await passes(test))) continue
      by = test.name
      break
    }
    on = 0
    process.send({ id, by, isReached: reaching.some(({ reached }) => reached.has(id)) })
  }
  process.exit(0)
})
