/**
 * Breaks the code that keeps the invariants, one line at a time, and runs the tests that concern it: what survives, no test
 * sees. Run by hand: `npm run mutate -- [--file Intake.ts] [--sample 200] [--seed 1] [--workers 2] [--minutes 10] [--only text]`.
 *
 * The sources stay as they are: all mutants of a file are compiled into one bundle with its tests, and switched on one at a
 * time. What survives and is written down in `survivors.mjs` is listed with its reason; any other makes the program fail.
 */
import { fork } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { basename, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { build } from "esbuild"
import { mutantsOf } from "./mutants.mjs"
import { survivors as known } from "./survivors.mjs"
import { targets } from "./targets.mjs"

const root = fileURLToPath(new URL("../..", import.meta.url))
const { values } = parseArgs({
  options: {
    file: { type: "string", multiple: true },
    sample: { type: "string" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "2" },
    /** Begins with no other mutant after so long. */
    minutes: { type: "string" },
    /** Only those that have this in their text, before or after. */
    only: { type: "string" }
  }
})

/** Without a word for so long, a mutant hangs. */
const limit = 90_000

// ------------------------------------------------------------------------------------------------------------- files

const filesUnder = (folder) =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (!entry.isDirectory()) return [path]
    return ["node_modules", "dist", "client"].includes(entry.name) ? [] : filesUnder(path)
  })

const all = filesUnder(join(root, "packages")).map((path) => relative(root, path))

const find = (name, where) => {
  const found = all.filter((path) => path.endsWith(`/${name}`) && where.test(path))
  if (found.length === 0) throw new Error(`there is no ${name} under packages: mend test/mutate/targets.mjs`)
  return found
}

/** Sources by the names of the packages, as `vitest.shared.ts` has them. */
const own = (path, text) => ({
  name: "sources",
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: /^@millrace\// }, ({ path: name }) => {
      const [, pkg, ...inside] = name.split("/")
      const src = join(root, "packages", pkg, "src")
      const [module = "index"] = inside
      return {
        path: join(
          src,
          ["testing", "emulator", "cloudwatch", "lambda"].includes(module) ? `${module}/index.ts` : `${module}.ts`
        )
      }
    })
    onResolve({ filter: /^(@effect\/)?vitest$/ }, () => ({
      path: fileURLToPath(new URL("vitest.mjs", import.meta.url))
    }))
    onResolve({ filter: /^[^./]/ }, ({ path: name }) =>
      name.startsWith(root) ? undefined : { external: true, path: name }
    )
    onLoad({ filter: /\.ts$/ }, ({ path: loaded }) =>
      loaded === join(root, path) ? { contents: text, loader: "ts" } : undefined
    )
  }
})

const folder = join(root, "node_modules/.cache/mutate")

const bundle = async ({ path, tests, text }) => {
  const outfile = join(folder, `${basename(path, ".ts")}.mjs`)
  const imports = tests.map((test) => `import ${JSON.stringify(join(root, test))}`)
  await build({
    stdin: { contents: [...imports, `export { tests } from "vitest"`].join("\n"), resolveDir: root },
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    ignoreAnnotations: true,
    plugins: [own(path, text)],
    logLevel: "error"
  })
  return outfile
}

// ----------------------------------------------------------------------------------------------------------- mutants

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

