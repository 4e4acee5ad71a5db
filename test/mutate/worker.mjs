/**
 * Runs tests of a bundle, as its parent asks: first each on the sources as they are, for what it costs and which mutants it
 * reaches, then against one mutant after the other.
 *
 * A test that waits for what never comes, or never ends, has noticed. What counts is work done, processor time and time with
 * nothing to do, and never the clock on the wall: a busy machine must not count as noticing.
 */
import { performance } from "node:perf_hooks"
import { pathToFileURL } from "node:url"
import { Worker } from "node:worker_threads"

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1000
}
const idle = () => performance.eventLoopUtilization().idle

/** Ends this process when it has used so much of the processor, in milliseconds: the second cell is set at each test. */
const alarm = new Float64Array(new SharedArrayBuffer(8))
alarm[0] = Number.POSITIVE_INFINITY
new Worker(
  `const { workerData } = require("node:worker_threads")
  setInterval(() => {
    const { system, user } = process.cpuUsage()
    if ((user + system) / 1000 > workerData[0]) process.kill(process.pid, "SIGKILL")
  }, 200)`,
  { eval: true, workerData: alarm }
).unref()

let on = 0
let passed = 0
let allowed = Number.POSITIVE_INFINITY
let until = Number.POSITIVE_INFINITY
let reached
globalThis.$m = (id) => {
  if (++passed > allowed) throw new Error("does not end")
  if (passed % 4096 === 0 && cpu() > until) allowed = passed
  reached?.add(id)
  return id === on
}

let fails
for (const event of ["uncaughtException", "unhandledRejection"]) process.on(event, () => fails?.())
// Nothing is left to do, and the test has not ended.
process.on("beforeExit", () => setImmediate(() => fails?.()))
for (const method of ["log", "info", "warn", "error", "debug"]) console[method] = () => {}
// The language keeps a process alive for a fiber that waits for good, with a timer of this length.
const { setInterval } = globalThis
globalThis.setInterval = (f, millis, ...args) =>
  millis === 2 ** 31 - 1 ? setInterval(f, millis, ...args).unref() : setInterval(f, millis, ...args)

const passes = ({ run }, limits) =>
  new Promise((resolve) => {
    process.channel.unref()
    const waited = idle()
    const timer = setInterval(() => {
      if (idle() - waited > limits.idle) fails()
    }, 250).unref()
    const ends = (result) => {
      clearInterval(timer)
      fails = undefined
      process.channel.ref()
      resolve(result)
    }
    fails = () => ends(false)
    passed = 0
    allowed = limits.calls
    until = cpu() + limits.cpu
    alarm[0] = until + 2000
    Promise.resolve()
      .then(run)
      .then(
        () => ends(true),
        () => ends(false)
      )
  }).finally(() => {
    allowed = until = alarm[0] = Number.POSITIVE_INFINITY
  })

/** What a failed test leaves behind is not the next one's. */
const quiet = async () => {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const limitsOf = ({ calls, cpu, idle }) => ({ calls: calls * 20 + 50_000, cpu: cpu * 10 + 3000, idle: idle * 3 + 3000 })

const measure = async (test, most) => {
  const began = { cpu: cpu(), idle: idle() }
  reached = new Set()
  const isGood = await passes(test, { calls: Number.POSITIVE_INFINITY, cpu: most, idle: 30_000 })
  const found = [...reached]
  reached = undefined
  return { isGood, cpu: cpu() - began.cpu, idle: idle() - began.idle, calls: passed, reached: found }
}

let tests
const answers = {
  load: async ({ bundle }) => {
    tests = (await import(pathToFileURL(bundle).href)).tests
    return { names: tests.map(({ name }) => name) }
  },
  measure: async ({ most, test }) => measure(tests[test], most),
  /** `by` is the first of these tests that fails, and `isSure` that it does not without the mutant. */
  try: async ({ id, most, order }) => {
    const end = cpu() + idle() + most
    for (const { test, ...cost } of order) {
      if (cpu() + idle() > end) break
      on = id
      const isGood = await passes(tests[test], limitsOf(cost))
      on = 0
      if (isGood) continue
      await quiet()
      return { by: test, isSure: await passes(tests[test], limitsOf(cost)) }
    }
    return {}
  }
}

process.on("disconnect", () => process.exit(1))
process.on("message", async ({ ask, ...what }) => process.send(await answers[ask](what)))
