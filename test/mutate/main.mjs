/**
 * Breaks the code that keeps the invariants, one line at a time, and runs the tests that concern it: what survives, no test
 * sees. Run by hand: `npm run mutate -- [--file Intake.ts] [--sample 200] [--seed 1] [--workers 2] [--minutes 10]
 * [--only text] [--tests Intake] [--most 10] [--log path]`.
 *
 * The sources stay as they are: a package's tests and sources are one module with all mutants in it, switched on one at a
 * time. Each test runs once on the sources as they are, which tells what it costs and which mutants it reaches; then each
 * mutant meets the tests that reach it, first those that have noticed most for their price. What survives and is written
 * down in `survivors.mjs` is listed with its reason; any other makes the program fail.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { bundleOf } from "./bundle.mjs"
import { survivors as known } from "./survivors.mjs"
import { targets } from "./targets.mjs"

const { values } = parseArgs({
  options: {
    file: { type: "string", multiple: true },
    sample: { type: "string" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "2" },
    /** Begins with no other mutant after so long. */
    minutes: { type: "string", default: "Infinity" },
    /** Only those that have this in their text, before or after. */
    only: { type: "string" },
    /** Only tests whose path matches this. */
    tests: { type: "string", default: "" },
    /** Seconds of the processor that a test may take to be used at all, and a mutant's tests together. */
    slowest: { type: "string", default: "1" },
    most: { type: "string", default: "10" },
    /** What is found is added here, and what it says is noticed is not run again. */
    log: { type: "string" }
  }
})
const until = Date.now() + 60_000 * Number(values.minutes)

// --------------------------------------------------------------------------------------------------------------- workers

/** A process with the bundle loaded; `ask` answers `undefined` when the process had to be killed. */
const start = async (bundle) => {
  const child = fork(new URL("worker.mjs", import.meta.url), { stdio: "ignore" })
  const ask = async (message) => {
    const ends = new AbortController()
    child.send(message)
    const [answer] = await Promise.race([
      once(child, "message", { signal: ends.signal }),
      once(child, "exit", { signal: ends.signal }).then(() => [])
    ])
    ends.abort()
    return answer
  }
  const loaded = await ask({ ask: "load", bundle })
  if (loaded === undefined) throw new Error(`${bundle} does not load`)
  return { ask, names: loaded.names, stop: () => child.kill("SIGKILL") }
}

/** Does all of `jobs` with some workers, and gives those that a job has ruined another life. */
const withWorkers = async (bundle, jobs, run) => {
  const work = async () => {
    let worker = await start(bundle)
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      if (await run(worker, job)) continue
      worker.stop()
      worker = await start(bundle)
    }
    worker.stop()
  }
  await Promise.all(Array.from({ length: Math.min(jobs.length, Number(values.workers)) }, work))
}

// ----------------------------------------------------------------------------------------------------------------- tests

/** What each test costs and reaches, by its place in the bundle: kept for the next time, by its name. */
const measured = async ({ measures, path }) => {
  const kept = () => (existsSync(measures) ? JSON.parse(readFileSync(measures, "utf8")) : [])
  const known = new Map(kept())
  const { names, stop } = await start(path)
  stop()
  const tests = names.map((name, test) => ({ name, test }))
  const jobs = tests.filter(({ name }) => !known.has(name))
  const most = 1000 * Number(values.slowest)
  await withWorkers(path, jobs, async (worker, { name, test }) => {
    const answer = await worker.ask({ ask: "measure", test, most })
    const isSlow = answer === undefined || answer.cpu >= most
    if (answer?.isGood && !isSlow) known.set(name, answer)
    else if (isSlow) known.set(name, { isSlow })
    if (!known.has(name)) console.log(`left out, fails on the sources as they are: ${name}`)
    return answer !== undefined
  })
  writeFileSync(measures, JSON.stringify([...new Map([...kept(), ...known])]))
  const fast = tests.filter(({ name }) => known.has(name) && known.get(name).isSlow !== true)
  console.log(`${path}: ${fast.length} of ${tests.length} tests are fast enough`)
  return fast.map((test) => ({ ...test, ...known.get(test.name) }))
}

// --------------------------------------------------------------------------------------------------------------- mutants

/** Mulberry32. */
const random = (seed) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const describe = ({ after, before, kind, line, path, place }) =>
  `${path}:${line} ${place}  ${kind}\n    - ${before.slice(0, 240)}\n    + ${after.slice(0, 240) || "(nothing)"}`

/** The same after other lines have moved it. */
const keyOf = ({ after, before, file, kind, place }) => JSON.stringify([file, place, kind, before, after])

/** Of this very mutant, or of all in its place. */
const reasonOf = ({ after, before, file, place }) =>
  known.find(
    (one) =>
      one.file === file &&
      (one.place === undefined || one.place === place) &&
      (one.before === undefined || one.before === before) &&
      (one.after === undefined || one.after === after)
  )?.reason