const files = targets
  .filter(({ file }) => values.file === undefined || values.file.includes(file))
  .map(({ file, tests }) => {
    const [path] = find(file, /\/src\//)
    const [, pkg] = path.split("/")
    const { mutants, text } = mutantsOf(path, readFileSync(join(root, path), "utf8"))
    return { path, text, mutants, tests: tests.flatMap((name) => find(name, new RegExp(`^packages/${pkg}/`))) }
  })

const every = files
  .flatMap(({ mutants, path }) => mutants.map((mutant) => ({ ...mutant, path })))
  .filter(({ after, before }) => values.only === undefined || `${before}\n${after}`.includes(values.only))
const next = random(Number(values.seed))
const sample = every
  .map((mutant) => ({ mutant, place: next() }))
  .sort((a, b) => a.place - b.place)
  .slice(0, Number(values.sample ?? every.length))
  .map(({ mutant }) => mutant)

const describe = ({ after, before, kind, line, path, place }) =>
  `${path}:${line} ${place}  ${kind}\n    - ${before.slice(0, 240)}\n    + ${after.slice(0, 240) || "(nothing)"}`

/** Of this very mutant, or of all in its place. */
const reasonOf = ({ after, before, path, place }) =>
  known.find(
    (one) =>
      one.file === basename(path) &&
      (one.place === undefined || one.place === place) &&
      (one.before === undefined || one.before === before) &&
      (one.after === undefined || one.after === after)
  )?.reason

// --------------------------------------------------------------------------------------------------------------- run

const survived = []
const ran = []
const until = Date.now() + 60_000 * Number(values.minutes ?? Number.POSITIVE_INFINITY)

/** Runs these mutants in a process of its own, and in another one from behind one that hangs. */
const run = (path, compiled, ids) =>
  new Promise((resolve, reject) => {
    const left = new Set(ids)
    const child = fork(new URL("worker.mjs", import.meta.url), { cwd: root, stdio: "ignore" })
    let current
    let timer
    const rewind = () => {
      clearTimeout(timer)
      timer = setTimeout(() => child.kill("SIGKILL"), limit)
    }
    rewind()
    child.send({ bundle: compiled, mutants: ids })
    child.on("message", ({ begins, broken, by, id, isReached }) => {
      rewind()
      if (broken !== undefined) reject(new Error(`"${broken}" fails on the sources as they are: mend that first`))
      if (begins !== undefined) current = begins
      if (id === undefined) return
      left.delete(id)
      const mutant = sample.find((one) => one.path === path && one.id === id)
      ran.push(mutant)
      if (Date.now() > until) {
        left.clear()
        child.kill()
      }
      if (by !== undefined) return
      survived.push(mutant)
      console.log(`survives${isReached ? "" : ", never reached"}: ${describe(mutant)}`)
    })
    child.on("exit", () => {
      clearTimeout(timer)
      if (left.delete(current)) ran.push(sample.find((one) => one.path === path && one.id === current))
      if (current === undefined) return reject(new Error(`the tests of ${path} do not run`))
      if (left.size === 0) console.log(`${path}: done`)
      resolve(left.size === 0 ? undefined : run(path, compiled, [...left]))
    })
  })

mkdirSync(folder, { recursive: true })
const jobs = []
for (const file of files) {
  const ids = sample.filter(({ path }) => path === file.path).map(({ id }) => id)
  if (ids.length > 0) jobs.push({ ids, path: file.path, compiled: await bundle(file) })
}
const work = async () => {
  for (let job = jobs.shift(); job !== undefined && Date.now() < until; job = jobs.shift())
    await run(job.path, job.compiled, job.ids)
}
await Promise.all(Array.from({ length: Number(values.workers) }, work))
rmSync(folder, { recursive: true })

const explained = survived.filter((mutant) => reasonOf(mutant) !== undefined)
for (const mutant of explained) console.log(`\nfor a reason: ${reasonOf(mutant)}\n  ${describe(mutant)}`)
console.log()
for (const { path } of files) {
  const ofFile = (mutants) => mutants.filter((mutant) => mutant.path === path).length
  console.log(`${path}: ${ofFile(ran)} run, ${ofFile(survived)} survive`)
}
const share = ((100 * survived.length) / Math.max(1, ran.length)).toFixed(1)
console.log(
  `${ran.length} of ${every.length} mutants run (seed ${values.seed}): ${ran.length - survived.length} noticed, ${survived.length} survive (${share} %), ${explained.length} of them for a reason that is written down`
)
process.exitCode = explained.length === survived.length ? 0 : 1