const logged = new Map(
  values.log === undefined || !existsSync(values.log)
    ? []
    : readFileSync(values.log, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
        .map(({ by, key }) => [key, by])
)

const packages = []
const chosen = (tests) => (path) => tests(path) && new RegExp(values.tests).test(path)
for (const { files, pkg, tests } of targets) {
  const wanted = files.filter((file) => values.file === undefined || values.file.includes(file))
  if (wanted.length > 0) packages.push({ wanted, bundle: await bundleOf({ files, pkg, tests: chosen(tests) }) })
}
const every = packages
  .flatMap(({ bundle, wanted }) => bundle.mutants.filter(({ file }) => wanted.includes(file)))
  .filter(({ after, before }) => values.only === undefined || `${before}\n${after}`.includes(values.only))
const next = random(Number(values.seed))
const sample =
  values.sample === undefined
    ? every
    : every
        .map((mutant) => ({ mutant, at: next() }))
        .sort((a, b) => a.at - b.at)
        .slice(0, Number(values.sample))
        .map(({ mutant }) => mutant)

// ------------------------------------------------------------------------------------------------------------------- run

const ran = []
const survived = []

const runPackage = async ({ bundle, wanted }) => {
  const tests = await measured(bundle)
  const most = 1000 * Number(values.most)
  const sets = tests.map(({ reached, ...test }) => ({ ...test, reached: new Set(reached) }))
  const noticed = new Map()
  const times = (file, test) => noticed.get(`${file} ${test}`) ?? 0
  /** First those that have noticed most in this file for their price. */
  const orderFor = ({ file, id }) => {
    const worth = ({ cpu, idle, test }) => (0.2 + times(file, test)) / (5 + cpu + idle)
    return sets
      .filter(({ reached }) => reached.has(id))
      .sort((a, b) => worth(b) - worth(a))
      .map(({ calls, cpu, idle, test }) => ({ calls, cpu, idle, test }))
  }
  const ends = (mutant, by) => {
    ran.push(mutant)
    if (by === undefined) survived.push(mutant)
    if (values.log !== undefined) {
      const { file, line } = mutant
      appendFileSync(values.log, `${JSON.stringify({ key: keyOf(mutant), file, line, by })}\n`)
    }
  }
  const jobs = sample.filter(({ file, pkg }) => pkg === bundle.mutants[0].pkg && wanted.includes(file))
  /** Tests that have failed with this mutant and without it too: they say nothing of it. */
  const unsure = new Map()
  await withWorkers(bundle.path, jobs, async (worker, mutant) => {
    if (Date.now() > until) return true
    const before = logged.get(keyOf(mutant))
    if (before !== undefined) {
      ran.push(mutant)
      return true
    }
    const leftOut = unsure.get(mutant) ?? new Set()
    const order = orderFor(mutant).filter(({ test }) => !leftOut.has(test))
    const answer = order.length === 0 ? {} : await worker.ask({ ask: "try", id: mutant.id, order, most })
    if (answer === undefined) {
      ends(mutant, "a test that never ended")
      return false
    }
    if (answer.by !== undefined && !answer.isSure) {
      // What an earlier mutant left behind has failed it, or it fails by itself: the others are asked, in a new process.
      unsure.set(mutant, leftOut.add(answer.by))
      jobs.push(mutant)
      return false
    }
    if (answer.by === undefined) {
      ends(mutant)
      console.log(`survives${order.length === 0 ? ", never reached" : ""}: ${describe(mutant)}`)
      return true
    }
    const name = `${mutant.file} ${answer.by}`
    noticed.set(name, (noticed.get(name) ?? 0) + 1)
    ends(mutant, tests.find(({ test }) => test === answer.by).name)
    return true
  })
}
for (const one of packages) await runPackage(one)

const explained = survived.filter((mutant) => reasonOf(mutant) !== undefined)
for (const mutant of explained) console.log(`\nfor a reason: ${reasonOf(mutant)}\n  ${describe(mutant)}`)
console.log()
for (const path of new Set(every.map(({ path }) => path))) {
  const ofFile = (mutants) => mutants.filter((mutant) => mutant.path === path).length
  console.log(
    `${path}: ${ofFile(ran)} of ${ofFile(every)} run, ${ofFile(survived)} survive, ${ofFile(explained)} for a reason`
  )
}
const share = ((100 * survived.length) / Math.max(1, ran.length)).toFixed(1)
console.log(
  `${ran.length} of ${every.length} mutants run (seed ${values.seed}): ${ran.length - survived.length} noticed, ${survived.length} survive (${share} %), ${explained.length} of them for a reason that is written down`
)
process.exitCode = explained.length === survived.length ? 0 : 1
